"""Poses: the 18 OpenPose joints of one person, their CSV file and their heatmaps.

Conventions: ``xy`` is (18, 2) in pixels, x to the right, y down, NaN for a missing joint. Joints
are in OpenPose-18 order. The published annotation tools label the last four in the opposite order
(14 "Leye", 15 "Reye", ...), but the data contain right before left, so the mirrored pose swaps them
in that order.

The file format is that of PATN and pose-gan. Columns are separated by colons, and y precedes x:

    name:keypoints_y:keypoints_x
    0002_c1s1_000451_03.jpg: [12, 25, ...18 integers]: [38, 29, ...18 integers]

-1 marks a missing joint. Only exactly -1 does, because cropped DeepFashion annotations contain
other negative coordinates. Files of others may have decimal numbers, lists as NumPy prints them,
and nan for a missing joint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reid_aug.data.dataset import SUFFIXES
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import committed
from reid_aug.runtime.json_toml import parse_json
from reid_aug.runtime.regular_files import TEXT, read_text

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
DIRECTIONS = (  # in which a person faces, as seen in the picture
    "front", "front-right", "right", "back-right", "back", "back-left", "left", "front-left",
)  # fmt: skip
SIDE_VIEW, FULL_VIEW = 0.2, 0.5  # distances of the shoulders in x, by the length of the torso
MIRROR = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
RIGHT_SHOULDER, LEFT_SHOULDER = 2, 5
FACE_AND_EARS = (0, 14, 15, 16, 17)  # nose, eyes, ears
TORSO = (2, 5, 8, 11)  # both shoulders and both hips, which the published pair lists require
NEGLIGIBLE = 1e-15  # along one axis; smaller products may be subnormal, which slows a CPU tenfold
HEATMAP_SIGMA = 6.0  # pixels, for any image size
HEADER = "name:keypoints_y:keypoints_x"
MISSING = -1
ROW = "a row must be 'NAME: [18 integers y]: [18 integers x]'"
NAN = re.compile(r"\bnan\b", re.IGNORECASE)  # as NumPy prints a missing value
PRINTED = (  # how Python and NumPy print lists, and the same in JSON
    (re.compile(r"np\.\w+\(([^()]*)\)"), r"\1"),  # np.float64(12.5)
    (re.compile(r"(\d)\.(?!\d)"), r"\1.0"),  # 12.
    (re.compile(r'(?<=[\w."]) +(?=[-\w"])'), ", "),  # [12 25]
)
ZERO_SHARE = 0.01  # of the rows: more with one joint at (0, 0) means that 0 marks a missing joint
FARTHEST = 100_000  # pixels; the largest coordinate that a file may contain


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """The joints of one person; ``xy`` is (18, 2) float32 in pixels, NaN for a missing joint."""

    xy: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Which joints have a position, (18,) bool."""
        result: np.ndarray = ~np.isnan(self.xy[:, 0])
        return result

    @property
    def has_torso(self) -> bool:
        """Whether both shoulders and both hips are seen, the published rule for a usable pose."""
        return bool(self.seen[list(TORSO)].all())

    def mirrored(self, width: int) -> Pose:
        """The pose in the horizontally flipped image of ``width`` pixels.

        Left and right joints are swapped: the left wrist becomes the right wrist.
        """
        xy = self.xy[list(MIRROR)].copy()
        xy[:, 0] = width - 1 - xy[:, 0]
        return Pose(xy)

    def resized(self, size: tuple[int, int], to: tuple[int, int]) -> Pose:
        """The pose after its image is resized from ``size`` to ``to``, both (height, width)."""
        if size == to:
            return self
        scale = np.array([to[1] / size[1], to[0] / size[0]], np.float32)
        return Pose((self.xy + np.float32(0.5)) * scale - np.float32(0.5))

    @property
    def direction(self) -> str:
        """Where the person faces, as seen in the picture: one of ``DIRECTIONS``.

        It is estimated from the distance of the shoulders in x, by the length of the torso, and
        from the place of the head beside them. The pose must have a torso.
        """
        shoulders = self.xy[[RIGHT_SHOULDER, LEFT_SHOULDER], 0]
        head = np.nanmean([*self.xy[list(FACE_AND_EARS), 0], shoulders.mean()])
        side = "right" if head > shoulders.mean() else "left"
        breadth = float(shoulders[1] - shoulders[0]) / _torso(self.xy)[1]
        if abs(breadth) < SIDE_VIEW:
            return side
        end = "front" if breadth > 0 else "back"
        return end if abs(breadth) > FULL_VIEW else f"{end}-{side}"

    def placed_like(self, other: Pose) -> Pose:
        """The pose, moved and scaled so that its torso lies where that of another pose lies.

        The middles of shoulders and hips give the place and the length of a torso. Both poses must
        have one (:attr:`has_torso`); a torso shorter than a pixel counts as one pixel long.
        """
        (middle, length), (to, wanted) = _torso(self.xy), _torso(other.xy)
        return Pose(((self.xy - middle) * (wanted / length) + to).astype(np.float32))

    def within(self, size: tuple[int, int]) -> Pose:
        """The pose without joints that lie outside an image of ``size`` (height, width)."""
        nearest = np.rint(self.xy)  # the values in a keypoint file
        outside = ((nearest < 0) | (nearest >= size[::-1])).any(axis=1)
        return Pose(np.where(outside[:, None], np.float32(np.nan), self.xy))

    def heatmaps(self, height: int, width: int, sigma: float = HEATMAP_SIGMA) -> np.ndarray:
        """One Gaussian per joint, exp(-d^2 / (2 sigma^2)); zeros for a missing joint.

        A ``sigma`` of 0 gives the limit: 1 at the nearest pixel and 0 elsewhere. The maps that the
        authors of PATN stored for DeepFashion are of this kind.

        Returns:
            (18, height, width) float32 in [0, 1].

        >>> Pose(np.full((18, 2), 8.0, np.float32)).heatmaps(16, 16)[0, 8, 8]
        np.float32(1.0)
        """

        def bumps(centre: np.ndarray, length: int) -> np.ndarray:
            steps = np.arange(length)
            if sigma == 0:
                return np.asarray(steps == np.rint(centre), np.float32)
            return np.asarray(np.exp(-((steps - centre) ** 2) / (2 * sigma**2)))

        x, y = self.xy.T[..., None]
        rows, columns = bumps(y, height), bumps(x, width)
        maps = np.nan_to_num(rows[:, :, None] * columns[:, None, :])
        return np.asarray(maps, np.float32)


def _torso(xy: np.ndarray) -> tuple[np.ndarray, float]:
    """The middle (x, y) and the length of a torso in pixels, at least 1."""
    shoulders, hips = xy[list(TORSO[:2])].mean(0), xy[list(TORSO[2:])].mean(0)
    return (shoulders + hips) / 2, max(1.0, float(np.linalg.norm(shoulders - hips)))


NO_POSE = Pose(np.full((len(JOINTS), 2), np.nan, np.float32))


def heatmaps(
    xy: torch.Tensor, height: int, width: int, sigma: float = HEATMAP_SIGMA
) -> torch.Tensor:
    """:meth:`Pose.heatmaps` for a batch, on the device of ``xy``.

    Each map is the outer product of two Gaussians in one dimension, so that only the keypoints are
    copied to the device, not the maps.

    Args:
        xy: (B, 18, 2) in pixels, NaN for a missing joint.

    Returns:
        (B, 18, height, width) float32 in [0, 1].
    """
    import torch  # imported here, so that reading keypoints does not load torch

    def bumps(centre: torch.Tensor, length: int) -> torch.Tensor:
        steps = torch.arange(length, device=xy.device, dtype=torch.float32)
        if sigma == 0:
            return (steps == centre[..., None].round()).float()
        found = torch.exp((steps - centre[..., None]).square() / (-2 * sigma**2)).nan_to_num()
        return torch.nn.functional.threshold(found, NEGLIGIBLE, 0.0)

    columns, rows = bumps(xy[..., 0], width), bumps(xy[..., 1], height)
    return rows[..., :, None] * columns[..., None, :]  # (B, 18, H, 1) * (B, 18, 1, W)


def read_keypoints(path: Path | str) -> dict[str, Pose]:
    """Read a keypoint file to {file name: Pose}, in the order of the file.

    Raises:
        UserError: If the file is missing, or a row is malformed or a duplicate; the message
            contains the line number.
    """
    return {name: pose for _, name, pose in keypoint_rows(path)}


def keypoint_rows(path: Path | str) -> Iterator[tuple[int, str, Pose]]:
    """Yield the rows of a keypoint file as (line number, file name, pose).

    Raises:
        UserError: As :func:`read_keypoints`, when the iteration reaches the row.
    """
    from reid_aug.data.formats import manifest  # formats import this module

    path = Path(path)
    if path.is_file() and manifest.is_manifest(path):
        yield from manifest.keypoint_rows(path)
        return
    remedy = Remedy(
        ("estimate-poses", "DATA"),
        {"weights": "FILE"},
        words="give the keypoint file with --keypoints FILE, or make it with",
    )
    text = read_text(path, TEXT, remedy, encoding="utf-8-sig", errors="replace")
    lines = text.splitlines()
    if not lines or lines[0].strip() != HEADER:
        found = lines[0][:60] if lines else ""
        raise UserError(
            f"{path}: line 1 must be {HEADER!r}, got {found!r}; separate the columns by colons, "
            f"y before x"
        )
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        name, pose = _parse_row(line, where=f"{path}: line {number}")
        if name in seen:
            raise UserError(
                f"{path}: line {number}: {name} has a row already, line {seen[name]}; keep one "
                f"of them"
            )
        seen[name] = number
        yield number, name, pose


def _parse_row(line: str, where: str) -> tuple[str, Pose]:
    name, _, columns = (part.strip() for part in line.partition(":"))
    if not name or columns.count(":") != 1:
        raise UserError(f"{where}: {ROW}, got {line.strip()[:60]!r}")
    return name, parse_pose(columns, where)


def parse_pose(text: str, where: str) -> Pose:
    """The pose of a text "[18 numbers y]: [18 numbers x]"; -1 and nan mark a missing joint.

    Raises:
        UserError: If the text has another form; the message begins with ``where``.
    """
    try:
        columns = [_parse_column(column, where) for column in text.split(":")]
        y, x = ([math.nan if v == "nan" else v for v in column] for column in columns)
    except (UserError, TypeError, ValueError):
        raise UserError(f"{where}: {ROW}, got {text.strip()[:60]!r}") from None
    for axis, values in (("y", y), ("x", x)):
        if not isinstance(values, list) or not all(type(v) in (int, float) for v in values):
            raise UserError(f"{where}: {ROW}, got {axis} = {str(values)[:60]}")
        if len(values) != len(JOINTS):
            raise UserError(
                f"{where}: {ROW}, got {len(values)} integers {axis}; -1 marks a missing joint"
            )
    if any(abs(value) > FARTHEST for value in (*x, *y)):
        raise UserError(f"{where}: {ROW} of at most {FARTHEST} in magnitude, got a larger one")
    xy = np.array([x, y], np.float32).T
    xy[((xy == MISSING) | np.isnan(xy)).any(axis=1)] = np.nan
    return Pose(xy)


def _parse_column(text: str, where: str) -> Any:
    text = NAN.sub('"nan"', text)
    try:
        return parse_json(text, where)
    except UserError:
        for pattern, replacement in PRINTED:
            text = pattern.sub(replacement, text)
        return parse_json(text, where)


def zero_rows(poses: Mapping[str, Pose]) -> dict[str, int]:
    """The poses with joints at (0, 0), and how many, if 0 seems to mark a missing joint.

    A single joint may lie in the corner of the image. In two joints of a pose, or in one joint of
    more than :data:`ZERO_SHARE` of the poses, 0 has another meaning.
    """
    if not poses:
        return {}
    counts = (np.stack([pose.xy for pose in poses.values()]) == 0).all(axis=2).sum(axis=1)
    found = {name: int(n) for name, n in zip(poses, counts.tolist(), strict=True) if n}
    is_mark = max(found.values(), default=0) > 1 or len(found) > max(1, ZERO_SHARE * len(poses))
    return found if is_mark else {}


def zeros_error(found: Mapping[str, int], path: Path | str, where: str) -> UserError:
    """The error of poses whose missing joints are 0.

    Args:
        found: the number of zeros by file name, from :func:`zero_rows`.
        path: the keypoint file.
        where: the file, or its first line with a zero.
    """
    return UserError(
        f"{where}: a missing joint must be -1, got {sum(found.values())} joints at (0, 0), the "
        f"corner of the image, in {len(found)} images, as {next(iter(found))}",
        Remedy(
            ("estimate-poses", "DATA", "--zero-is-missing"),
            {"from": str(path), "keypoints": "NEW"},
            words="read 0 as missing with",
        ),
    )


class NameMatch:
    """Finds the image that a name from another tool means.

    A name matches exactly, or by its file name without folder, or without its suffix, if only one
    image has that.

    >>> match = NameMatch(["0001_c1.jpg", "0002_c1.jpg"])
    >>> match.of("0001_c1"), match.of("crops/0002_c1.png"), match.of("0003_c1.jpg")
    ('0001_c1.jpg', '0002_c1.jpg', None)

    Args:
        names: the names of the images.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        stems: dict[str, set[str]] = {}
        for name in self.names:
            stems.setdefault(_stem(name), set()).add(name)
        self._by_stem = {stem: found.pop() for stem, found in stems.items() if len(found) == 1}

    def of(self, name: str) -> str | None:
        """The name of the image; None if there is none."""
        if name in self.names:
            return name
        return self._by_stem.get(_stem(name))


def misnamed(rows: Iterable[str], images: Iterable[str]) -> list[tuple[str, str]]:
    """The rows that name an image without a row in another way, and the name of that image.

    Args:
        rows: the names in the keypoint file.
        images: the names of the images.
    """
    rows, match = list(rows), NameMatch(images)
    with_row = match.names.intersection(rows)
    pairs = [(row, match.of(row)) for row in rows if row not in with_row]
    return [(row, known) for row, known in pairs if known and known not in with_row]


def other_names(pairs: Sequence[tuple[str, str]], path: Path | str) -> UserError:
    """The error of keypoints that name images in another way.

    Args:
        pairs: the rows and the names of the images, from :func:`misnamed`.
        path: the keypoint file.
    """
    row, known = pairs[0]
    return UserError(
        f"{path}: must name the images as the data set does; {len(pairs)} rows differ from the "
        f"names of images in suffix or folder only, as {row!r} from {known!r}",
        Remedy(
            ("estimate-poses", "DATA"),
            {"from": str(path), "keypoints": "FILE"},
            words="rename them with",
        ),
    )


def check_keypoints(poses: Mapping[str, Pose], images: Iterable[str], path: Path | str) -> None:
    """Refuse keypoints that mean something else than they say.

    Args:
        poses: the keypoints by name.
        images: the names of the training images.
        path: the keypoint file.

    Raises:
        UserError: If 0 marks a missing joint, or most images have another name in the file.
    """
    names = set(images)
    if 2 * len(names & poses.keys()) < len(names):
        pairs = misnamed(poses, names)
        if 2 * len(pairs) > len(names):
            raise other_names(pairs, path)
        if poses and not names & poses.keys():
            raise UserError(
                f"{path}: must name images of the data set, as {min(names)!r}, got {len(poses)} "
                f"others, as {min(poses)!r}; give the keypoints of this data set with --keypoints"
            )
    if found := zero_rows({name: pose for name, pose in poses.items() if name in names}):
        raise zeros_error(found, path, str(path))


def _stem(name: str) -> str:
    """A file name without folder and without the suffix of an image."""
    base = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = base.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in SUFFIXES else base


def pose_text(pose: Pose) -> str:
    """The text of a pose in a keypoint file, "[18 integers y]: [18 integers x]"."""
    rounded = np.rint(pose.xy)
    rounded[rounded == MISSING] = 0
    xy = np.nan_to_num(rounded, nan=MISSING).astype(int)
    return f"{xy[:, 1].tolist()}: {xy[:, 0].tolist()}"


def write_keypoints(path: Path | str, poses: Mapping[str, Pose]) -> None:
    """Write poses by file name (:func:`keypoints_text`)."""
    with committed(path) as part:
        part.write_text(keypoints_text(poses), encoding="utf-8")


def keypoints_text(poses: Mapping[str, Pose]) -> str:
    """A keypoint file; rows are sorted by name, so that equal poses give equal files.

    Coordinates are rounded to integers. A coordinate that rounds to -1 is written as 0, because -1
    marks a missing joint.
    """
    lines = [HEADER]
    lines += [f"{name}: {pose_text(poses[name])}" for name in sorted(poses)]
    return "\n".join(lines) + "\n"
