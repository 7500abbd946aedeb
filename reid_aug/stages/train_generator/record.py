"""The files that a training writes while it runs: log, states, samples, and the best generator.

Whenever a state is saved, images of the held-out identities are generated, and their SSIM and L1
are added to the log. The published training keeps its last weights, so these remain the result. The
best generator by SSIM is saved in a second file.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

import numpy as np

from reid_aug.generator import save_generator
from reid_aug.runtime.files import sync
from reid_aug.stages.train_generator.folder import TrainingFolder
from reid_aug.stages.train_generator.pairs import PairBatch, Pairs
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.trainer import Trainer

SSIM = "held_out_ssim"


class TrainingRecord:
    """Records every step of ``trainer``.

    Args:
        log: the log, open for writing.
        board: a SummaryWriter of TensorBoard, or None.
    """

    def __init__(
        self, files: TrainingFolder, trainer: Trainer, pairs: Pairs, log: TextIO, board: Any
    ) -> None:
        self.files, self.trainer, self.log, self.board = files, trainer, log, board
        self.config: TrainGeneratorConfig = trainer.config
        self.samples, self.validation = pairs.samples(), pairs.validation()
        self.best = max(files.logged(SSIM), default=-np.inf)

    def add(self, step: int, losses: Mapping[str, float]) -> None:
        """Log a step, counted from 1; save the state every ``save_every`` steps and at the end."""
        is_due = step % self.config.save_every == 0 or step == self.config.steps
        values = {"lr": self.config.rate(step - 1), **losses}
        if is_due:
            values |= validate(self.trainer, self.validation)
        off = {} if self.config.vgg else {"perceptual": None}
        rounded = {key: round(value, 6) for key, value in values.items()}
        self.log.write(json.dumps({"step": step, **rounded, **off}) + "\n")
        if self.board:
            for key, value in values.items():
                self.board.add_scalar(key, value, step)
        if is_due:
            self._save(step, rounded)

    def _save(self, step: int, values: Mapping[str, float]) -> None:
        """Write the state last: a training that is killed before writes the other files again."""
        if values.get(SSIM, -np.inf) > self.best:
            self.best = values[SSIM]
            found = {key: values[key] for key in values if key.startswith("held_out_")}
            metadata = {**self.files.metadata, "step": step, **found}
            save_generator(self.trainer.averaged(), self.files.best, metadata)
        generated = self.trainer.generate(self.samples)
        self.files.save_samples(self.samples, generated, step)
        if self.board:
            self.board.add_images("generated", generated, step, dataformats="NHWC")
            self.board.flush()
        sync(self.log)  # a state relies on the lines of its steps
        self.files.save_state(self.trainer.state(), step)


@contextmanager
def recording(
    files: TrainingFolder, trainer: Trainer, pairs: Pairs, start: int
) -> Iterator[TrainingRecord]:
    """The record of a training that continues after ``start`` steps."""
    with files.open_log(start) as log, _board(files, trainer.config, start) as board:
        yield TrainingRecord(files, trainer, pairs, log, board)


@contextmanager
def _board(files: TrainingFolder, config: TrainGeneratorConfig, start: int) -> Iterator[Any]:
    if not config.tensorboard:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(files.states, purge_step=start + 1) as board:
        yield board


def validate(trainer: Trainer, batches: list[PairBatch]) -> dict[str, float]:
    """The quality of the generated images of held-out pairs; empty if there are none.

    Returns:
        The mean L1 distance of pixels in [-1, 1] (smaller is better), and the mean SSIM (larger is
        better).
    """
    if not batches:
        return {}
    from reid_aug.image_quality import mean_difference, ssim

    found = []
    for batch in batches:
        for truth, made in zip(batch.truth.numpy(), trainer.generate(batch), strict=True):
            found.append((mean_difference(truth, made), ssim(truth, made, "clean")))
    l1, likeness = np.mean(found, 0).tolist()
    return {"held_out_l1": l1, SSIM: likeness}
