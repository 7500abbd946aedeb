"""Poses: the 18 OpenPose joints of one person, their CSV file and their heatmaps.

Conventions. ``xy`` is (18, 2) pixels, x right, y down, NaN where a joint is unseen. Joints come in
OpenPose-18 order. The published annotation tools label the last four the other way round (14
"Leye", 15 "Reye", ...), but the data hold right before left, so that order is what a flip has to
swap.

The file is the one PATN and pose-gan users already have. It is separated by colons, and y comes
before x:

    name:keypoints_y:keypoints_x
    0002_c1s1_000451_03.jpg: [12, 25, ...18 integers]: [38, 29, ...18 integers]

with -1 for a missing joint. Only an exact -1 is missing: cropped DeepFashion annotations hold
other negative coordinates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import committed

if TYPE_CHECKING:
    import torch

JOINTS = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
LIMBS = (
    (1, 0), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
MIRROR = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
TORSO = (2, 5, 8, 11)  # both shoulders and both hips: what the published pair lists ask for
NEGLIGIBLE = 1e-15  # along one axis; products of less may be subnormal, which slows a CPU tenfold
SIGMA = 6.0  # pixels, whatever the size of the picture
HEADER = "name:keypoints_y:keypoints_x"
MISSING = -1
FARTHEST = 100_000  # pixels


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Where the joints of one person are; ``xy`` is (18, 2) float32 pixels, NaN where unseen."""

    xy: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """(18,) bool: which joints have a position."""
        return ~np.isnan(self.xy[:, 0])

    @property
    def has_torso(self) -> bool:
        """Whether both shoulders and both hips are seen (the published rule for a usable pose)."""
        return bool(self.seen[list(TORSO)].all())

    def mirrored(self, width: int) -> Pose:
        """The pose in the picture flipped left to right, ``width`` pixels wide.

        A left wrist becomes a right wrist, not only a moved one.
        """
        xy = self.xy[list(MIRROR)].copy()
        xy[:, 0] = width - 1 - xy[:, 0]
        return Pose(xy)

    def resized(self, size: tuple[int, int], to: tuple[int, int]) -> Pose:
        """The pose after its picture went from ``size`` to ``to``, both (height, width)."""
        if size == to:
            return self
        scale = np.array([to[1] / size[1], to[0] / size[0]], np.float32)
        return Pose((self.xy + np.float32(0.5)) * scale - np.float32(0.5))

    def heatmaps(self, height: int, width: int, sigma: float = SIGMA) -> np.ndarray:
        """One bump of value 1 per joint, exp(-d^2 / (2 sigma^2)); zeros where the joint is unseen.

        With a ``sigma`` of 0 it is the limit, 1 at the nearest pixel: so are the maps that PATN's
        authors stored for DeepFashion.

        Returns:
            (18, height, width) float32 in [0, 1].

        >>> Pose(np.full((18, 2), 8.0, np.float32)).heatmaps(16, 16)[0, 8, 8]
        np.float32(1.0)
        """

        def bumps(centre: np.ndarray, length: int) -> np.ndarray:
            steps = np.arange(length)
            if sigma == 0:
                return (steps == np.rint(centre)).astype(np.float32)
            return np.exp(-((steps - centre) ** 2) / (2 * sigma**2))

        x, y = self.xy.T[..., None]
        rows, columns = bumps(y, height), bumps(x, width)
        return np.nan_to_num(rows[:, :, None] * columns[:, None, :]).astype(np.float32)


NO_POSE = Pose(np.full((len(JOINTS), 2), np.nan, np.float32))


def heatmaps(xy: torch.Tensor, height: int, width: int, sigma: float = SIGMA) -> torch.Tensor:
    """:meth:`Pose.heatmaps` for a batch, on the device of ``xy``.

    Two small Gaussians and one outer product a joint, so that what travels to the device is the
    key points and not the maps.

    Args:
        xy: (B, 18, 2) pixels, NaN where unseen.

    Returns:
        (B, 18, height, width) float32 in [0, 1].
    """
    import torch  # here, so that reading key points does not cost the start of torch

    def bumps(centre: torch.Tensor, length: int) -> torch.Tensor:
        steps = torch.arange(length, device=xy.device, dtype=torch.float32)
        if sigma == 0:
            return (steps == centre[..., None].round()).float()
        found = torch.exp((steps - centre[..., None]).square() / (-2 * sigma**2)).nan_to_num()
        return torch.nn.functional.threshold(found, NEGLIGIBLE, 0.0)

    columns, rows = bumps(xy[..., 0], width), bumps(xy[..., 1], height)
    return rows[..., :, None] * columns[..., None, :]  # (B, 18, H, 1) * (B, 18, 1, W)


def read_keypoints(path: Path | str) -> dict[str, Pose]:
    """Read a key-point CSV: {file name: Pose}, in the order of the file.

    Raises:
        UserError: If the file is missing, or a row is malformed or given twice; the line is named.
    """
    return {name: pose for _, name, pose in keypoint_rows(path)}


def keypoint_rows(path: Path | str) -> Iterator[tuple[int, str, Pose]]:
    """The rows of a key-point CSV: (line number, file name, pose), in the order of the file.

    Raises:
        UserError: As :func:`read_keypoints`, when the iteration comes to the row.
    """
    path = Path(path)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "is missing"
        raise UserError(
            f"{path} {found}",
            Remedy(
                ("estimate-poses",),
                words="say where the key points are with --keypoints FILE, or find them with",
            ),
        )
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    if not lines or lines[0].strip() != HEADER:
        found = lines[0][:60] if lines else ""
        raise UserError(
            f"{path}: line 1 must be {HEADER!r}, got {found!r}; separate three columns by colons, "
            f"y before x"
        )
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        name, pose = _parse_row(line, where=f"{path}: line {number}")
        if name in seen:
            raise UserError(
                f"{path}: line {number}: {name} has a row already, line {seen[name]}; keep one of "
                f"the two"
            )
        seen[name] = number
        yield number, name, pose


def _parse_row(line: str, where: str) -> tuple[str, Pose]:
    rule = f"{where}: a row must be 'NAME: [18 integers y]: [18 integers x]'"
    name, *columns = (part.strip() for part in line.split(":"))
    if not name or len(columns) != 2:
        raise UserError(f"{rule}, got {line.strip()[:60]!r}")
    try:
        y, x = (json.loads(column) for column in columns)
    except (ValueError, RecursionError):
        raise UserError(f"{rule}, got {line.strip()[:60]!r}") from None
    for axis, values in (("y", y), ("x", x)):
        if not isinstance(values, list) or not all(type(value) is int for value in values):
            raise UserError(f"{rule}, got {axis} = {str(values)[:60]}")
        if len(values) != len(JOINTS):
            raise UserError(f"{rule}, got {len(values)} integers {axis}; -1 marks a missing joint")
    if max(map(abs, (*x, *y))) > FARTHEST:
        raise UserError(f"{rule} near a picture, got a number beyond {FARTHEST}")
    xy = np.array([x, y], np.float32).T
    xy[(xy == MISSING).any(axis=1)] = np.nan
    return name, Pose(xy)


def write_keypoints(path: Path | str, poses: Mapping[str, Pose]) -> None:
    """Write ``poses``, keyed by file name, sorted by name so that equal poses give equal files.

    Positions are rounded to whole pixels; one that would round to -1, the mark of a missing joint,
    is written as 0.
    """
    lines = [HEADER]
    for name in sorted(poses):
        rounded = np.rint(poses[name].xy)
        rounded[rounded == MISSING] = 0
        xy = np.nan_to_num(rounded, nan=MISSING).astype(int)
        lines.append(f"{name}: {xy[:, 1].tolist()}: {xy[:, 0].tolist()}")
    with committed(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
