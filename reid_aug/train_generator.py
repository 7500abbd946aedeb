"""Train a PATN generator on pairs of images of one person.

The pairs of step i start from (seed, i), and so does all that a step draws
(:mod:`reid_aug.generator_trainer`). So a killed run that is started again ends in the same weights,
bit for bit on a CPU. What it leaves behind, and where it goes on: :mod:`reid_aug.training_folder`.
"""

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from reid_aug.dataset import DataConfig, PersonImage, verify_images
from reid_aug.errors import UserError
from reid_aug.files import locked, sha256
from reid_aug.generator import GeneratorConfig, save_generator
from reid_aug.generator_settings import TrainGeneratorConfig
from reid_aug.generator_trainer import Trainer
from reid_aug.pairs import Pairs
from reid_aug.poses import Pose
from reid_aug.progress import track
from reid_aug.provenance import keypoints_sha256, names_sha256, seen_images
from reid_aug.reid_network import load_reid_network
from reid_aug.training_folder import TrainingFolder


def pairs_of(
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    data: DataConfig,
    config: TrainGeneratorConfig,
    seed: int,
) -> Pairs:
    """The batches of this training, out of the kept set ``real``."""
    steps, batch = config.steps, config.batch
    return Pairs(real, poses, data, steps, batch, seed, config.cameras, config.flip)


def train_generator(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    folder: Path,
    notes: Mapping[str, Any],
    device: torch.device,
) -> Path:
    """Train, or go on with a training that was interrupted; the path of the checkpoint.

    Args:
        folder: the run folder.
        notes: what the checkpoint will say about itself. A training state with other notes belongs
            to another training and is refused.

    Raises:
        UserError: If the folder holds another training, an image does not decode, the training
            diverges, or another process is at work in the folder.
    """
    files = TrainingFolder(folder, notes)
    if files.is_finished():
        return files.result
    _check_cameras(pairs, network)
    trainer = Trainer(network, config, pairs.seed, device)
    start, state = files.newest_state()
    if state:
        trainer.restore(state)
    verify_images(pairs.images)
    loader = DataLoader(pairs, batch_size=None, sampler=range(start, config.steps))
    bar = track(loader, "train generator", config.steps, start)
    with locked(folder), files.open_log(start) as log, bar:
        for number, batch in enumerate(bar, start):
            losses = trainer.step(batch, number)
            if not all(map(math.isfinite, losses.values())):
                raise UserError(
                    f"the losses are no longer numbers at step {number + 1}; "
                    f"lower train_generator.lr, and choose another folder with --out"
                )
            line = {"step": number + 1, "lr": config.rate(number), **losses}
            log.write(json.dumps({key: round(value, 6) for key, value in line.items()}) + "\n")
            bar.set_postfix_str(f"l1 {losses['l1']:.3f}", refresh=False)
            if (number + 1) % config.save_every == 0 or number + 1 == config.steps:
                files.save_state(trainer.state(), number + 1)
                samples = pairs.samples()
                files.save_samples(samples, trainer.draw(samples), number + 1)
        curve = files.learning_curve(config.save_every)
        about = {**notes, "step": config.steps, "learning_curve": curve}
        save_generator(trainer.averaged(), files.result, about)
    return files.result


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
    elapsed = {}
    for is_alone in sorted({number < config.alone_steps for number in (0, config.steps - 1)}):
        number, times = 0 if is_alone else config.steps - 1, []
        for _ in range(3):
            began = time.perf_counter()
            trainer.step(pairs[number], number)
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

    What the teacher has seen, the generator has seen; "" if nobody noted that.
    """
    files = {"vgg": Path(config.vgg).name, "teacher": Path(config.teacher).name}
    recipe = {
        "data": asdict(pairs.data),
        "generator": asdict(network),
        "train_generator": {**asdict(config), **files},
    }
    seen = seen_images(real)
    if config.teacher:
        taught = load_reid_network(config.teacher).seen
        seen = seen + taught if taught else ""
    return {
        "recipe": recipe,
        "seed": pairs.seed,
        "perceptual_term": bool(config.vgg),
        "teacher_sha256": sha256(config.teacher) if config.teacher else None,
        "kept_sha256": names_sha256(real),
        "keypoints_sha256": keypoints_sha256(real, poses),
        "seen": seen,
    }
