"""A manifest of what is usable in a data set, and a list of what was left out, with reasons."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from reid_aug.data.check.faults import Fault
from reid_aug.data.check.images import Images
from reid_aug.data.check.poses import Poses
from reid_aug.data.formats import manifest
from reid_aug.data.keypoints import Pose, pose_text
from reid_aug.data.listing import SPLITS
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed
from reid_aug.runtime.regular_files import read_bytes

LEFT_OUT_SUFFIX = "-left-out.csv"


def write_usable(images: Images, poses: Poses, faults: Sequence[Fault], path: Path) -> str:
    """Write the manifest ``path``, and ``*-left-out.csv`` beside it; returns a line about both.

    Every file of an error is left out: what cannot be read, test images that are in the training
    set too (the training image), and images with two identities. Keypoints with joints inside the
    image become the column ``keypoints``.

    A file that has its content already is left as it is.

    Raises:
        UserError: If there is another file, or nothing is usable.
    """
    reasons: dict[Path, str] = {}
    for fault in faults:
        if fault.is_error:
            reasons |= {file: fault.kind for file in fault.files if file not in reasons}
    entries = [entry for entry in images.listing.entries if entry.path not in reasons]
    beside = path.with_name(path.stem + LEFT_OUT_SUFFIX)
    counts = Counter(entry.split for entry in entries)
    if missing := [split for split in SPLITS if not counts[split]]:
        raise UserError(f"{images.root}: must have usable images in {missing[0]}, got none")
    poses_of = _pose_texts(images, poses)
    cells = {entry.path: poses_of[entry.path] for entry in entries if entry.path in poses_of}
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows([("path", "reason"), *sorted(reasons.items())])
    _write_new({path: manifest.text(path, entries, cells), beside: lines.getvalue()})
    return f"{path}: {len(entries)} usable images; {beside}: {len(reasons)} left out, with reasons"


def _write_new(texts: Mapping[Path, str]) -> None:
    """Write files that do not exist, or have their content already."""
    contents = {path: text.encode() for path, text in texts.items()}
    for path, content in contents.items():
        if path.exists() and read_bytes(path) != content:
            raise UserError(f"{path}: is there already; choose another file for --fix")
    for path, content in contents.items():
        if not path.exists():
            with committed(path) as part:
                part.write_bytes(content)


def _pose_texts(images: Images, poses: Poses) -> dict[Path, str]:
    """The keypoints by file; without those of rows with an error."""
    if any(fault.is_error for fault in poses.faults):
        return {}
    usable: dict[str, Pose] = poses.poses
    return {
        image.path: pose_text(usable[image.name])
        for _, image in images.everything
        if image.name in usable
    }
