"""The files of a generator training: its result, its states and its log.

    generator.safetensors              the result (the averaged weights where ``ema`` is set)
    training/00000500.safetensors      all networks, optimisers and pools; the last two are kept
    training/log.jsonl                 the losses of every step
    training/samples/00000500.png      source, target pose, generated, truth for eight fixed pairs
    training/best.safetensors          the best checkpoint on held-out identities, if there are any
    training/events.out.tfevents.*     the log for TensorBoard, if ``tensorboard`` is set

The result and the states contain the metadata of the training. A folder with other metadata holds
another training, and is not changed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from torch import Tensor

from reid_aug.data.keypoints import Pose
from reid_aug.data.pictures import POSE_LEGEND, draw_pose, sheet, write_picture
from reid_aug.generator import load_with_metadata
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed
from reid_aug.runtime.records import Table, parse_table
from reid_aug.runtime.regular_files import read_text
from reid_aug.runtime.weights import check_tensors, read_tensors, tensors_sha256, write_tensors
from reid_aug.stages.train_generator.pairs import PairBatch

STATE_FORMAT = "reid_aug.training/1"
STATES_KEPT = 2
STATE_FILES = "[0-9]*.safetensors"


class TrainingFolder:
    """The files of one training in a run folder.

    Args:
        metadata: what identifies the training.
        processes: the number of processes that train together.
    """

    def __init__(self, folder: Path, metadata: Mapping[str, Any], processes: int = 1) -> None:
        self.result = folder / "generator.safetensors"
        self.states = folder / "training"
        self.best = self.states / "best.safetensors"
        self.log = self.states / "log.jsonl"
        self.metadata = json.loads(json.dumps(metadata))
        self.processes = processes
        self._again = f"remove {self.states}, and train again"

    def is_finished(self) -> bool:
        """Whether the result of this training exists, whatever number of processes made it.

        Raises:
            UserError: If the result of another training exists.
        """
        if not self.result.exists():
            return False
        found = load_with_metadata(self.result)[1]
        if any(found.get(key) != value for key, value in self.metadata.items()):
            raise UserError(
                f"{self.result}: exists already, trained with other settings or data; "
                f"choose another folder with --out, or remove the file"
            )
        return True

    def has_state(self) -> bool:
        """Whether a state is saved."""
        return any(self.states.glob(STATE_FILES))

    def newest_state(self) -> tuple[int, dict[str, Tensor]]:
        """The steps of the newest state and its tensors; 0 and no tensors if there is no state.

        Raises:
            UserError: If the state is of another training or another number of processes.
        """
        newest = max(self.states.glob(STATE_FILES), default=None)
        if newest is None:
            return 0, {}
        tensors, metadata = read_tensors(newest)
        head = Table(metadata, str(newest), remedy=self._again)
        head.text("format", (STATE_FORMAT,))
        if head.table("notes").content != self.metadata:
            raise UserError(
                f"{self.states}: holds a training with other settings or data; "
                f"continue with those, or choose another folder with --out"
            )
        if (processes := head.whole("processes", 1)) != self.processes:
            raise UserError(
                f"{self.states}: was made by {processes} processes, and "
                f"{self.processes} would get other weights from dropout and batch norm; continue "
                f"with the same number, or choose another folder with --out"
            )
        check_tensors(tensors, head)
        return head.whole("step", 1), tensors

    def save_state(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Write the state after ``step`` steps, and delete all states but the last two."""
        head = {"format": STATE_FORMAT, "step": step, "notes": self.metadata}
        head["processes"] = self.processes
        head["tensors_sha256"] = tensors_sha256(tensors)
        write_tensors(self.states / f"{step:08d}.safetensors", tensors, head)
        for old in sorted(self.states.glob(STATE_FILES))[:-STATES_KEPT]:
            old.unlink()

    def open_log(self, start: int) -> TextIO:
        """The log, open for more lines; lines of steps that will be repeated are deleted."""
        lines = read_text(self.log).splitlines()[:start] if self.log.exists() else []
        with committed(self.log) as part:
            part.write_text("".join(f"{line}\n" for line in lines))
        return self.log.open("a", buffering=1)

    @property
    def samples(self) -> Path:
        """The folder of the sample pictures."""
        return self.states / "samples"

    def logged(self, key: str) -> list[float]:
        """The values of ``key`` in the log, of every step that has it.

        Raises:
            UserError: If a line of the log is damaged.
        """
        lines = [
            parse_table(line, f"{self.log}: line {number}", "the losses of a step", self._again)
            for number, line in enumerate(read_text(self.log).splitlines(), start=1)
        ]
        return [line.number(key) for line in lines if key in line.content]

    def learning_curve(self, every: int) -> list[tuple[int, float]]:
        """The mean L1 loss of each ``every`` steps in the log, as (last of these steps, loss)."""
        losses = self.logged("l1")
        return [
            (
                min(start + every, len(losses)),
                round(float(np.mean(losses[start : start + every])), 4),
            )
            for start in range(0, len(losses), every)
        ]

    def save_samples(self, batch: PairBatch, generated: np.ndarray, step: int) -> None:
        """Write source, target pose, generated image and true image of ``batch`` as one PNG."""
        height, width = batch.image.shape[1:3]
        rows = [
            [image.numpy(), draw_pose(Pose(xy.numpy()), height, width), new, truth.numpy()]
            for image, xy, new, truth in zip(
                batch.image, batch.target, generated, batch.truth, strict=True
            )
        ]
        titles = ("source", "pose", "generated", "truth")
        picture = sheet(rows, titles, 2, max(1, 256 // height), legend=POSE_LEGEND)
        write_picture(self.samples / f"{step:08d}.png", picture)
