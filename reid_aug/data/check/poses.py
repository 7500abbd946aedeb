"""Checks of the rows of the keypoint file against the images."""

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
FLAT = 1.0  # pixels; smallest plausible height of the shoulders above the hips


class KeypointRow(NamedTuple):
    """A row of the file with an image; ``size`` is (height, width) of the image."""

    line: int
    name: str
    pose: Pose
    size: tuple[int, int]

    @property
    def is_inside(self) -> bool:
        """Whether every joint lies in the image."""
        return _is_inside(self.pose.xy[self.pose.seen], self.size)

    @property
    def is_swapped(self) -> bool:
        """Whether the joints lie in the image only if x and y are swapped."""
        return not self.is_inside and _is_inside(self.pose.xy[self.pose.seen][:, ::-1], self.size)


@dataclass(slots=True)
class Poses:
    """Results of the checks."""

    poses: dict[str, Pose] = field(default_factory=dict)  # by file name
    counts: list[str] = field(default_factory=list)  # lines to print
    faults: list[Fault] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)  # file names


def check_poses(images: Images, path: Path) -> Poses:
    """Read the keypoints in ``path`` and compare them with the images."""
    try:
        lines = {name: (line, pose) for line, name, pose in keypoint_rows(path)}
    except UserError as error:
        return Poses(faults=[Fault(True, str(error))])
    found = Poses({name: pose for name, (_, pose) in lines.items()})
    sizes = {name: images.size(name) for name in lines if name in images.by_name}
    rows = [
        KeypointRow(*lines[name][:1], name, lines[name][1], size)
        for name, size in sizes.items()
        if size
    ]
    found.counts = _counts(images, found.poses)
    unknown = [(line, name) for name, (line, _) in lines.items() if name not in images.by_name]
    found.faults = [*_check_missing(images, found.poses, path), *_check_unmatched(unknown, path)]
    for is_error, wrong, text in (_outside(rows), _upside_down(rows)):
        if wrong:
            where = f"{path}: line {wrong[0].line}"
            found.faults.append(Fault(is_error, f"{where}: {text}{like_it(len(wrong) - 1)}"))
            found.doubtful += [row.name for row in wrong]
        if is_error:  # the columns are swapped, which causes the other faults
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
        text = "no training image has both shoulders and both hips, so no image can be generated"
        yield Fault(True, f"{path}: {text}")
    elif bare:
        text = f"{len(bare)} of {len(people)} training identities have no usable pose"
        yield Fault(False, f"{path}: {text}: pid {some(bare)}")


def _check_unmatched(unknown: Sequence[tuple[int, str]], path: Path) -> Iterator[Fault]:
    if unknown:
        line, name = unknown[0]
        text = f"{path}: line {line}: {name} must be the name of an image of the data set"
        yield Fault(False, text + like_it(len(unknown) - 1))


def _outside(rows: Sequence[KeypointRow]) -> tuple[bool, list[KeypointRow], str]:
    """Rows with a joint outside the image: (whether it is an error, the rows, the message)."""
    outside = [row for row in rows if not row.is_inside]
    swapped = [row for row in outside if row.is_swapped]
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


def _describe_outside(row: KeypointRow) -> str:
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


def _upside_down(rows: Sequence[KeypointRow]) -> tuple[bool, list[KeypointRow], str]:
    """Rows with shoulders that are not above the hips, in the form of :func:`_outside`."""
    wrong = [row for row in rows if row.pose.has_torso and _torso(row.pose) < FLAT]
    if not wrong:
        return False, [], ""
    text = (
        f"shoulders must be above the hips, got them {-_torso(wrong[0].pose):.0f} pixels below in "
        f"{wrong[0].name}"
    )
    return False, wrong, text


def _torso(pose: Pose) -> float:
    """Mean y of the hips minus mean y of the shoulders, in pixels."""
    return float(pose.xy[list(HIPS), 1].mean() - pose.xy[list(SHOULDERS), 1].mean())


def _is_inside(xy: np.ndarray, size: tuple[int, int]) -> bool:
    return bool(((xy >= 0) & (xy < size[::-1])).all())
