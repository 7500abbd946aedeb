"""Train a re-ID network on a mix, evaluate it, and record what a table needs.

Networks and transforms are those of torchreid, and so is the step of a plain training, number for
number (:mod:`reid_aug.stages.train_reid.trainer`). The loop around it is not torchreid's, because a
step here does not depend on the size of the mix: steps, batch and schedule are recipe values, the
same in all cells of a table. Real and generated images are one data set, so they share their
identities; torchreid's own way to add a data set would make the generated people new identities.

A training saves its state once per minute, after whichever step is done then. The same command
continues a killed training from there, and ends with the same weights, bit for bit on a CPU. The
processes of ``torchrun`` share every batch, and train the same network as one process.

Global random generators are set here and in the functions that this module calls, and nowhere
else, because torchreid's networks and transforms use them.

- settings: the recipe's table ``[train_reid]`` and its presets
- batches: which images a step takes, and their random changes
- losses: the losses of real and generated images
- trainer: one step
- folder: the files of a training, and its state
- result: the record of a training
- stock_torchreid: a mix as a data set of stock torchreid
"""

import contextlib
import io
import json
import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from reid_aug.backbones import build_backbone, load_starting_weights, torchreid_library
from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.backbones.feature_networks import OWN_WEIGHTS, check_start
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.data.dataset import Dataset, note_of_shapes, require_a_match, verify_images
from reid_aug.data.provenance import require_unchanged
from reid_aug.evaluation import AP_DEFINITION, RESULT_FORMAT
from reid_aug.evaluation.features import check_memory, evaluate_model
from reid_aug.mixing import (
    Mix,
    effective_keep,
    parse_min_score,
    require_same_dataset,
    share_out,
)
from reid_aug.people import dataset_name
from reid_aug.runtime.bfloat16 import note_of_bfloat16
from reid_aug.runtime.distributed import ProcessGroup, process_group_of_environment
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import committed, locked, sha256, sync, taken_back, write_json
from reid_aug.runtime.progress import track
from reid_aug.runtime.regular_files import require_regular
from reid_aug.runtime.weights import fitting, write_tensors
from reid_aug.runtime.workers import end_with_parent, usable_cores
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.mix import resolve_mix
from reid_aug.stages.train_reid.batches import Batches, Training
from reid_aug.stages.train_reid.folder import (
    IMAGES,
    MODEL,
    RESULT,
    STATE,
    cell_name,
    describe,
    finished,
    open_log,
    read_state,
    write_state,
)
from reid_aug.stages.train_reid.result import (
    experiment,
    mix_fields,
    starting_data,
    trained_on,
    versions,
)
from reid_aug.stages.train_reid.settings import TrainReidConfig, marks_of
from reid_aug.stages.train_reid.trainer import ReidTrainer, check_precision

if TYPE_CHECKING:
    from reid_aug.runtime.progress import tqdm
    from reid_aug.stages.stage import Stage

LOGGED_EVERY = 10  # steps
SAVED_EVERY = 60.0  # seconds


def prepare(
    stage: "Stage",
    ratio: float | None = None,
    mode: str | None = None,
    bank: Path | str | None = None,
    min_score: Iterable[str] = (),
) -> "TrainReidJob":
    """Read and check everything that a training needs; choose its mix and its folder.

    Args:
        ratio: None means the whole bank, 0 is the baseline.
        mode: None means the mode of the bank if ``ratio`` is None too, else that of the recipe.
        bank: None means the bank of the run folder.
        min_score: the least scores of the rows that are used, as "NAME=VALUE".

    Raises:
        UserError: If the bank does not fit (:func:`reid_aug.stages.mix.resolve_mix`), the mix is
            too small for a batch, or the folder holds the result of another experiment.
    """
    if ratio is not None:
        stage = stage.with_options({"synthesize.ratio": ratio, "synthesize.mode": mode})
    config, seed, group = stage.recipe.train_reid, stage.recipe.seed, process_group_of_environment()
    check_network(config)
    mix = resolve_mix(stage, ratio, mode, bank, min_score)
    least = {name: about["least"] for name, about in mix.min_score.items()}
    marks = marks_of(config.preset, config.generated_label, mix.ratio)
    name = cell_name(config.backbone, mix.mode, mix.ratio, mix.keep, seed, least, marks)
    about = experiment(mix, stage.dataset, config, seed)
    job = TrainReidJob(stage, mix, stage.run.cell(name), about, group)
    if not job.is_done():
        check_training(mix, stage.dataset, config, seed, group)
        check_memory(stage.dataset, stage.device)
    return job


def prepare_estimate(
    stage: "Stage",
    ratio: float | None = None,
    mode: str | None = None,
    bank: Path | str | None = None,
    min_score: Iterable[str] = (),
) -> "TrainReidJob":
    """As :func:`prepare`, for a dry run: the bank need not exist yet.

    Without it, the job counts its generated images, and measures a step on real ones, which takes
    the same time. It cannot run.
    """
    file = Path(bank) if bank else stage.run.find_bank(stage.recipe.data.keep)
    if ratio == 0 or file.is_file():
        return prepare(stage, ratio, mode, bank, min_score)
    stage = stage.with_options({"synthesize.ratio": ratio, "synthesize.mode": mode})
    recipe, config = stage.recipe, replace(stage.recipe.train_reid, generated_share=0.0)
    wanted, data = recipe.synthesize, recipe.data
    check_network(config)
    images = stage.dataset.train
    real, count = share_out(images, wanted.ratio, wanted.mode, data.keep, data.keep_seed)
    mix = Mix(real)
    about, group = experiment(mix, stage.dataset, config, recipe.seed), ProcessGroup()
    marks = marks_of(config.preset, config.generated_label, wanted.ratio)
    keep = effective_keep(wanted.ratio, wanted.mode, data.keep)
    name = cell_name(
        config.backbone, wanted.mode, wanted.ratio, keep, recipe.seed,
        parse_min_score(min_score), marks,
    )  # fmt: skip
    check_training(mix, stage.dataset, config, recipe.seed, group)
    return TrainReidJob(stage, mix, stage.run.cell(name), about, group, Missing(file, count))


@dataclass(frozen=True, slots=True)
class Missing:
    """A bank that does not exist yet, in a dry run."""

    path: Path
    images: int
    """The number of its images in the mix."""


@dataclass(frozen=True)
class TrainReidJob(Job):
    """A re-ID training, ready to run (:class:`reid_aug.stages.job.Job`)."""

    stage: "Stage"
    mix: Mix
    folder: Path
    """The folder of the cell."""
    about: Mapping[str, Any]
    """Everything that the training depends on (:func:`experiment`)."""
    group: ProcessGroup
    missing: Missing | None = None
    """The bank that a dry run does without."""

    @property
    def path(self) -> Path:
        """The result."""
        return self.folder / RESULT

    @property
    def classes(self) -> int:
        """The number of identities."""
        return len({image.pid for image in self.mix.real})

    def is_done(self) -> bool:
        """Whether the result exists.

        Raises:
            UserError: If it is that of another experiment.
        """
        return self.missing is None and finished(self.folder, self.about)

    def describe(self) -> str:
        """The numbers of real and generated images, and the starting weights."""
        mix, missing, config = self.mix, self.missing, self.stage.recipe.train_reid
        generated = missing.images if missing else mix.generated
        text = f"{len(mix.real)} real and {generated} generated images{mix.note}"
        if missing:
            text += f"\n{missing.path} does not exist yet: a step on real images is measured"
        text += f"\n{describe_start(config)}"
        notes = (
            note_of_shapes(mix.real),
            note_of_bfloat16(config.bf16, self.stage.device, "train_reid.bf16"),
        )
        text += "".join(f"\n{note}" for note in notes if note)
        return f"{text}\ndone already: {self.path}" if self.is_done() else text

    def cost(self, device: torch.device) -> Cost:
        """Time of all steps without the evaluation, and the size of network and state."""
        config = self.stage.recipe.train_reid
        if self.missing:
            config = replace(config, generated_share=0.0)
        seconds = config.steps * seconds_per_step(self.mix, config, device)
        model = build_network(config, self.classes)
        size = sum(v.numel() * v.element_size() for v in model.state_dict().values())
        return Cost(
            seconds, 4 * size
        )  # the network, and a state with Adam's two numbers per weight

    def run(self, progress: Progress | None = None) -> Path:
        """Train and evaluate, or continue an interrupted training; write the recipe."""
        stage = self.stage
        if self.missing:
            raise UserError(f"{self.missing.path} is missing", Remedy(("synthesize",)))
        if not self.is_done():
            config, seed, show = stage.recipe.train_reid, stage.recipe.seed, progress or track
            inputs = self.mix, stage.dataset, config, self.folder, seed, stage.device
            train_reid(*inputs, self.group, show)
        if self.group.is_first:  # also if a killed run wrote the result and no recipe
            stage.write_recipe()
        return self.path

    def outcome(self) -> str:
        """The scores in one line, in per cent."""
        return describe(self.path)


def train_reid(
    mix: Mix,
    dataset: Dataset,
    config: TrainReidConfig,
    folder: Path,
    seed: int,
    device: torch.device,
    group: ProcessGroup = ProcessGroup(),
    progress: Progress = track,
    replicate: int | None = None,
) -> Path:
    """Train on ``mix``, evaluate on query and gallery; the path of ``result.json``.

    Writes ``images.txt`` (the exact images used), ``log.jsonl``, ``model.safetensors`` and, last,
    ``result.json`` into ``folder``.

    Args:
        group: the processes that train together. The first one writes and evaluates.
        replicate: number of the replicate, where kept set, generator and bank vary with it as the
            training does. The result records it.

    Raises:
        UserError: If an image does not decode, the bank is of another data set, the backbone or
            its weights do not fit, bfloat16 is computed wrong here, or the training diverges.
    """
    began = time.time()
    torchreid_library().utils.set_random_seed(seed)
    verify_images((*mix.real, *dataset.query, *dataset.gallery))
    train_transform, test_transform = transforms_of(config)
    training = Training(mix, train_transform, seed)
    model = build_network(config, len(training.labels))
    if config.weights not in ("", OWN_WEIGHTS):
        print(f"starting weights: {load_starting_weights(model, config.weights)}", file=sys.stderr)
    about, start = experiment(mix, dataset, config, seed), starting_data(mix, dataset, config)
    check_training(mix, dataset, config, seed, group)
    check_memory(dataset, device)
    check_precision(model, config, device, config.batch // group.size)
    with contextlib.ExitStack() as stack:
        if group.is_first:
            stack.enter_context(taken_back(folder, (folder / STATE).exists))
            stack.enter_context(locked(folder))
        with group.joined(device):
            trainer = ReidTrainer(model, config, seed, device, group)
            _train(trainer, training, folder, about, progress)
        if not group.is_first:
            return folder / RESULT
        metadata = {"format": MODEL_FORMAT, "recipe": about["recipe"], "seed": seed}
        metadata["trained_on"] = trained_on(mix, config)
        metadata["starting_weights"] = about["starting_weights"]
        write_tensors(folder / MODEL, model.state_dict(), metadata)
        scores = evaluate_model(model, dataset, test_transform, device, loaders(config))
        with _without_state(folder):
            require_unchanged(dataset, about["dataset_sha256"])
        result = {
            "format": RESULT_FORMAT,
            **scores.fields([query.name for query in dataset.query]),
            "query_pids": [query.pid for query in dataset.query],
            "query_camids": [query.camid for query in dataset.query],
            "has_cameras": dataset.has_cameras,
            "ap_definition": AP_DEFINITION,
            "gallery": len(dataset.gallery),
            "dataset": dataset_name(dataset.train[0].path.absolute().parents[1]),
            **about,
            **mix_fields(mix, start, config),
            "replicate": replicate,
            "model_sha256": sha256(folder / MODEL),
            "steps": config.steps,
            "classes": len(training.labels),
            "parameters": sum(p.numel() for p in model.parameters()),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "processes": group.size,
            "seconds": round(time.time() - began, 1),
            "versions": versions(config.backbone),
        }
        write_json(folder / RESULT, result)
        (folder / STATE).unlink(missing_ok=True)
    return folder / RESULT


@contextlib.contextmanager
def _without_state(folder: Path) -> Iterator[None]:
    """Remove the state if the body raises a UserError: it does not belong to this experiment."""
    try:
        yield
    except UserError:
        (folder / STATE).unlink(missing_ok=True)
        raise


def describe_start(config: TrainReidConfig) -> str:
    """The weights that a training starts from, in one line."""
    if not config.weights:
        return "no train_reid.weights: the network starts from random weights"
    if config.weights == OWN_WEIGHTS:
        return f"starting weights: those of the registered network {config.backbone}"
    return f"starting weights: {config.weights}"


def check_training(
    mix: Mix,
    dataset: Dataset,
    config: TrainReidConfig,
    seed: int,
    group: ProcessGroup = ProcessGroup(),
) -> None:
    """Raise a UserError if a batch cannot be made, or the network could not be evaluated."""
    require_a_match(dataset)
    require_same_dataset(mix.bank if mix.generated else None, dataset)
    Batches(mix, config, seed, part=_part(config, group))


def _part(config: TrainReidConfig, group: ProcessGroup) -> slice:
    return group.part_of(config.batch, "train_reid.batch")


def build_network(config: TrainReidConfig, classes: int) -> nn.Module:
    """The network of ``config`` with random weights.

    Raises:
        UserError: If there is no such network.
    """
    size = config.height, config.width
    with_features = config.triplet_weight > 0
    return build_backbone(
        config.backbone, classes, *size, config.last_stride, config.bnneck, with_features
    )


def check_network(config: TrainReidConfig) -> None:
    """Raise a UserError if there is no such network, or its starting weights are missing.

    Weights of its own must be named (:func:`reid_aug.backbones.feature_networks.check_start`).
    """
    if config.weights not in ("", OWN_WEIGHTS):
        require_regular(config.weights, remedy="train_reid.weights must be a file")
    with torch.random.fork_rng(devices=[]):
        build_network(config, 2)
    check_start(config.backbone, config.height, config.width, config.weights)


def transforms_of(config: TrainReidConfig) -> tuple[Any, Any]:
    """Torchreid's transforms of an image: the one of training and the one of tests."""
    chosen = {"random_flip": config.flip, "random_crop": config.crop, "random_erase": config.erase}
    names = [name for name, is_on in chosen.items() if is_on]
    mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    build = torchreid_library().data.transforms.build_transforms
    with contextlib.redirect_stdout(io.StringIO()):
        result: tuple[Any, Any] = build(config.height, config.width, names, mean, std)
        return result


def write_images(mix: Mix, path: Path) -> None:
    """Write one line per image of a mix: its hash and its name."""
    with committed(path) as part, part.open("w", encoding="utf-8") as file:
        for index in range(len(mix)):
            file.write(f"{mix.image_sha256(index)}  {mix.name(index)}\n")


def loaders(config: TrainReidConfig) -> int:
    """The number of processes that load images: ``workers``, or the number of cores if smaller."""
    return min(config.workers, usable_cores())


def _train(
    trainer: ReidTrainer,
    training: Training,
    folder: Path,
    about: dict[str, Any],
    progress: Progress,
) -> None:
    """Do all steps that the newest state does not include."""
    config, group = trainer.config, trainer.group
    start, tensors = read_state(folder, about)
    if not group.is_agreed(start):
        raise UserError(
            f"{folder}: must be one folder for all processes, on a file system that they share, "
            f"got different states of the training"
        )
    if start:
        with fitting(folder / STATE, "a state of this training", "remove the file"):
            trainer.restore(tensors)
    loader = _loader(training, config, trainer, start)
    if not group.is_first:
        for step, batch in enumerate(loader, start):
            trainer.step(batch, step)
        return
    write_images(training.mix, folder / IMAGES)
    bar = progress(loader, f"train {config.backbone}", config.steps, start)
    _steps(trainer, bar, folder, about, start)


def _steps(
    trainer: ReidTrainer,
    bar: "tqdm[Any]",
    folder: Path,
    about: dict[str, Any],
    start: int,
) -> None:
    """The steps of the process that writes the log, and a state once per minute."""
    config = trainer.config
    with bar, open_log(folder, start) as log:
        saved = time.monotonic()
        for step, batch in enumerate(bar, start):
            losses = trainer.step(batch, step)
            is_logged = (step + 1) % LOGGED_EVERY == 0 or step + 1 == config.steps
            is_saved = time.monotonic() - saved > SAVED_EVERY
            if not (is_logged or is_saved):
                continue
            values = _finite(losses, step, config)
            if is_logged:
                line = {"step": step + 1, "lr": trainer.rate(step), **values}
                log.write(json.dumps(line) + "\n")
                bar.set_postfix_str(f"loss {values['loss']:.2f}", refresh=False)
            if is_saved:
                sync(log)  # a state relies on the lines of its steps
                write_state(folder, about, step + 1, trainer.state())
                saved = time.monotonic()
        sync(log)


def _finite(losses: dict[str, Tensor], step: int, config: TrainReidConfig) -> dict[str, float]:
    """The losses of a step as numbers; waits for the device.

    Raises:
        UserError: If the loss is no longer a number.
    """
    values = {name: value.item() for name, value in losses.items()}
    if not math.isfinite(values["loss"]):
        without = ", or train without bfloat16 (train_reid.bf16=false)" if config.bf16 else ""
        raise UserError(
            f"the loss is no longer a number at step {step + 1}; lower train_reid.lr{without}"
        )
    return values


def _loader(
    training: Training, config: TrainReidConfig, trainer: ReidTrainer, start: int
) -> DataLoader[Any]:
    """The batches of the steps from ``start`` on, or the part of one process of them."""
    part = _part(config, trainer.group)
    batches = Batches(training.mix, config, trainer.seed, start, part)
    is_pinned = trainer.device.type == "cuda"
    return DataLoader(
        training,
        batch_sampler=batches,
        num_workers=loaders(config),
        pin_memory=is_pinned,
        worker_init_fn=end_with_parent,
    )


def seconds_per_step(mix: Mix, config: TrainReidConfig, device: torch.device) -> float:
    """Time of one training step: the median of three, with a network of its own."""
    torchreid_library().utils.set_random_seed(0)
    training = Training(mix, transforms_of(config)[0], 0)
    three = replace(config, steps=3, workers=0)
    model = build_network(three, len(training.labels))
    check_precision(model, three, device, three.batch)
    trainer = ReidTrainer(model, three, 0, device)
    elapsed, began = [], time.perf_counter()
    for step, batch in enumerate(track(_loader(training, three, trainer, 0), "measure steps", 3)):
        trainer.step(batch, step)["loss"].item()
        elapsed.append(time.perf_counter() - began)
        began = time.perf_counter()
    return statistics.median(elapsed)
