"""The files of a generator training: what it has reached, and what to go on from.

    generator.safetensors              the result (the averaged weights where ``ema`` is set)
    training/00000500.safetensors      all networks, optimisers and pools; the last two are kept
    training/log.jsonl                 the losses of every step
    training/samples/00000500.png      source, target pose, generated, truth for eight fixed pairs
    training/best.safetensors          a checkpoint, where identities are held out: the best on them
    training/events.out.tfevents.*     the log for TensorBoard, where it was asked for

Result and states carry the notes of the training. A folder whose notes differ holds another
training, and is left alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from torch import Tensor

from reid_aug.data.keypoints import Pose
from reid_aug.data.pictures import draw_pose, sheet, write_picture
from reid_aug.generator import load_with_metadata
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed
from reid_aug.runtime.weights import read_tensors, write_tensors
from reid_aug.stages.train_generator.pairs import Batch

FORMAT = "reid_aug.training/1"
STATES_KEPT = 2
STATES = "[0-9]*.safetensors"


class TrainingFolder:
    """The files of the training ``notes``, by so many group, in a run folder."""

    def __init__(self, folder: Path, notes: Mapping[str, Any], group: int = 1) -> None:
        self.result = folder / "generator.safetensors"
        self.states = folder / "training"
        self.best = self.states / "best.safetensors"
        self.log = self.states / "log.jsonl"
        self.notes = json.loads(json.dumps(notes))
        self.group = group

    def is_finished(self) -> bool:
        """Whether the result of this very training is there, by however many group.

        Raises:
            UserError: If another one's is.
        """
        if not self.result.exists():
            return False
        found = load_with_metadata(self.result)[1]
        if any(found.get(key) != value for key, value in self.notes.items()):
            raise UserError(
                f"{self.result}: is there already, trained with other settings or data; "
                f"choose another folder with --out, or remove the file"
            )
        return True

    def newest_state(self) -> tuple[int, dict[str, Tensor]]:
        """How many steps were done, and the tensors then; 0 and nothing at the beginning.

        Raises:
            UserError: If the state is another training's, or that of another number of group.
        """
        newest = max(self.states.glob(STATES), default=None)
        if newest is None:
            return 0, {}
        tensors, head = read_tensors(newest)
        if head.get("format") != FORMAT or head.get("notes") != self.notes:
            raise UserError(
                f"{self.states}: holds a training with other settings or data; "
                f"go on with those, or choose another folder with --out"
            )
        if head.get("processes", 1) != self.group:
            raise UserError(
                f"{self.states}: was made by {head.get('processes', 1)} processes, and dropout and "
                f"batch norm make {self.group} end elsewhere; go on with as many, or choose "
                f"another folder with --out"
            )
        return int(head["step"]), tensors

    def save_state(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Write the state after ``step`` steps, and drop all but the last two."""
        head = {"format": FORMAT, "step": step, "processes": self.group, "notes": self.notes}
        write_tensors(self.states / f"{step:08d}.safetensors", tensors, head)
        for old in sorted(self.states.glob(STATES))[:-STATES_KEPT]:
            old.unlink()

    def open_log(self, start: int) -> TextIO:
        """The log, open for more lines; those of steps that will be done again are dropped."""
        lines = self.log.read_text().splitlines()[:start] if self.log.exists() else []
        with committed(self.log) as part:
            part.write_text("".join(f"{line}\n" for line in lines))
        return self.log.open("a", buffering=1)

    def logged(self, key: str) -> list[float]:
        """What the log says under ``key``, of every step that says it."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return [line[key] for line in lines if key in line]

    def learning_curve(self, every: int) -> list[tuple[int, float]]:
        """Mean L1 loss of every so many steps, as (last step of them, loss), from the log."""
        losses = self.logged("l1")
        return [
            (
                min(start + every, len(losses)),
                round(float(np.mean(losses[start : start + every])), 4),
            )
            for start in range(0, len(losses), every)
        ]

    def save_samples(self, batch: Batch, drawn: np.ndarray, step: int) -> None:
        """Write source, target pose, generated and truth of ``batch`` as one PNG."""
        height, width = batch.image.shape[1:3]
        rows = [
            [image.numpy(), draw_pose(Pose(xy.numpy()), height, width), new, truth.numpy()]
            for image, xy, new, truth in zip(
                batch.image, batch.target, drawn, batch.truth, strict=True
            )
        ]
        titles = ("source", "pose", "generated", "truth")
        picture = sheet(rows, titles, across=2, zoom=max(1, 256 // height))
        write_picture(self.states / f"samples/{step:08d}.png", picture)
