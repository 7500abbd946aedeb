"""The method "copies": mirrored sources in other colours, the baseline that costs nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reid_aug.bank.methods.base import Method
from reid_aug.bank.plan import PlannedRow

COPY_JITTER = 0.3  # the jitter of copies


class CopiesMethod(Method):
    """Mirrors the source and changes its colours; a generator must give better results than this.

    The target of a row is its source. The change of colours follows from the seed, the identity
    and the seat.
    """

    name = "copies"
    label = "mirrored copies"
    changes_pose = False
    generator_data = "kept"
    description = "mirrored and colour-jittered copies of the kept images"

    def row(self, row: PlannedRow) -> PlannedRow:
        return PlannedRow(row.source, row.source, row.source.camid, row.seat)

    def keypoints(self, row: PlannedRow) -> np.ndarray:
        return self.pose(row.source).mirrored(self.scene.size[1]).xy

    def read(self, rows: Sequence[PlannedRow]) -> Any:
        return np.ascontiguousarray(self.sources(rows)[:, :, ::-1])

    def finish(self, images: np.ndarray, rows: Sequence[PlannedRow]) -> np.ndarray:
        return self.relit(images, rows, COPY_JITTER)
