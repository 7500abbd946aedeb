"""Check a data set and its key points before hours are spent on them.

An ``error`` is what no experiment should be run with. A ``warning`` is worth knowing: identities
under one camera only, images without a pose, rows that belong to no image.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_aug.dataset import (
    FOLDERS,
    JUNK,
    PersonImage,
    by_identity,
    dataset_root,
    default_keypoints,
    image_files,
    image_size,
    open_image,
    parse_name,
    read_market1501,
)
from reid_aug.errors import UserError
from reid_aug.poses import NO_POSE, Pose, read_keypoints


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of ``reid-aug check``."""

    is_error: bool
    text: str

    def __str__(self) -> str:
        return f"{'error' if self.is_error else 'warning'}: {self.text}"


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
    faults = _check_images(root, progress)
    counts: list[str] = []
    if not any(fault.is_error for fault in faults):
        dataset = read_market1501(root)
        parts = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
        counts = [
            f"{name}: {len(images)} images, {len(by_identity(images))} identities, "
            f"{len({image.camid for image in images})} cameras"
            for name, images in parts.items()
        ]
    lines, more = _check_poses(root, Path(keypoints) if keypoints else default_keypoints(data))
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


def _check_images(
    root: Path | str, progress: Callable[[Sequence[Path]], Iterable[Path]] = iter
) -> list[Fault]:
    """Decode every image and look for names, identities and cameras that cannot work.

    Args:
        progress: wraps the list of files, to show how far the decoding is.

    Raises:
        UserError: If the folder is not in Market-1501 layout at all.
    """
    top = dataset_root(root)
    files = [path for name in FOLDERS for path in image_files(top / name)]
    faults: list[Fault] = []
    images: list[PersonImage] = []
    for path in progress(files):
        try:
            images.append(parse_name(path))
            open_image(path)
        except UserError as error:
            faults.append(Fault(True, str(error)))
    split = {
        name: [image for image in images if image.path.parent.name == name] for name in FOLDERS
    }
    faults += [Fault(True, f"{top / name}: holds no image") for name in FOLDERS if not split[name]]
    people = ([image for image in split[name] if image.pid != JUNK] for name in FOLDERS)
    faults += _check_identities(*people)
    repeated = [name for name, count in Counter(path.name for path in files).items() if count > 1]
    faults += [Fault(True, f"{name}: two images have this name") for name in sorted(repeated)]
    return faults


def _check_identities(
    train: list[PersonImage], query: list[PersonImage], gallery: list[PersonImage]
) -> Iterator[Fault]:
    cameras: defaultdict[int, set[int]] = defaultdict(set)
    for image in train:
        cameras[image.pid].add(image.camid)
    single = sum(len(seen) == 1 for seen in cameras.values())
    if single:
        yield Fault(False, f"{single} of {len(cameras)} training identities have one camera only")
    both = sorted(cameras.keys() & {image.pid for image in query})
    if both:
        yield Fault(True, f"pid {both[0]} and {len(both) - 1} more are in training and in query")
    answers: defaultdict[int, set[int]] = defaultdict(set)
    for image in gallery:
        answers[image.pid].add(image.camid)
    lonely = [image for image in query if not answers[image.pid] - {image.camid}]
    if query and len(lonely) == len(query):
        yield Fault(True, "no query has a match in the gallery under another camera")
    elif lonely:
        text = "queries have no match in the gallery under another camera and are not counted"
        yield Fault(False, f"{len(lonely)} of {len(query)} {text}")
