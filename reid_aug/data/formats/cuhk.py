"""CUHK03 and CUHK01 as they are extracted for torchreid and Open-ReID.

    cuhk03/images_labeled/1_001_1_01.png      pair of cameras, identity, view, number
    cuhk03/splits_new_labeled.json            the splits, as torchreid writes them
    cuhk01/campus/0001001.png                 identity, number; 1 and 2: camera 1, 3 and 4: camera 2

CUHK03 has several splits of the same images, so its data set is the JSON file, or a folder with one
such file; its first split is used. An identity of CUHK03 is a number within a pair of cameras, here
the label "1_001". CUHK03-NP, with the folders of Market-1501, is read as that.

CUHK01 has no published split. Here identities 1 to 485 train, as many as in the usual protocol; of
the others, the images of camera 1 are queries and those of camera 2 the gallery.
"""

import re
from pathlib import Path

from reid_aug.data.dataset import image_and_other_files
from reid_aug.data.listing import SPLITS, ListedImage, Listing
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.json_toml import read_json

CUHK03, CUHK01 = "CUHK03", "CUHK01"
LOOKS_LIKE_CUHK03 = "splits_new_labeled.json with images_labeled (or _detected)"
LOOKS_LIKE_CUHK01 = "campus with 0001001.png, ..."
SPLIT_FILES = "splits_*.json"
BOX_KINDS = ("labeled", "detected")
CUHK03_NAME = re.compile(r"(\d+_\d+)_(\d+)_\d+\.")
CUHK01_NAME = re.compile(r"(\d{4})(\d{3})\.")
TRAINING_IDENTITIES = 485


def fits_cuhk03(root: Path) -> bool:
    """Whether this is a split file of CUHK03, or a folder with one."""
    if root.is_file():
        return root.suffix.lower() == ".json"
    return any(root.glob(SPLIT_FILES)) and any(
        (root / f"images_{kind}").is_dir() for kind in BOX_KINDS
    )


def read_cuhk03(root: Path) -> Listing:
    """List the images of a split of CUHK03.

    Raises:
        UserError: If there are several split files, or the file is malformed.
    """
    found = [root] if root.is_file() else sorted(root.glob(SPLIT_FILES))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(
            f"{root}: must hold one split of CUHK03, got {names}; give one of these files as the "
            f"data set"
        )
    path = found[0]
    kind = next((kind for kind in BOX_KINDS if kind in path.stem), BOX_KINDS[0])
    folder = path.parent / f"images_{kind}"
    listing = Listing(CUHK03, path, dict.fromkeys(SPLITS, path))
    for split, rows in _splits_of(path).items():
        for row in rows:
            image = folder / Path(str(row[0]).replace("\\", "/")).name
            listing.add(image, split, _label_cuhk03)
    return listing


def _splits_of(path: Path) -> dict[str, list[list[object]]]:
    rule = f"{path}: must hold splits of CUHK03, a list of objects with {', '.join(SPLITS)}"
    content = read_json(path, f"splits of CUHK03, a list of objects with {', '.join(SPLITS)}")
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict) or not all(isinstance(first.get(s), list) for s in SPLITS):
        raise UserError(f"{rule}, got {str(content)[:40]!r}")
    for split in SPLITS:
        if not all(isinstance(row, list) and row for row in first[split]):
            raise UserError(f"{rule} of lists [path, pid, camid], got another row in {split}")
    return {split: first[split] for split in SPLITS}


def _label_cuhk03(path: Path) -> tuple[str, int]:
    match = CUHK03_NAME.match(path.name)
    if match is None:
        raise UserError(
            f"{path}: the name must be as 1_001_1_01.png (pair, identity, view, number)"
        )
    if not path.is_file():
        raise UserError(f"{path} is missing, but the split names it; extract the images again")
    return match[1], int(match[2][:9])


def fits_cuhk01(root: Path) -> bool:
    """Whether the folder is ``campus`` of CUHK01, or holds it."""
    folder = root / "campus"
    if not folder.is_dir():
        folder = root
    first = next((path for path in sorted(folder.glob("*.png"))[:1]), None)
    return first is not None and CUHK01_NAME.fullmatch(first.name[:-3]) is not None


def read_cuhk01(root: Path) -> Listing:
    """List the images of CUHK01."""
    folder = root / "campus" if (root / "campus").is_dir() else root
    note = f"no published split: identities 1 to {TRAINING_IDENTITIES} are the training set"
    listing = Listing(CUHK01, root, dict.fromkeys(SPLITS, folder), note=note)
    images, listing.ignored = image_and_other_files(folder)
    for path in images:
        match = CUHK01_NAME.match(path.name)
        if match is None:
            listing.faults[path] = f"{path}: the name must be as 0001001.png (identity, number)"
            continue
        camid = 1 if int(match[2]) <= 2 else 2
        test = "query" if camid == 1 else "gallery"
        split = "train" if int(match[1]) <= TRAINING_IDENTITIES else test
        listing.entries.append(ListedImage(path, split, match[1].lstrip("0") or "0", camid))
    return listing
