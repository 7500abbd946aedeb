"""Check a data set and its key points before hours are spent on them.

An ``error`` stops every stage, a ``warning`` is worth knowing: identities under one camera only,
images without a pose, rows that belong to no image.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from reid_aug.dataset import (
    FOLDERS,
    Fault,
    by_identity,
    check_images,
    dataset_root,
    image_files,
    image_size,
    read_market1501,
)
from reid_aug.errors import UserError
from reid_aug.poses import NO_POSE, Pose, read_keypoints


def check_dataset(
    data: Path | str,
    keypoints: Path | str | None,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> tuple[list[str], list[Fault]]:
    """Count and check: (lines that describe the data set, faults, errors first).

    Raises:
        UserError: If ``data`` is not in Market-1501 layout at all.
    """
    root = dataset_root(data)
    faults = check_images(root, progress)
    counts: list[str] = []
    if not any(fault.is_error for fault in faults):
        dataset = read_market1501(root)
        parts = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
        counts = [
            f"{name}: {len(images)} images, {len(by_identity(images))} identities, "
            f"{len({image.camid for image in images})} cameras"
            for name, images in parts.items()
        ]
    lines, more = _check_poses(root, Path(keypoints) if keypoints else root / "keypoints.csv")
    return counts + lines, sorted(faults + more, key=lambda fault: not fault.is_error)


def _check_poses(root: Path, path: Path) -> tuple[list[str], list[Fault]]:
    try:
        poses = read_keypoints(path)
    except UserError as error:
        return [], [Fault(True, str(error))]
    files = {path.name: path for name in FOLDERS for path in image_files(root / name)}
    train = [path.name for path in image_files(root / FOLDERS[0])]
    usable = sum(poses.get(name, NO_POSE).has_torso for name in train)
    faults = []
    if missing := [name for name in train if name not in poses]:
        faults.append(Fault(False, f"{len(missing)} training images have no row in {path}"))
    if extra := poses.keys() - files.keys():
        faults.append(Fault(False, f"{len(extra)} rows of {path} belong to no image here"))
    if outside := _outside(poses, files):
        text = f"{path}: joints of {outside[0]} and {len(outside) - 1} more lie outside the picture"
        faults.append(Fault(False, text))
    if not usable:
        text = f"{path}: no training image has both shoulders and both hips; nothing can be drawn"
        faults.append(Fault(True, text))
    return [f"poses: {usable} of {len(train)} training images are usable"], faults


def _outside(poses: dict[str, Pose], files: dict[str, Path]) -> list[str]:
    """Names of images with a joint outside the picture."""
    names = []
    for name in sorted(poses.keys() & files.keys()):
        try:
            height, width = image_size(files[name])
        except UserError:
            continue  # reported as an unreadable image
        xy = poses[name].xy[poses[name].seen]
        if ((xy < 0) | (xy >= (width, height))).any():
            names.append(name)
    return names
