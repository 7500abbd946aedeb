"""One folder per identity in one folder per split, as the baseline of layumi prepares Market-1501.

    pytorch/train_all/0002/0002_c1s1_000451_03.jpg    or train/ with val/ beside it
    pytorch/query/0001/...
    pytorch/gallery/0000/...                          0000: distractors, -1: junk boxes

The name of the folder is the identity. The camera is the number after "_c" in the file name; if no
file name has one, the data set has no cameras. ``train_all`` holds ``train`` and ``val``, so it is
used if it is there, else only ``train``.
"""

import re
from functools import partial
from pathlib import Path

from reid_aug.data.dataset import NO_CAMERA, camera_number, image_and_other_files
from reid_aug.data.listing import DISTRACTOR_LABEL, JUNK_LABEL, Listing

NAME = "folders per identity"
LOOKS_LIKE = "train_all (or train), query, gallery, each with a folder per identity"
FOLDERS = {"train": ("train_all", "train"), "query": ("query",), "gallery": ("gallery",)}
VALIDATION = "val"  # a part of the training images beside ``train``
CAMERA = re.compile(r"(?:^|_)c(\d+)")
DISTRACTORS = ("0", "0000")  # in the gallery


def fits(root: Path) -> bool:
    """Whether the folder has this layout."""
    found = _places(root)
    return len(found) == len(FOLDERS) and any(p.is_dir() for p in found["train"].iterdir())


def _places(root: Path) -> dict[str, Path]:
    return {
        split: next(root / name for name in names if (root / name).is_dir())
        for split, names in FOLDERS.items()
        if any((root / name).is_dir() for name in names)
    }


def read(root: Path) -> Listing:
    """List the images of a data set."""
    listing = Listing(NAME, root, _places(root))
    if (root / VALIDATION).is_dir() and listing.places["train"].name == "train":
        listing.ignored.append(root / VALIDATION)
    for split, place in listing.places.items():
        images, others = image_and_other_files(place)
        folders = [path for path in others if path.is_dir()]
        listing.ignored += [*images, *(path for path in others if not path.is_dir())]
        for folder in folders:
            images, others = image_and_other_files(folder)
            listing.ignored += others
            label = _label(folder.name, split)
            for path in images:
                listing.add(path, split, partial(_parse, label))
    return listing


def _parse(label: str, path: Path) -> tuple[str, int]:
    return label, _camera(path)


def _label(name: str, split: str) -> str:
    if split == "gallery" and name in DISTRACTORS:
        return DISTRACTOR_LABEL
    return JUNK_LABEL if name == JUNK_LABEL else name


def _camera(path: Path) -> int:
    match = CAMERA.search(path.name)
    return camera_number(match[1], path) if match else NO_CAMERA
