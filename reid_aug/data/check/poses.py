"""The key-point file, row by row, beside the pictures that it speaks of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reid_aug.data.check.faults import Fault, like_it, some
from reid_aug.data.check.images import Images
from reid_aug.data.dataset import by_identity
from reid_aug.data.keypoints import JOINTS, NO_POSE, TORSO, Pose, keypoint_rows
from reid_aug.runtime.errors import UserError

SHOULDERS, HIPS = TORSO[:2], TORSO[2:]
FLAT = 1.0  # pixels; shoulders no farther above the hips belong to nobody


class Row(NamedTuple):
    """A row of the file whose image is here; ``size`` is the image's (height, width)."""

    line: int
    name: str
    pose: Pose
    size: tuple[int, int]

    @property
    def is_inside(self) -> bool:
        """Whether every joint lies in the picture."""
        return _is_inside(self.pose.xy[self.pose.seen], self.size)

    @property
    def appearances_swapped(self) -> bool:
        """Whether the joints lie in the picture only when x and y change places."""
        return not self.is_inside and _is_inside(self.pose.xy[self.pose.seen][:, ::-1], self.size)


@dataclass(slots=True)
class Poses:
    """What was found: poses by file name, lines to print, names of the doubtful ones."""

    poses: dict[str, Pose] = field(default_factory=dict)
    counts: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)


def check_poses(images: Images, path: Path) -> Poses:
    """Read the key points in ``path`` and hold them against the images."""
    try:
        lines = {name: (line, pose) for line, name, pose in keypoint_rows(path)}
    except UserError as error:
        return Poses(faults=[Fault(True, str(error))])
    found = Poses({name: pose for name, (_, pose) in lines.items()})
    sizes = {name: images.size(name) for name in lines if name in images.by_name}
    rows = [
        Row(*lines[name][:1], name, lines[name][1], size) for name, size in sizes.items() if size
    ]
    found.counts = _counts(images, found.poses)
    unknown = [(line, name) for name, (line, _) in lines.items() if name not in images.by_name]
    found.faults = [*_check_missing(images, found.poses, path), *_check_unmatched(unknown, path)]
    for is_error, wrong, text in (_outside(rows), _standing_on_heads(rows)):
        if wrong:
            where = f"{path}: line {wrong[0].line}"
            found.faults.append(Fault(is_error, f"{where}: {text}{like_it(len(wrong) - 1)}"))
            found.doubtful += [row.name for row in wrong]
        if is_error:  # the columns are swapped; what follows would say so again
            break
    return found


def _counts(images: Images, poses: dict[str, Pose]) -> list[str]:
    train = [path.name for path in images.splits["train"]]
    test = [image.name for split in ("query", "gallery") for image in images.people[split]]
    return [
        f"poses: {sum(poses.get(name, NO_POSE).has_torso for name in names)} of {len(names)} "
        f"{what} images are usable"
        for names, what in ((train, "training"), (test, "query and gallery"))
    ]


def _check_missing(images: Images, poses: dict[str, Pose], path: Path) -> Iterator[Fault]:
    train = [file.name for file in images.splits["train"]]
    if missing := [name for name in train if name not in poses]:
        yield Fault(False, f"{len(missing)} training images have no row in {path}")
    if empty := [name for name in train if name in poses and not poses[name].seen.any()]:
        yield Fault(False, f"{path}: {len(empty)} training images have no joint: {some(empty)}")
    people = by_identity(images.people["train"])
    bare = [
        pid
        for pid, group in people.items()
        if not any(poses.get(image.name, NO_POSE).has_torso for image in group)
    ]
    if len(bare) == len(people):
        text = "no training image has both shoulders and both hips; nothing can be drawn"
        yield Fault(True, f"{path}: {text}")
    elif bare:
        text = f"{len(bare)} of {len(people)} training identities have no usable pose"
        yield Fault(False, f"{path}: {text}: pid {some(bare)}")


def _check_unmatched(unknown: Sequence[tuple[int, str]], path: Path) -> Iterator[Fault]:
    if unknown:
        line, name = unknown[0]
        text = f"{path}: line {line}: {name} must be the name of an image here, and is not"
        yield Fault(False, text + like_it(len(unknown) - 1))


def _outside(rows: Sequence[Row]) -> tuple[bool, list[Row], str]:
    """Rows with a joint outside the picture: (is it an error, the rows, what is wrong)."""
    outside = [row for row in rows if not row.is_inside]
    swapped = [row for row in outside if row.appearances_swapped]
    if not outside:
        return False, [], ""
    if 2 * len(swapped) > sum(row.pose.seen.any() for row in rows):
        (height, width), xy = swapped[0].size, swapped[0].pose.xy
        text = (
            f"y must come before x, got x up to {np.nanmax(xy[:, 0]):.0f} and y up to "
            f"{np.nanmax(xy[:, 1]):.0f} in {swapped[0].name}, {width} wide and {height} high; swap "
            f"the two columns"
        )
        return True, swapped, text
    return False, outside, _describe_outside(outside[0])


def _describe_outside(row: Row) -> str:
    height, width = row.size
    for axis, side in ((0, width), (1, height)):
        values = row.pose.xy[:, axis]
        wrong = np.flatnonzero((values < 0) | (values >= side))  # NaN is neither
        if len(wrong):
            break
    return (
        f"{'xy'[axis]} of {row.name} must be in 0..{side - 1}, got {values[wrong[0]]:.0f} for the "
        f"{JOINTS[wrong[0]].replace('_', ' ')}"
    )


def _standing_on_heads(rows: Sequence[Row]) -> tuple[bool, list[Row], str]:
    """Rows whose shoulders are not above the hips, as :func:`_outside`."""
    wrong = [row for row in rows if row.pose.has_torso and _torso(row.pose) < FLAT]
    if not wrong:
        return False, [], ""
    text = (
        f"shoulders must be above the hips, got them {-_torso(wrong[0].pose):.0f} pixels below in "
        f"{wrong[0].name}"
    )
    return False, wrong, text


def _torso(pose: Pose) -> float:
    """How far the hips are below the shoulders, in pixels."""
    return float(pose.xy[list(HIPS), 1].mean() - pose.xy[list(SHOULDERS), 1].mean())


def _is_inside(xy: np.ndarray, size: tuple[int, int]) -> bool:
    return bool(((xy >= 0) & (xy < size[::-1])).all())
