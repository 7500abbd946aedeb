"""Checks of the rows of the keypoint file against the images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reid_aug.data.check.faults import Fault, like_it, some
from reid_aug.data.check.images import Images
from reid_aug.data.dataset import by_identity
from reid_aug.data.keypoints import (
    JOINTS,
    NO_POSE,
    TORSO,
    Pose,
    keypoint_rows,
    misnamed,
    other_names,
    zero_rows,
    zeros_error,
)
from reid_aug.runtime.errors import UserError

SHOULDERS, HIPS = TORSO[:2], TORSO[2:]
ENOUGH_ROWS = 20  # rows; with fewer, small coordinates may be those of cut people
SCALED = 1.4  # factor; published keypoints reach 1.0 times the size of the image
UNEVEN = 1.3  # ratio of the factors of height and width from which they are two
FLAT = 1.0  # pixels; smallest plausible height of the shoulders above the hips


class KeypointRow(NamedTuple):
    """A row of the file with an image; ``size`` is (height, width) of the upright image."""

    line: int
    name: str
    pose: Pose
    size: tuple[int, int]
    is_turned: bool
    """Whether the image has an EXIF orientation."""

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
    record: dict[str, dict[str, int]] = field(default_factory=dict)  # the counts as JSON values


def check_poses(images: Images, path: Path) -> Poses:
    """Read the keypoints in ``path`` and compare them with the images."""
    try:
        lines = {name: (line, pose) for line, name, pose in keypoint_rows(path)}
    except UserError as error:
        text = str(error.for_data(str(images.root)))
        return Poses(faults=[Fault(True, text, "keypoint file")])
    found = Poses({name: pose for name, (_, pose) in lines.items()})
    known = {name: images.content(name) for name in lines if name in images.by_name}
    rows = [
        KeypointRow(lines[name][0], name, lines[name][1], content.size, content.is_turned)
        for name, content in known.items()
        if content
    ]
    _count(found, images)
    unknown = [(line, name) for name, (line, _) in lines.items() if name not in images.by_name]
    found.faults += _check_unmatched(images, found.poses, unknown, path)
    if not any(fault.is_error for fault in found.faults):  # other names cause the other faults
        found.faults += _check_missing(images, found.poses, path)
    if zeros := zero_rows({row.name: row.pose for row in rows}):
        wrong = [row for row in rows if row.name in zeros]
        what = zeros_error(zeros, path, f"{path}: line {wrong[0].line}")
        found.faults.append(Fault(True, str(what.for_data(str(images.root))), "zeros"))
        found.doubtful += [row.name for row in wrong]
        return found  # the numbers mean something else, which causes the other faults
    for is_error, wrong, kind, text in (_outside(rows), _upside_down(rows)):
        if wrong:
            where = f"{path}: line {wrong[0].line}"
            text += like_it(len(wrong) - 1)
            found.faults.append(Fault(is_error, f"{where}: {text}", kind))
            found.doubtful += [row.name for row in wrong]
        if is_error:  # as for zeros
            break
    return found


def _count(found: Poses, images: Images) -> None:
    train = [image.name for image in images.splits["train"]]
    test = [image.name for split in ("query", "gallery") for image in images.people[split]]
    for key, names, what in (
        ("train", train, "training"),
        ("test", test, "query and gallery"),
    ):
        usable = sum(found.poses.get(name, NO_POSE).has_torso for name in names)
        found.counts.append(f"poses: {usable} of {len(names)} {what} images are usable")
        found.record[key] = {"usable": usable, "images": len(names)}


def _check_missing(images: Images, poses: dict[str, Pose], path: Path) -> Iterator[Fault]:
    train = [file.name for file in images.splits["train"]]
    if missing := [name for name in train if name not in poses]:
        text = f"{len(missing)} training images have no row in {path}"
        yield Fault(False, text, "no row")
    if empty := [name for name in train if name in poses and not poses[name].seen.any()]:
        text = f"{len(empty)} training images have no joint: {some(empty)}"
        yield Fault(False, f"{path}: {text}", "no joint")
    people = by_identity(images.people["train"])
    if not people:
        return
    bare = [
        pid
        for pid, group in people.items()
        if not any(poses.get(image.name, NO_POSE).has_torso for image in group)
    ]
    if len(bare) == len(people):
        text = "no training image has both shoulders and both hips, so no image can be generated"
        yield Fault(True, f"{path}: {text}", "no pose")
    elif bare:
        text = f"{len(bare)} of {len(people)} training identities have no usable pose"
        yield Fault(False, f"{path}: {text}: pid {some(bare)}", "no pose")


def _check_unmatched(
    images: Images, poses: dict[str, Pose], unknown: Sequence[tuple[int, str]], path: Path
) -> Iterator[Fault]:
    """Rows whose name is no image: an error if most images are named in another way."""
    if not unknown:
        return
    if pairs := misnamed(poses, images.by_name):
        train = {image.name for image in images.splits["train"]}
        in_train = sum(known in train for _, known in pairs)
        is_most = 2 * in_train > len(train) or 2 * len(pairs) > len(images.by_name)
        error = other_names(pairs, path).for_data(str(images.root))
        yield Fault(is_most, str(error), "names")
        return
    line, name = unknown[0]
    if len(unknown) == len(poses):
        text = (
            f"{path}: must name images of the data set, got none of them, as {name}; give the "
            f"keypoints of this data set with --keypoints"
        )
        yield Fault(True, text, "names")
        return
    text = f"{path}: line {line}: {name} must be the name of an image of the data set"
    yield Fault(False, text + like_it(len(unknown) - 1), "unknown row")


Finding = tuple[bool, list[KeypointRow], str, str]  # whether it is an error, rows, kind and message


def _outside(rows: Sequence[KeypointRow]) -> Finding:
    """Rows with a joint outside the image."""
    rows = [row for row in rows if row.pose.seen.any()]
    outside = [row for row in rows if not row.is_inside]
    swapped = [row for row in outside if row.is_swapped]
    if rows and max(float(np.nanmax(row.pose.xy)) for row in rows) <= 1:
        text = (
            f"coordinates must be in pixels of the image, got fractions of its size in "
            f"{rows[0].name}; multiply x by the width and y by the height"
        )
        return True, rows, "fractions", text
    if 2 * len(swapped) > len(rows) and 2 * sum(row.is_turned for row in swapped) > len(swapped):
        text = (
            f"keypoints must refer to the upright image, got those of the file as it is stored in "
            f"{swapped[0].name}, which has an EXIF orientation; turn the coordinates with the "
            f"image, or store the images upright"
        )
        return True, swapped, "orientation", text
    if 2 * len(swapped) > len(rows):
        (height, width), xy = swapped[0].size, swapped[0].pose.xy
        text = (
            f"y must come before x, got x up to {np.nanmax(xy[:, 0]):.0f} and y up to "
            f"{np.nanmax(xy[:, 1]):.0f} in {swapped[0].name}, {width} wide and {height} high; swap "
            f"the two columns"
        )
        return True, swapped, "swapped", text
    across, down = _factors(rows)
    factor = max(across, down)
    if factor > SCALED or (len(rows) >= ENOUGH_ROWS and factor < 1 / SCALED):
        is_even = factor < UNEVEN * min(across, down)
        larger = f"{factor:.2g} times as large"
        uneven = f"{across:.2g} times as wide and {down:.2g} times as high"
        text = (
            f"coordinates must be in pixels of the image, got those of images about "
            f"{larger if is_even else uneven} in most rows; {_describe_scaled(rows[0])}; divide "
            f"{'the coordinates by that factor' if is_even else 'x and y by these factors'}"
        )
        return factor > SCALED, outside or list(rows), "scaled", text
    if 2 * len(outside) > len(rows):
        return True, outside, "outside", _describe_outside(outside[0])
    return False, outside, "outside", _describe_outside(outside[0]) if outside else ""


def _factors(rows: Sequence[KeypointRow]) -> tuple[float, float]:
    """The likely factors between the coordinates (x, y) and those of the images: 1 if they fit.

    Of the extents of the joints over the sizes of the images, one in a hundred may be larger.
    """
    if not rows:
        return 1.0, 1.0
    extents = [np.nanmax(row.pose.xy, axis=0) / row.size[::-1] for row in rows]
    across, down = np.quantile(extents, 0.99, axis=0).tolist()
    return across, down


def _describe_scaled(row: KeypointRow) -> str:
    x, y = np.nanmax(row.pose.xy, axis=0)
    height, width = row.size
    return f"{row.name} is {width} wide and {height} high and has x up to {x:.0f}, y up to {y:.0f}"


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


def _upside_down(rows: Sequence[KeypointRow]) -> Finding:
    """Rows with shoulders that are not above the hips."""
    wrong = [row for row in rows if row.pose.has_torso and _torso(row.pose) < FLAT]
    if not wrong:
        return False, [], "", ""
    text = (
        f"shoulders must be above the hips, got them {-_torso(wrong[0].pose):.0f} pixels below in "
        f"{wrong[0].name}"
    )
    return False, wrong, "upside down", text


def _torso(pose: Pose) -> float:
    """Mean y of the hips minus mean y of the shoulders, in pixels."""
    return float(pose.xy[list(HIPS), 1].mean() - pose.xy[list(SHOULDERS), 1].mean())


def _is_inside(xy: np.ndarray, size: tuple[int, int]) -> bool:
    return bool(((xy >= 0) & (xy < size[::-1])).all())
