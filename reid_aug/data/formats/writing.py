"""Writing a data set of any layout as a folder in Market-1501 layout.

Files are copied unchanged. A name that has the form of Market-1501 with the pid and camera of the
image stays; another becomes ``0002_c1_`` with the former name. The keypoints are written with the
new names, and ``identities.csv`` if the pids were assigned. The folder is complete when its
``dataset.json`` is there; before that, the same command goes on where it was stopped.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from reid_aug.data.dataset import FOLDERS, KEYPOINTS, NO_CAMERA, PersonImage, parse_name
from reid_aug.data.formats import default_keypoints, read_listing
from reid_aug.data.formats.cuhk import fits_cuhk03
from reid_aug.data.formats.cuhk03_mat import mat_files, write_cuhk03
from reid_aug.data.formats.deepfashion import is_deepfashion, write_deepfashion
from reid_aug.data.formats.filling import Progress, filled, write_whole
from reid_aug.data.keypoints import Pose, read_keypoints, write_keypoints
from reid_aug.data.listing import (
    JUNK_LABEL,
    SPLITS,
    Listing,
    Numbers,
    dataset_of,
    notes_of,
    numbers_of,
    person,
    write_labels,
)
from reid_aug.runtime.errors import UserError

IDENTITIES = "identities.csv"


def convert_dataset(
    data: Path, folder: Path, keypoints: Path | None, progress: Callable[[Any], Any] = iter
) -> list[str]:
    """Write a data set in any layout, CUHK03 or DeepFashion, as :func:`write_market1501`.

    Args:
        keypoints: its keypoint file; None for the one of the data set, if there is one.

    Returns:
        Lines about what was written, and what was not read.
    """
    notes: tuple[str, ...] = ()
    if is_deepfashion(data):
        counts = write_deepfashion(data, folder, progress)
    elif mat_files(data) and not fits_cuhk03(data):
        counts = write_cuhk03(data, folder, progress)
    else:
        path = keypoints or default_keypoints(data)
        poses = read_keypoints(path) if keypoints or path.is_file() else {}
        listing = read_listing(data)
        counts, notes = write_market1501(listing, folder, poses, progress), notes_of(listing)
    return [*notes, ", ".join(f"{count} images in {name}" for name, count in counts.items())]


def write_market1501(
    listing: Listing, folder: Path, poses: Mapping[str, Pose], progress: Progress = iter
) -> dict[str, int]:
    """Write a data set to ``folder``; returns the number of images per folder.

    Args:
        listing: the data set.
        folder: a missing or empty folder, or one that the same command has begun.
        poses: the keypoints by the name of the image.
        progress: wraps the copies, to show the progress.

    Raises:
        UserError: If the data set cannot be read or has no cameras, or the folder holds anything
            else.
    """
    labels = dataset_of(listing).labels  # raises unless everything is usable
    numbers = numbers_of(listing)
    places = _places(listing, numbers)
    with filled(folder, listing.format, [str(target) for _, _, target in places]):
        copies = [(path, target) for path, _, target in places]
        for source, target in progress(copies):
            _copy(source, folder / target)
        known = {
            target.name: poses[image.name] for _, image, target in places if image.name in poses
        }
        if known:
            write_keypoints(folder / KEYPOINTS, known)
        if labels:
            write_labels(folder / IDENTITIES, labels)
    found = [target.parts[0] for _, _, target in places]
    return {name: found.count(name) for name in FOLDERS}


def _copy(source: Path, target: Path) -> None:
    """Copy a file, unless it has been copied; a file has its name only when it is complete."""
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return
    write_whole(target, partial(shutil.copyfile, source))


def market_name(image: PersonImage) -> str:
    """The name of an image in Market-1501 layout.

    >>> market_name(PersonImage(Path("0002_c1s1_000451_03.jpg"), 2, 1))
    '0002_c1s1_000451_03.jpg'
    >>> market_name(PersonImage(Path("anna/7.png"), 2, 1, "anna/7.png"))
    '0002_c1_anna_7.png'
    """
    name = image.name.replace("/", "_")
    try:
        found = parse_name(Path(name))
        if (found.pid, found.camid) == (image.pid, image.camid):
            return name
    except UserError:
        pass
    return f"{image.pid:04d}_c{image.camid}_{name}"


def require_cameras(images: Iterable[PersonImage]) -> None:
    """Raise a UserError if an image has no camera, which a name of Market-1501 must have."""
    bare = next((image for image in images if image.camid == NO_CAMERA), None)
    if bare:
        raise UserError(
            f"{bare.path}: must have a camera to be written in Market-1501 layout, whose file "
            f"names hold one; add camid to the manifest"
        )


def _places(listing: Listing, numbers: Numbers) -> list[tuple[Path, PersonImage, Path]]:
    """Every file with its image and its place in the new folder, relative to it."""
    places = []
    owners: dict[Path, Path] = {}
    folders = dict(zip(SPLITS, FOLDERS, strict=True))
    for entry in listing.entries:
        image = person(listing, entry, numbers)
        require_cameras([image])
        name = market_name(image)
        if entry.label == JUNK_LABEL and not name.startswith(JUNK_LABEL):
            name = f"{JUNK_LABEL}_c{image.camid}_{name}"
        target = Path(folders[entry.split]) / name
        if owners.setdefault(target, entry.path) != entry.path:
            raise UserError(
                f"{entry.path} and {owners[target]}: would both become {target}; rename one"
            )
        places.append((entry.path, image, target))
    return sorted(places, key=lambda place: place[2])
