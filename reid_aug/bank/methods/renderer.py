"""The method "renderer": true images of the built-in people, the upper reference of a generator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.bank.methods.base import Method, Scene
from reid_aug.bank.plan import PlannedRow
from reid_aug.data.dataset import resize
from reid_aug.people import is_people, read_people
from reid_aug.runtime.errors import UserError


class RendererMethod(Method):
    """Renders the built-in people in the target's pose.

    Each image has its own piece of street and its own exposure. With those of its source, the
    background would give away the identity.

    Raises:
        UserError: If the data set does not consist of the built-in people.
    """

    name = "renderer"
    label = "true renders"
    moves_cameras = True
    needs_target_image = True
    built_in_people_only = True
    generator_data = "whole"
    description = "true renders, with more information than a generator has: not leak-free"

    def __init__(self, scene: Scene, cameras: str, checkpoint: Path | None) -> None:
        super().__init__(scene, cameras, checkpoint)
        root = scene.real[0].path.absolute().parent.parent
        if not is_people(root):
            raise UserError(
                f"{root}: method {self.name} works on the built-in people only; "
                f"choose method generator, limb-warp or copies"
            )
        self.people = read_people(root)

    def read(self, rows: Sequence[PlannedRow]) -> Any:
        return rows

    def compute(self, material: Any) -> np.ndarray:
        return np.stack([self.render(row) for row in material])

    def render(self, row: PlannedRow) -> np.ndarray:
        """The true image of one row: (H, W, 3) uint8."""
        truth = self.people.truth(row.source.name, row.target.name, row.camid)
        return resize(truth, *self.scene.size)
