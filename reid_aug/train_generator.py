"""Train a PATN generator on pairs of images of one person.

The pairs of step i start from (seed, i), and so does all that a step draws
(:mod:`reid_aug.generator_training.trainer`). So a killed run that is started again ends in the same
weights, bit for bit on a CPU. What it leaves behind, and where it goes on:
:mod:`reid_aug.generator_training.folder`.
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
from reid_aug.dataset import DataConfig, PersonImage, verify_images
from reid_aug.errors import UserError
from reid_aug.files import locked, sha256
from reid_aug.generator import GeneratorConfig, load_noted, save_generator
from reid_aug.generator_training.folder import TrainingFolder
from reid_aug.generator_training.pairs import Batch, Pairs
from reid_aug.generator_training.record import SSIM, recording
from reid_aug.generator_training.settings import TrainGeneratorConfig
from reid_aug.generator_training.starting_weights import seen_before, starting_files
from reid_aug.generator_training.trainer import Trainer
from reid_aug.poses import Pose
from reid_aug.progress import track
from reid_aug.provenance import joined_seen, keypoints_sha256, names_sha256, seen_images
from reid_aug.ranks import Ranks
from reid_aug.workers import ahead

FILES = ("vgg", "teacher", "start", "start_appearance", "start_pose")  # noted by name, not path


def pairs_of(
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    data: DataConfig,
    config: TrainGeneratorConfig,
    seed: int,
    ranks: Ranks = Ranks(),
) -> Pairs:
    """The batches of this training, out of the kept set ``real``; of a rank, its part of them.

    Raises:
        UserError: If there are no pairs, or the ranks cannot share a batch evenly.
    """
    part = ranks.part_of(config.batch)
    which = (config.cameras, config.flip, config.pairs, config.held_out, part)
    return Pairs(real, poses, data, config.steps, config.batch, seed, *which)


def train_generator(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    folder: Path,
    notes: Mapping[str, Any],
    device: torch.device,
    ranks: Ranks = Ranks(),
) -> Path:
    """Train, or go on with a training that was interrupted; the path of the checkpoint.

    Args:
        folder: the run folder; ranks on several machines need one file system for it.
        notes: what the checkpoint will say about itself. A training state with other notes belongs
            to another training and is refused.
        ranks: who trains together; the first one writes.

    Raises:
        UserError: If the folder holds another training, an image does not decode, bfloat16 is
            computed wrong here, the training diverges, another process is at work in the folder, or
            a rank is gone.
    """
    files = TrainingFolder(folder, notes, ranks.size)
    if files.is_finished():
        return files.result
    _check_cameras(pairs, network)
    trainer = Trainer(network, config, pairs.seed, device, ranks)
    trainer.check_precision(pairs.data.height, pairs.data.width)
    start, state = files.newest_state()
    if state:
        trainer.restore(state)
    if not ranks.is_agreed(start):
        raise UserError(
            f"{files.states}: must be one folder for all ranks, on a file system that they share, "
            f"but they found different states in it"
        )
    if not ranks.is_first:
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
        about = {**notes, "step": config.steps, "ranks": ranks.size, "learning_curve": curve}
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
    for is_alone in sorted({number < config.alone_steps for number in (0, config.steps - 1)}):
        number, times = 0 if is_alone else config.steps - 1, []
        for _ in range(3):
            batch = pairs[number]  # read while the step before it is made
            began = time.perf_counter()
            trainer.step(batch, number)
            times.append(time.perf_counter() - began)
        elapsed[is_alone] = statistics.median(times)
    alone = config.alone_steps / config.steps
    return alone * elapsed.get(True, 0.0) + (1 - alone) * elapsed.get(False, 0.0)


def training_notes(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
) -> dict[str, Any]:
    """What a checkpoint says about its training on the kept set ``real``.

    What its teacher and the networks that it starts from have seen, the generator has seen; "" if
    nobody noted that for one of them. What changes no weight is left out.
    """
    files = {key: Path(getattr(config, key)).name for key in FILES}
    told = {key: value for key, value in asdict(config).items() if key != "tensorboard"}
    recipe = {
        "data": asdict(pairs.data),
        "generator": asdict(network),
        "train_generator": told | files,
    }
    before = seen_before(config)
    if config.teacher:
        before.append(load_reid_network(config.teacher).seen or "")
    return {
        "recipe": recipe,
        "seed": pairs.seed,
        "perceptual_term": bool(config.vgg),
        "vgg_sha256": sha256(config.vgg) if config.vgg else None,
        "teacher_sha256": sha256(config.teacher) if config.teacher else None,
        "start_sha256": starting_files(config),
        "kept_sha256": names_sha256(real),
        "keypoints_sha256": keypoints_sha256(real, poses),
        "seen": joined_seen([seen_images(real), *before]),
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
    notes = load_noted(path)[1]
    return f"best on held-out identities: {path}, step {notes['step']}, SSIM {notes[SSIM]:.3f}"
