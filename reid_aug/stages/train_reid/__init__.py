"""Train a re-ID network on a mix, evaluate it, and write down what a table needs to know.

Networks and transforms are torchreid's, and so is the step of a plain training, number for number
(:mod:`reid_aug.stages.train_reid.trainer`). The loop around it is ours, because a step here is a
step whatever the size of the mix: steps, batch and schedule are recipe values, the same in all
cells of a table. Real and generated images are one data set, so both show the same identities;
torchreid's own way of adding data sets would make the generated people new ones.

A training saves its state once a minute, after whatever step that is. One that was killed goes on
from there when the same command is given again, and ends in the same weights, bit for bit on a CPU.
Processes of ``torchrun`` share every batch, and train what one process would
(:mod:`reid_aug.stages.train_reid.trainer`).

Global random generators are set here and in what this module calls, and nowhere else, since
torchreid's networks and transforms draw from them.

- settings: the recipe's table ``[train_reid]`` and its presets
- batches: which images a step takes, with which random changes
- losses: what a real and a generated image count
- trainer: one step
- folder: the files of a training, and its state
- stock_torchreid: a mix as a data set of stock torchreid
"""

import contextlib
import io
import json
import math
import os
import statistics
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from reid_aug import __version__
from reid_aug.backbones import build_backbone, load_starting_weights, torchreid_library
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.data.dataset import Dataset, require_a_match, verify_images
from reid_aug.data.provenance import (
    DIGITS,
    dataset_sha256,
    fingerprints,
    is_leak_free,
    leak_status,
    names_sha256,
    recorded_fingerprints,
)
from reid_aug.evaluation import AP_DEFINITION, RESULT_FORMAT
from reid_aug.evaluation.features import evaluate_model
from reid_aug.mixing import Mix, require_same_dataset
from reid_aug.runtime.distributed import ProcessGroup
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed, locked, sha256, write_json
from reid_aug.runtime.progress import track
from reid_aug.runtime.weights import read_tensors, write_tensors
from reid_aug.stages.train_reid.batches import Batches, Training
from reid_aug.stages.train_reid.folder import (
    IMAGES,
    MODEL,
    RESULT,
    STATE,
    open_log,
    read_state,
    write_state,
)
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.stages.train_reid.trainer import ReidTrainer, check_precision

MODEL_FORMAT = "reid_aug.reid/1"
LOGGED_EVERY = 10  # steps
SAVED_EVERY = 60.0  # seconds


def train_reid(
    mix: Mix,
    dataset: Dataset,
    config: TrainReidConfig,
    folder: Path,
    seed: int,
    device: torch.device,
    group: ProcessGroup = ProcessGroup(),
) -> Path:
    """Train on ``mix``, evaluate on query and gallery; the path of ``result.json``.

    Writes ``images.txt`` (the exact images used), ``log.jsonl``, ``model.safetensors`` and, last,
    ``result.json`` into ``folder``.

    Args:
        group: who trains together; the first one writes and evaluates.

    Raises:
        UserError: If an image does not decode, the bank is of another data set, the backbone or
            its weights do not fit, bfloat16 is computed wrong here, or the training diverges.
    """
    began = time.time()
    torchreid_library().utils.set_random_seed(seed)
    verify_images((*mix.real, *dataset.query, *dataset.gallery))
    require_a_match(dataset)
    require_same_dataset(mix.bank if mix.generated else None, dataset)
    train_transform, test_transform = transforms_of(config)
    training = Training(mix, train_transform, seed)
    model = build_network(config, len(training.labels))
    if config.weights:
        print(f"starting weights: {load_starting_weights(model, config.weights)}", file=sys.stderr)
    about, start = experiment(mix, dataset, config, seed), starting_data(mix, dataset, config)
    Batches(mix, config, seed, part=_part(config, group))  # refuses what cannot make one
    check_precision(model, config, device, config.batch // group.size)
    with locked(folder) if group.is_first else contextlib.nullcontext():
        with group.joined(device):
            trainer = ReidTrainer(model, config, seed, device, group)
            _train(trainer, training, folder, about)
        if not group.is_first:
            return folder / RESULT
        notes = {"format": MODEL_FORMAT, "recipe": about["recipe"], "seed": seed}
        write_tensors(
            folder / MODEL, model.state_dict(), {**notes, "trained_on": _seen(mix, config)}
        )
        scores = evaluate_model(model, dataset, test_transform, device, loaders(config))
        result = {
            "format": RESULT_FORMAT,
            **scores.fields([query.name for query in dataset.query]),
            "ap_definition": AP_DEFINITION,
            "gallery": len(dataset.gallery),
            **about,
            **_mix_fields(mix, start),
            "model_sha256": sha256(folder / MODEL),
            "steps": config.steps,
            "classes": len(training.labels),
            "parameters": sum(p.numel() for p in model.parameters()),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "processes": group.size,
            "seconds": round(time.time() - began, 1),
            "versions": versions(),
        }
        write_json(folder / RESULT, result)
        (folder / STATE).unlink(missing_ok=True)
    return folder / RESULT


def _part(config: TrainReidConfig, group: ProcessGroup) -> slice:
    return group.part_of(config.batch, "train_reid.batch")


def experiment(mix: Mix, dataset: Dataset, config: TrainReidConfig, seed: int) -> dict[str, Any]:
    """Everything that a training depends on: two results that agree in it are the same result."""
    return {
        "mode": mix.mode,
        "ratio": mix.ratio,
        "keep": mix.keep,
        "keep_seed": mix.keep_seed,
        "seed": seed,
        "backbone": config.backbone,
        "recipe": asdict(replace(config, weights=Path(config.weights).name)),
        "starting_weights": sha256(config.weights) if config.weights else None,
        "kept_sha256": names_sha256(mix.real),
        "dataset_sha256": dataset_sha256(dataset),
        "rows_sha256": mix.rows_sha256(),
        "min_score": mix.min_score or None,
    }


def build_network(config: TrainReidConfig, classes: int) -> nn.Module:
    """The network that ``config`` asks for, with fresh weights.

    Raises:
        UserError: If there is none such.
    """
    size = config.height, config.width
    with_features = config.triplet_weight > 0
    return build_backbone(
        config.backbone, classes, *size, config.last_stride, config.bnneck, with_features
    )


def transforms_of(config: TrainReidConfig) -> tuple[Any, Any]:
    """Torchreid's transforms of an image, in training and in tests."""
    chosen = {"random_flip": config.flip, "random_crop": config.crop, "random_erase": config.erase}
    names = [name for name, is_on in chosen.items() if is_on]
    mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    build = torchreid_library().data.transforms.build_transforms
    with contextlib.redirect_stdout(io.StringIO()):
        return build(config.height, config.width, names, mean, std)


def write_images(mix: Mix, path: Path) -> None:
    """Write the exact images of a mix, each with its hash."""
    with committed(path) as part, part.open("w", encoding="utf-8") as file:
        for index in range(len(mix)):
            file.write(f"{mix.image_sha256(index)}  {mix.name(index)}\n")


def loaders(config: TrainReidConfig) -> int:
    """How many processes load images: what the recipe asks for, as far as there are cores."""
    return min(config.workers, len(os.sched_getaffinity(0)))


def _train(trainer: ReidTrainer, training: Training, folder: Path, about: dict[str, Any]) -> None:
    """All steps from those that were done before on."""
    config, group = trainer.config, trainer.group
    start, tensors = read_state(folder, about)
    if not group.is_agreed(start):
        raise UserError(
            f"{folder}: must be one folder for all group, on a file system that they share, got "
            f"different states of the training"
        )
    if start:
        trainer.restore(tensors)
    loader = _loader(training, config, trainer, start)
    if not group.is_first:
        for step, batch in enumerate(loader, start):
            trainer.step(batch, step)
        return
    write_images(training.mix, folder / IMAGES)
    _steps(trainer, loader, folder, about, start)


def _steps(
    trainer: ReidTrainer,
    loader: DataLoader[Any],
    folder: Path,
    about: dict[str, Any],
    start: int,
) -> None:
    """The steps of the rank that writes: with the log, and a state by the clock."""
    config = trainer.config
    bar = track(loader, f"train {config.backbone}", config.steps, start)
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
                write_state(folder, about, step + 1, trainer.state())
                saved = time.monotonic()


def _finite(losses: dict[str, Tensor], step: int, config: TrainReidConfig) -> dict[str, float]:
    """The losses of a step, for which the device is waited.

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
    """The batches of the steps from ``start`` on, or a rank's part of them."""
    part = _part(config, trainer.group)
    batches = Batches(training.mix, config, trainer.seed, start, part)
    is_pinned = trainer.device.type == "cuda"
    return DataLoader(
        training, batch_sampler=batches, num_workers=loaders(config), pin_memory=is_pinned
    )


def _mix_fields(mix: Mix, start: str | None) -> dict[str, Any]:
    used = mix.bank if mix.generated else None
    status = used.attributes["generator_data"] if used else None
    return {
        "real": len(mix.real),
        "generated": mix.generated,
        "method": used.plan["method"] if used else None,
        "cameras": used.plan["cameras"] if used else None,
        "poses": used.plan["poses"] if used else None,
        "generator_data": status,
        "generator_sha256": used.attributes["generator_sha256"] if used else None,
        "starting_data": start,
        "leak_free": is_leak_free((status, start, *scorers(mix))),
        "bank_sha256": sha256(used.path) if used else None,
    }


def scorers(mix: Mix) -> list[str]:
    """What those know of the data set whose scores filtered the bank."""
    return [about["data"] for about in mix.min_score.values()]


def starting_data(mix: Mix, dataset: Dataset, config: TrainReidConfig) -> str | None:
    """What the starting weights know of the data set; None where a training starts from scratch.

    Weights of which nobody noted what they have seen count as ``weights_data`` declares, or else as
    "whole": not leak-free. A network that a training here left says itself what it has seen.

    Raises:
        UserError: If they were trained on test images, or say something else than was declared.
    """
    if not config.weights:
        return None
    seen, declared = _fingerprints_before(config), config.weights_data
    if seen is None and declared:
        return declared
    data = leak_status(seen or "", dataset, mix.real, "network of train_reid.weights")
    if declared and data != declared:
        raise UserError(
            f"{config.weights}: its own notes must not contradict train_reid.weights_data, "
            f"{declared!r}, got {data!r}; leave weights_data out, since the notes count"
        )
    return data


def _fingerprints_before(config: TrainReidConfig) -> str | None:
    """The fingerprints that starting weights of ours carry, "" if unknown; None of all others."""
    if not config.weights.endswith(".safetensors"):
        return None
    notes = read_tensors(config.weights)[1]
    if notes.get("format") != MODEL_FORMAT:
        return None
    return recorded_fingerprints(notes)


def _seen(mix: Mix, config: TrainReidConfig) -> str:
    """The fingerprints of all images that a trained network knows; "" where that is unknown.

    A bank does not say which images its generator saw. It is known only where all are kept ones.
    Starting weights that were declared external add one that is no image: the network knows more
    than the kept set.
    """
    data = mix.bank.attributes["generator_data"] if mix.bank and mix.generated else "kept"
    before = _fingerprints_before(config) if config.weights else ""
    if before is None and config.weights_data:
        before = sha256(config.weights)[:DIGITS]
    if {data, *scorers(mix)} != {"kept"} or (config.weights and not before):
        return ""
    return (before or "") + fingerprints(mix.real)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {
        "reid_aug": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "torchreid": torchreid_library().__version__,
        "numpy": np.__version__,
    }


def seconds_per_step(mix: Mix, config: TrainReidConfig, device: torch.device) -> float:
    """Time of one training step, the median of three, in a scratch network."""
    torchreid_library().utils.set_random_seed(0)
    training = Training(mix, transforms_of(config)[0], 0)
    three = replace(config, steps=3, workers=0)
    model = build_network(three, len(training.labels))
    check_precision(model, three, device, three.batch)
    trainer = ReidTrainer(model, three, 0, device)
    elapsed, began = [], time.perf_counter()
    for step, batch in enumerate(_loader(training, three, trainer, 0)):
        trainer.step(batch, step)["loss"].item()
        elapsed.append(time.perf_counter() - began)
        began = time.perf_counter()
    return statistics.median(elapsed)
