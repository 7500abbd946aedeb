"""Train a PATN generator on pairs of images of one person.

The pairs of step i, and every other random number of that step, depend on (seed, i) only. So a
training that is killed and started again ends with the same weights, bit for bit on a CPU.

- settings: the recipe's table ``[train_generator]``
- pairs: which two images of one person a step takes
- trainer: one step of the generator and the discriminators
- identity_model: the re-ID network of the identity loss
- starting_weights: the weights at the start of a training, if they are not random
- folder: training states and sample pictures
- record: the log, and the best generator so far
"""

import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.data.dataset import (
    NO_CAMERA,
    DataConfig,
    PersonImage,
    kept,
    note_of_shapes,
    verify_images,
)
from reid_aug.data.keypoints import Pose
from reid_aug.data.provenance import (
    fingerprints,
    joined_fingerprints,
    keypoints_sha256,
    names_sha256,
)
from reid_aug.generator import GeneratorConfig, load_with_metadata, save_generator
from reid_aug.runtime.bfloat16 import note_of_bfloat16
from reid_aug.runtime.capacity import require_memory
from reid_aug.runtime.distributed import ProcessGroup, process_group_of_environment
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import locked, sha256, taken_back
from reid_aug.runtime.progress import track
from reid_aug.runtime.records import Table
from reid_aug.runtime.regular_files import require_regular
from reid_aug.runtime.weights import fitting
from reid_aug.runtime.workers import ahead
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.train_generator.folder import STATES_KEPT, TrainingFolder
from reid_aug.stages.train_generator.pairs import PairBatch, Pairs
from reid_aug.stages.train_generator.record import SSIM, recording
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.starting_weights import fingerprints_before, starting_files
from reid_aug.stages.train_generator.trainer import Trainer, build_networks

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage

# keys whose files the metadata names without their folders
WEIGHT_KEYS = ("vgg", "identity_model", "start", "start_appearance", "start_pose")
BYTES_PER_NUMBER = 4  # bytes
SMALLER_TRAINING = (
    "lower train_generator.batch, train_generator.pool, generator.width, "
    "train_generator.discriminator_width or the size of the images"
)


def prepare(stage: "Stage") -> "TrainGeneratorJob":
    """Read and check everything that the training of a stage's generator needs.

    Raises:
        UserError: If there are no pairs, a file of the recipe is missing or does not fit, or the
            run folder holds another generator.
    """
    recipe, config = stage.recipe, stage.recipe.train_generator
    group = process_group_of_environment()
    real = kept(stage.dataset.train, recipe.data.keep, recipe.data.keep_seed)
    pairs = pairs_of(real, stage.poses, recipe.data, config, recipe.seed, group)
    check_cameras(pairs, recipe.generator)
    check_memory(recipe.generator, config, recipe.data)
    losses = describe_losses(config)
    metadata = training_metadata(pairs, recipe.generator, config, real, stage.poses)
    job = TrainGeneratorJob(stage, real, pairs, metadata, losses, group)
    job.is_done()
    return job


@dataclass(frozen=True)
class TrainGeneratorJob(Job):
    """A generator training, ready to run (:class:`reid_aug.stages.job.Job`)."""

    stage: "Stage"
    real: tuple[PersonImage, ...]
    """The kept set."""
    pairs: Pairs
    metadata: Mapping[str, Any]
    """The metadata of the checkpoint (:func:`training_metadata`)."""
    losses: str
    """The perceptual loss in one line."""
    group: ProcessGroup

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.stage.run.generator

    def is_done(self) -> bool:
        """Whether the checkpoint exists.

        Raises:
            UserError: If it is that of another training.
        """
        return TrainingFolder(self.stage.run.path, self.metadata).is_finished()

    def describe(self) -> str:
        """The training pairs and the perceptual loss, one line each."""
        images, held_out = len(self.pairs.images), self.stage.recipe.train_generator.held_out
        lines = [
            f"{self.pairs.count} training pairs out of {images} of {len(self.real)} kept images"
        ]
        if held_out:
            lines.append(f"{held_out} of their identities are held out, and in no pair")
        wanted, device = self.stage.recipe.train_generator.bf16, self.stage.device
        notes = (
            self.losses,
            note_of_shapes(self.real),
            note_of_bfloat16(wanted, device, "train_generator.bf16"),
        )
        lines += filter(None, notes)
        if self.is_done():
            lines.append(f"done already: {self.path}")
        return "\n".join(lines)

    def cost(self, device: torch.device) -> Cost:
        """Time of all steps, and the size of checkpoint, training states and image pools."""
        network, config = self.stage.recipe.generator, self.stage.recipe.train_generator
        seconds = config.steps * seconds_per_step(self.pairs, network, config, device)
        networks = build_networks(network, config, self.pairs.seed)
        sizes = {k: sum(v.numel() for v in n.state_dict().values()) for k, n in networks.items()}
        area = self.pairs.data.height * self.pairs.data.width
        pools = config.pool * area * (9 + network.joints) if len(networks) > 1 else 0
        generator = sizes["generator"]
        state = generator + 3 * sum(sizes.values()) + pools  # Adam has two numbers per weight
        return Cost(seconds, BYTES_PER_NUMBER * (generator + STATES_KEPT * state))

    def run(self, progress: Progress | None = None) -> Path:
        """Train, or continue a training that was interrupted; write the recipe."""
        stage, group, config = self.stage, self.group, self.stage.recipe.train_generator
        inputs = self.pairs, stage.recipe.generator, config, stage.run.path, self.metadata
        with group.joined(stage.device):
            path = train_generator(*inputs, stage.device, group, progress or track)
        if group.is_first:
            stage.write_recipe()
        return path

    def outcome(self) -> str:
        """Where the sample pictures are, and the best generator by held-out identities."""
        folder = self.stage.run.path
        samples = f"sample pictures: {TrainingFolder(folder, {}).samples}"
        return "\n".join(filter(None, (samples, describe_best(folder))))


def pairs_of(
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    data: DataConfig,
    config: TrainGeneratorConfig,
    seed: int,
    group: ProcessGroup = ProcessGroup(),
) -> Pairs:
    """The training batches out of the kept set ``real``, or the part of one process of them.

    Raises:
        UserError: If there are no pairs, or a batch cannot be divided evenly by the processes.
    """
    return Pairs(
        real,
        poses,
        data,
        steps=config.steps,
        batch=config.batch,
        seed=seed,
        cameras=config.cameras,
        flip=config.flip,
        weighting=config.pairs,
        held_out=config.held_out,
        part=group.part_of(config.batch),
    )


def train_generator(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    folder: Path,
    metadata: Mapping[str, Any],
    device: torch.device,
    group: ProcessGroup = ProcessGroup(),
    progress: Progress = track,
) -> Path:
    """Train, or continue a training that was interrupted; the path of the checkpoint.

    Args:
        folder: the run folder. Processes on several machines need one file system for it.
        metadata: the metadata of the checkpoint. A training state with other metadata belongs to
            another training and is refused.
        group: the processes that train together. The first one writes.

    Raises:
        UserError: If the folder holds another training, an image does not decode, bfloat16 is
            computed wrong on this processor, the training diverges, another process uses the
            folder, or a process of the group has ended.
    """
    files = TrainingFolder(folder, metadata, group.size)
    if files.is_finished():
        return files.result
    check_cameras(pairs, network)
    trainer = Trainer(network, config, pairs.seed, device, group)
    trainer.check_precision(pairs.data.height, pairs.data.width)
    start, state = files.newest_state()
    if state:
        with fitting(files.states, "a state of this training", "remove it, and train again"):
            trainer.restore(state)
    if not group.is_agreed(start):
        raise UserError(
            f"{files.states}: must be one folder for all processes, on a file system that they "
            f"share, got different states in it"
        )
    if not group.is_first:
        with _read_ahead(pairs, start) as batches:
            for _ in _steps(trainer, batches, start):
                pass
        return files.result
    verify_images(pairs.images)
    with (
        taken_back(files.states, files.has_state),
        locked(folder),
        recording(files, trainer, pairs, start) as record,
        _read_ahead(pairs, start) as batches,
        progress(batches, "train generator", config.steps, start) as bar,
    ):
        for step, losses in _steps(trainer, bar, start):
            record.add(step, losses)
            bar.set_postfix_str(f"l1 {losses['l1']:.3f}", refresh=False)
        curve = files.learning_curve(config.save_every)
        about = {**metadata, "step": config.steps, "processes": group.size, "learning_curve": curve}
        save_generator(trainer.averaged(), files.result, about)
    return files.result


@contextmanager
def _read_ahead(pairs: Pairs, start: int) -> Iterator[Iterator[PairBatch]]:
    """The batches from step ``start`` on; a thread reads the next one during each step."""
    with ThreadPoolExecutor(1) as reader:
        yield ahead(reader, pairs.__getitem__, range(start, len(pairs)), 1)


def _steps(
    trainer: Trainer, batches: Iterable[PairBatch], start: int
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train; after every step, its number (counted from 1) and its losses."""
    for number, batch in enumerate(batches, start):
        losses = trainer.step(batch, number)
        if not all(map(math.isfinite, losses.values())):
            without = ", or train without bfloat16 (train_generator.bf16=false)"
            raise UserError(
                f"the losses are no longer numbers at step {number + 1}; lower train_generator.lr"
                f"{without if trainer.config.bf16 else ''}, and choose another folder with --out"
            )
        yield number + 1, losses


def check_memory(network: GeneratorConfig, config: TrainGeneratorConfig, data: DataConfig) -> None:
    """Raise a UserError if not even the networks, their optimisers and one batch fit in memory."""
    try:
        with torch.device("meta"):  # shapes without memory
            networks = build_networks(network, config, 0)
        weights = sum(v.numel() for n in networks.values() for v in n.state_dict().values())
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"generator: the networks must be smaller, got {reason}") from None
    area = data.height * data.width
    layers = 2 * 3 + 2 * network.joints + network.width  # images, heatmaps, the first convolution
    pool = config.pool * area * (9 + network.joints)
    need = BYTES_PER_NUMBER * (
        4 * weights + config.batch * area * layers + pool
    )  # gradients, Adam's numbers
    require_memory(need, "the networks and a batch", SMALLER_TRAINING)


def check_cameras(pairs: Pairs, network: GeneratorConfig) -> None:
    """Raise a UserError if a camera-conditioned generator has fewer cameras than the images."""
    last = max(image.camid for image in pairs.images)
    if network.cameras and last == NO_CAMERA:
        raise UserError(
            "generator.cameras must be 0 (not camera-conditioned) for images without camera "
            f"labels, got {network.cameras}"
        )
    if 0 < network.cameras < last:
        raise UserError(
            f"generator.cameras must be 0 (not camera-conditioned) or the largest camid, {last}, "
            f"got {network.cameras}; try --set generator.cameras={last}"
        )


def seconds_per_step(
    pairs: Pairs, network: GeneratorConfig, config: TrainGeneratorConfig, device: torch.device
) -> float:
    """Mean time of a step over the whole training.

    Steps with and without discriminators are measured apart, each as the median of three.
    """
    trainer = Trainer(network, config, pairs.seed, device)
    trainer.check_precision(pairs.data.height, pairs.data.width)
    ends = {n < config.steps_before_discriminators: n for n in (config.steps - 1, 0)}
    measured = [(is_early, number) for is_early, number in sorted(ends.items()) for _ in range(3)]
    times: dict[bool, list[float]] = {}
    with track(measured, "measure steps") as bar:
        for is_early, number in bar:
            batch = pairs[number]  # in a training, a thread reads it during the step before
            began = time.perf_counter()
            trainer.step(batch, number)
            times.setdefault(is_early, []).append(time.perf_counter() - began)
    elapsed = {is_early: statistics.median(some) for is_early, some in times.items()}
    early = config.steps_before_discriminators / config.steps
    return early * elapsed.get(True, 0.0) + (1 - early) * elapsed.get(False, 0.0)


def training_metadata(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
) -> dict[str, Any]:
    """The metadata of a checkpoint that is trained on the kept set ``real``.

    ``trained_on`` includes the images that trained the identity model and the starting weights; it
    is "" if those of one of them are unknown. Keys that change no weight are left out.

    Raises:
        UserError: If a file of the recipe is missing or does not fit.
    """
    files = {key: Path(getattr(config, key)).name for key in WEIGHT_KEYS}
    keys = {key: value for key, value in asdict(config).items() if key != "tensorboard"}
    recipe = {
        "data": asdict(pairs.data),
        "generator": asdict(network),
        "train_generator": keys | files,
    }
    return {
        "recipe": recipe,
        "seed": pairs.seed,
        "perceptual_term": bool(config.vgg),
        "vgg_sha256": sha256(config.vgg) if config.vgg else None,
        "identity_model_sha256": sha256(config.identity_model) if config.identity_model else None,
        "start_sha256": starting_files(config),
        "kept_sha256": names_sha256(real),
        "keypoints_sha256": keypoints_sha256(real, poses),
        "trained_on": trained_on(config, real),
    }


def trained_on(config: TrainGeneratorConfig, real: Sequence[PersonImage]) -> str:
    """The fingerprints of all images that a generator of the kept set ``real`` is trained on.

    Raises:
        UserError: If a file of the recipe is missing or does not fit.
    """
    before = fingerprints_before(config)
    if config.identity_model:
        before.append(load_reid_network(config.identity_model).trained_on or "")
    return joined_fingerprints([fingerprints(real), *before])


def describe_losses(config: TrainGeneratorConfig) -> str:
    """Whether the perceptual loss is on, and with which weights, in one line.

    Raises:
        UserError: If the file of the weights is missing.
    """
    if not config.vgg:
        return "no train_generator.vgg: the perceptual loss is off"
    require_regular(config.vgg, remedy="train_generator.vgg must be torchvision's VGG-19 weights")
    return f"perceptual loss: {config.vgg}, sha256 {sha256(config.vgg)}"


def describe_best(folder: Path) -> str:
    """The best generator by held-out identities, in one line; "" if none are held out."""
    path = TrainingFolder(folder, {}).best
    if not path.is_file():
        return ""
    found = Table(load_with_metadata(path)[1], str(path))
    step, likeness = found.whole("step", 1), found.number(SSIM)
    return f"best on held-out identities: {path}, step {step}, SSIM {likeness:.3f}"
