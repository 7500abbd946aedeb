"""MSMT17, both versions: folders of images, and the lists of its splits.

    train/ test/                    or mask_train_v2/ mask_test_v2/ of version 2
    list_train.txt list_val.txt     0000/0000_000_01_0303morning_0015_0.jpg 0
    list_query.txt list_gallery.txt

A line has the path, in train/ or test/ or beginning with that folder, and the identity. Training
and test number their identities independently from 0; a test identity that is a training number too
gets the label "test N". The third field of a file name is the camera (01 above), unless the name is
one of Market-1501. The training split has both list_train.txt and list_val.txt, as is usual since
the second version.
"""

import re
from pathlib import Path

from reid_aug.data.dataset import MARKET_NAME as MARKET_NAME
from reid_aug.data.dataset import SUFFIXES, camera_number, image_and_other_files, parse_label
from reid_aug.data.listing import JUNK_LABEL, ListedImage, Listing
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.regular_files import read_text

NAME = "MSMT17"
LOOKS_LIKE = "list_train.txt, list_query.txt, list_gallery.txt, with train and test"
LISTS = (
    ("train", "list_train.txt"), ("train", "list_val.txt"), ("query", "list_query.txt"),
    ("gallery", "list_gallery.txt"),
)  # fmt: skip
IDENTITY_LABEL = re.compile(r"-1|\d{1,40}")
OPTIONAL = "list_val.txt"
FOLDERS = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}


def fits(root: Path) -> bool:
    """Whether the folder has this layout."""
    return (root / LISTS[0][1]).is_file()


def read(root: Path) -> Listing:
    """List the images of a data set; lines that cannot be read become faults of the listing.

    Raises:
        UserError: If a list or a folder is missing.
    """
    for _, name in LISTS:
        if name != OPTIONAL and not (root / name).is_file():
            raise UserError(f"{root / name} is missing; {NAME} must have {LOOKS_LIKE}")
    listing = Listing(NAME, root, {split: root / name for split, name in reversed(LISTS)})
    for split, name in LISTS:
        if (root / name).is_file():
            folder = _folder(root, "train" if split == "train" else "test")
            _read_list(listing, root / name, folder, split)
    train = {entry.label for entry in listing.entries if entry.split == "train"}
    if any(entry.label in train for entry in listing.entries if entry.split != "train"):
        listing.entries = [
            entry if entry.split == "train" or entry.label == JUNK_LABEL
            else entry._replace(label=f"test {entry.label}")
            for entry in listing.entries
        ]  # fmt: skip
    listing.ignored = _unlisted(listing)
    return listing


def _folder(root: Path, part: str) -> Path:
    found = [root / name for name in FOLDERS[part] if (root / name).is_dir()]
    if not found:
        raise UserError(f"{root}: must hold the folder {' or '.join(FOLDERS[part])}, got neither")
    return found[0]


def _read_list(listing: Listing, path: Path, folder: Path, split: str) -> None:
    lines = read_text(path, encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            listing.entries.append(_entry(line, folder, split, where))
        except UserError as error:
            listing.faults[Path(where)] = str(error)


def _entry(line: str, folder: Path, split: str, where: str) -> ListedImage:
    name, _, label = " ".join(line.split()).rpartition(" ")
    if not name.lower().endswith(SUFFIXES) or not IDENTITY_LABEL.fullmatch(label):
        raise UserError(f"{where}: must be 'PATH IDENTITY', got {line.strip()[:60]!r}")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{where}: the path must lie in {folder}, got {name[:60]!r}")
    image = folder / name
    if not image.is_file():  # the path may begin with the folder
        image = folder.parent / name
    if not image.is_file():
        raise UserError(f"{where}: must name an image in {folder}, got no {name[:80]}")
    return ListedImage(image, split, label, _camera(image))


def _camera(path: Path) -> int:
    if MARKET_NAME.match(path.name):
        return parse_label(path)[1]
    fields = path.name.split("_")
    if len(fields) < 4 or not fields[2].isdecimal():
        raise UserError(
            f"{path}: the third field of the name must be the camera, as in "
            f"0000_000_01_0303morning_0015_0.jpg"
        )
    return camera_number(fields[2], path)


def _unlisted(listing: Listing) -> list[Path]:
    """What lies in the folders of the images and is in no list."""
    listed = {entry.path for entry in listing.entries}
    known = {path.parent for path in listed}
    tops = {path.parents[1] if path.parents[1] != listing.root else path.parent for path in listed}
    found = []
    for folder in sorted(known | tops):
        images, others = image_and_other_files(folder)
        found += [
            path for path in images + others if path not in listed and path not in known | tops
        ]
    return found
