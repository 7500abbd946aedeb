"""Train a PATN generator on pairs of images of one person.

The pairs of step i, and every other random number of it, start from (seed, i). So a killed run that
is started again ends in the same weights, bit for bit on a CPU.

- settings: the recipe's table ``[train_generator]``
- pairs: which two images of one person a step takes
- trainer: one step of generator and discriminators
- identity_model: the re-ID network of the identity loss
- starting_weights: what a training starts from, where that is not random
- folder: training states, sample pictures
- record: the log, and the best generator so far
"""

import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.data.dataset import DataConfig, PersonImage, verify_images
from reid_aug.data.keypoints import Pose
from reid_aug.data.provenance import (
    fingerprints,
    joined_fingerprints,
    keypoints_sha256,
    names_sha256,
)
from reid_aug.generator import GeneratorConfig, load_with_metadata, save_generator
from reid_aug.runtime.distributed import ProcessGroup
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import locked, sha256
from reid_aug.runtime.progress import track
from reid_aug.runtime.workers import ahead
from reid_aug.stages.train_generator.folder import TrainingFolder
from reid_aug.stages.train_generator.pairs import Batch, Pairs
from reid_aug.stages.train_generator.record import SSIM, recording
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.starting_weights import fingerprints_before, starting_files
from reid_aug.stages.train_generator.trainer import Trainer

FILES = (
    "vgg",
    "identity_model",
    "start",
    "start_appearance",
    "start_pose",
)  # noted by name, not path


def pairs_of(
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    data: DataConfig,
    config: TrainGeneratorConfig,
    seed: int,
    group: ProcessGroup = ProcessGroup(),
) -> Pairs:
    """The batches of this training, out of the kept set ``real``; of a rank, its part of them.

    Raises:
        UserError: If there are no pairs, or the ranks cannot share a batch evenly.
    """
    part = group.part_of(config.batch)
    which = (config.cameras, config.flip, config.pairs, config.held_out, part)
    return Pairs(real, poses, data, config.steps, config.batch, seed, *which)


def train_generator(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    folder: Path,
    notes: Mapping[str, Any],
    device: torch.device,
    group: ProcessGroup = ProcessGroup(),
) -> Path:
    """Train, or go on with a training that was interrupted; the path of the checkpoint.

    Args:
        folder: the run folder; ranks on several machines need one file system for it.
        notes: what the checkpoint will say about itself. A training state with other notes belongs
            to another training and is refused.
        group: who trains together; the first one writes.

    Raises:
        UserError: If the folder holds another training, an image does not decode, bfloat16 is
            computed wrong here, the training diverges, another process is at work in the folder, or
            a rank is gone.
    """
    files = TrainingFolder(folder, notes, group.size)
    if files.is_finished():
        return files.result
    _check_cameras(pairs, network)
    trainer = Trainer(network, config, pairs.seed, device, group)
    trainer.check_precision(pairs.data.height, pairs.data.width)
    start, state = files.newest_state()
    if state:
        trainer.restore(state)
    if not group.is_agreed(start):
        raise UserError(
            f"{files.states}: must be one folder for all group, on a file system that they share, "
            f"but they found different states in it"
        )
    if not group.is_first:
        with _read_ahead(pairs, start) as batches:
            for _ in _steps(trainer, batches, start):
                pass
        return files.result
    verify_images(pairs.images)
    with (
        locked(folder),
        recording(files, trainer, pairs, start) as record,
        _read_ahead(pairs, start) as batches,
        track(batches, "train generator", config.steps, start) as bar,
    ):
        for step, losses in _steps(trainer, bar, start):
            record.add(step, losses)
            bar.set_postfix_str(f"l1 {losses['l1']:.3f}", refresh=False)
        curve = files.learning_curve(config.save_every)
        about = {**notes, "step": config.steps, "processes": group.size, "learning_curve": curve}
        save_generator(trainer.averaged(), files.result, about)
    return files.result


@contextmanager
def _read_ahead(pairs: Pairs, start: int) -> Iterator[Iterator[Batch]]:
    """The batches from step ``start`` on; a thread reads one while the step before it is made."""
    with ThreadPoolExecutor(1) as reader:
        yield ahead(reader, pairs.__getitem__, range(start, len(pairs)), 1)


def _steps(
    trainer: Trainer, batches: Iterable[Batch], start: int
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train; after every step its number, counted from 1, and its losses."""
    for number, batch in enumerate(batches, start):
        losses = trainer.step(batch, number)
        if not all(map(math.isfinite, losses.values())):
            without = ", or train without bfloat16 (train_generator.bf16=false)"
            raise UserError(
                f"the losses are no longer numbers at step {number + 1}; lower train_generator.lr"
                f"{without if trainer.config.bf16 else ''}, and choose another folder with --out"
            )
        yield number + 1, losses


def _check_cameras(pairs: Pairs, network: GeneratorConfig) -> None:
    last = max(image.camid for image in pairs.images)
    if 0 < network.cameras < last:
        raise UserError(
            f"generator.cameras must be 0 (told none) or the largest camid, {last}, "
            f"got {network.cameras}; try --set generator.cameras={last}"
        )


def seconds_per_step(
    pairs: Pairs, network: GeneratorConfig, config: TrainGeneratorConfig, device: torch.device
) -> float:
    """Mean time of a training step with and without discriminators, each the median of three."""
    trainer = Trainer(network, config, pairs.seed, device)
    trainer.check_precision(pairs.data.height, pairs.data.width)
    elapsed = {}
    for is_alone in sorted(
        {number < config.steps_before_discriminators for number in (0, config.steps - 1)}
    ):
        number, times = 0 if is_alone else config.steps - 1, []
        for _ in range(3):
            batch = pairs[number]  # read while the step before it is made
            began = time.perf_counter()
            trainer.step(batch, number)
            times.append(time.perf_counter() - began)
        elapsed[is_alone] = statistics.median(times)
    alone = config.steps_before_discriminators / config.steps
    return alone * elapsed.get(True, 0.0) + (1 - alone) * elapsed.get(False, 0.0)


def training_metadata(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
) -> dict[str, Any]:
    """What a checkpoint says about its training on the kept set ``real``.

    What its identity_model and the networks that it starts from have seen, the generator has seen;
    "" if nobody noted that for one of them. What changes no weight is left out.
    """
    files = {key: Path(getattr(config, key)).name for key in FILES}
    told = {key: value for key, value in asdict(config).items() if key != "tensorboard"}
    recipe = {
        "data": asdict(pairs.data),
        "generator": asdict(network),
        "train_generator": told | files,
    }
    before = fingerprints_before(config)
    if config.identity_model:
        before.append(load_reid_network(config.identity_model).seen or "")
    return {
        "recipe": recipe,
        "seed": pairs.seed,
        "perceptual_term": bool(config.vgg),
        "vgg_sha256": sha256(config.vgg) if config.vgg else None,
        "identity_model_sha256": sha256(config.identity_model) if config.identity_model else None,
        "start_sha256": starting_files(config),
        "kept_sha256": names_sha256(real),
        "keypoints_sha256": keypoints_sha256(real, poses),
        "trained_on": joined_fingerprints([fingerprints(real), *before]),
    }


def describe_losses(config: TrainGeneratorConfig) -> str:
    """Whether the perceptual loss is on, in one line, and with which weights.

    Raises:
        UserError: If the weights are missing.
    """
    if not config.vgg:
        return "no train_generator.vgg: the perceptual loss is off"
    if not Path(config.vgg).is_file():
        raise UserError(
            f"{config.vgg} is missing; train_generator.vgg must be torchvision's VGG-19 weights"
        )
    return f"perceptual loss: {config.vgg}, sha256 {sha256(config.vgg)}"


def describe_best(folder: Path) -> str:
    """Where the best generator by held-out identities lies; nothing where none are held out."""
    path = TrainingFolder(folder, {}).best
    if not path.is_file():
        return ""
    notes = load_with_metadata(path)[1]
    return f"best on held-out identities: {path}, step {notes['step']}, SSIM {notes[SSIM]:.3f}"
