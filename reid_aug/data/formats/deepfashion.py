"""Conversion of DeepFashion In-shop, in the form that PATN uses, to Market-1501 layout.

Input files, in one folder at any depth:

    fasion-resize-annotation-train.csv, ...-test.csv     keypoints; the rows define the images
    fasion-resize-pairs-train.csv, ...-test.csv          the published pairs (each file is optional)
    fashionWOMENPantsid0000002906_3back.jpg              images with the published names, or
    WOMEN/Pants/id_00000029/06_3_back.jpg                with the names in the benchmark's archive

Images are 256x256, or already cropped to the 176 columns in the middle. Keypoints refer to the
crop. Every colour of an item is one identity (item 29, colour 06: pid 2906), because a pair has one
colour. There are no cameras; the number of the view (1 front, 2 side, 3 back, 4 full, 7 additional)
is used as camid.

The output is a data set in Market-1501 layout. Its file names are ``2906_c3_`` followed by the
published name. If a test identity has several views, its first view is a query. All other test
images form the gallery. Training selects its pairs by the rule of Market-1501. The published lists
are written too, with the new names, for ``generator evaluate --pairs``. Cropped images are written
as JPEG with quality 95 (the authors' tool: 75).
"""

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from reid_aug.data.dataset import FOLDERS, KEYPOINTS, SUFFIXES, by_identity, open_image, parse_name
from reid_aug.data.keypoints import Pose, read_keypoints, write_keypoints
from reid_aug.data.pair_lists import read_pairs, write_pairs
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import new_folder

HEIGHT, WHOLE, CROPPED = 256, 256, 176
WHITE_BORDER = (WHOLE - CROPPED) // 2
FASHION_JPEG_QUALITY = 95
FASHION_SPLITS = ("train", "test")
ANNOTATION, PAIRS = "fasion-resize-annotation-{}.csv", "fasion-resize-pairs-{}.csv"
PUBLISHED = re.compile(r"fashion(?:WO)?MEN\w+?id(\d{8})(\d{2})_(\d)\w*\.jpg")

Progress = Callable[[Sequence[str]], Iterable[str]]


class Split(NamedTuple):
    """Training or test split: keypoints by published name, and the published pairs."""

    poses: dict[str, Pose]
    pairs: list[tuple[str, str]]


def write_deepfashion(source: Path, folder: Path, progress: Progress = iter) -> dict[str, int]:
    """Convert the data set in ``source`` to ``folder``; return the number of images per folder.

    Args:
        source: the folder with images, keypoints and pairs.
        folder: the output folder; it must be missing or empty, and is written atomically.
        progress: wraps the list of names, to show the progress.

    Raises:
        UserError: If a file is missing, malformed or a duplicate, or an image has another size.
    """
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; give the one of images and lists")
    splits = {name: _read_split(source, name) for name in FASHION_SPLITS}
    files = _find_images(source, [name for split in splits.values() for name in split.poses])
    places = _places(splits)
    with new_folder(folder) as part:
        for name in FOLDERS:
            (part / name).mkdir()
        for name in progress(sorted(places)):
            _write_image(files[name], part / places[name] / new_name(name))
        known = {new_name(n): pose for split in splits.values() for n, pose in split.poses.items()}
        write_keypoints(part / KEYPOINTS, known)
        for name, split in splits.items():
            if split.pairs:
                pairs = [(new_name(source), new_name(target)) for source, target in split.pairs]
                write_pairs(part / f"pairs-{name}.csv", pairs)
    found = list(places.values())
    return {name: found.count(name) for name in FOLDERS}


def is_deepfashion(source: Path) -> bool:
    """Whether a folder holds the published keypoints of the training images, at any depth."""
    return source.is_dir() and any(source.rglob(ANNOTATION.format("train")))


def published_name(path: Path) -> str:
    """The published name of an image in the benchmark's archive; other names are unchanged.

    >>> published_name(Path("img/WOMEN/Pants/id_00000029/06_3_back.jpg"))
    'fashionWOMENPantsid0000002906_3back.jpg'
    """
    if len(path.parts) < 4 or not path.parts[-2].startswith("id_"):
        return path.name
    people, clothes, item = path.parts[-4:-1]
    colour, _, view = path.name.partition("_")
    return f"fashion{people}{clothes}{item.replace('_', '')}{colour}_{view.replace('_', '')}"


def new_name(published: str) -> str:
    """The name of an image in Market-1501 layout.

    >>> new_name("fashionWOMENPantsid0000002906_3back.jpg")
    '2906_c3_fashionWOMENPantsid0000002906_3back.jpg'

    Raises:
        UserError: If ``published`` is not a published name.
    """
    match = PUBLISHED.fullmatch(published)
    if match is None:
        raise UserError(
            f"{published}: must be a name such as fashionWOMENPantsid0000002906_3back.jpg (item "
            f"29, colour 06, view 3); correct the list that contains it"
        )
    return f"{int(match[1] + match[2])}_c{match[3]}_{published}"


def _read_split(source: Path, name: str) -> Split:
    annotation = _find(source, ANNOTATION.format(name))
    if annotation is None:
        raise UserError(
            f"{source}: must contain {ANNOTATION.format(name)}, got none; use the file that the "
            f"authors of PATN published"
        )
    poses = read_keypoints(annotation)
    for published in poses:
        new_name(published)
    list_file = _find(source, PAIRS.format(name))
    pairs = read_pairs(list_file) if list_file else []
    for number, pair in enumerate(pairs, start=2):
        for published in pair:
            if published not in poses:
                raise UserError(
                    f"{list_file}: line {number}: {published} must have a row in {annotation}, "
                    f"got none"
                )
    return Split(poses, pairs)


def _find(source: Path, name: str) -> Path | None:
    found = sorted(source.rglob(name))
    if len(found) > 1:
        raise UserError(
            f"{source}: must contain {name} once, got {found[0]} and {found[1]}; keep one"
        )
    return found[0] if found else None


def _find_images(source: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """The image files of the rows, by published name."""
    files: dict[str, Path] = {}
    names = set(wanted)
    for path in sorted(source.rglob("*")):
        name = published_name(path)
        if path.suffix.lower() not in SUFFIXES or name not in names:
            continue
        if name in files:
            raise UserError(f"{name}: must exist once, got {files[name]} and {path}; keep one")
        files[name] = path
    missing = [name for name in wanted if name not in files]
    if missing:
        raise UserError(
            f"{source}: must contain every image that has keypoints, got no {missing[0]} and no "
            f"{len(missing) - 1} others; add the images of the benchmark (img.zip)"
        )
    return files


def _places(splits: Mapping[str, Split]) -> dict[str, str]:
    """The output folder of every image, by published name."""
    train, query, gallery = FOLDERS
    places = dict.fromkeys(splits["train"].poses, train)
    both = splits["train"].poses.keys() & splits["test"].poses.keys()
    if both:
        raise UserError(f"{min(both)}: must be in the training or the test list, got it in both")
    names = {parse_name(Path(new_name(name))): name for name in splits["test"].poses}
    for group in by_identity(sorted(names)).values():
        first = min(group, key=lambda image: (image.camid, image.name))
        places |= {names[i]: query if i is first and len(group) > 1 else gallery for i in group}
    for folder in FOLDERS:
        if folder not in places.values():
            raise UserError(
                "the lists of DeepFashion must contain training images and a test identity with "
                f"several views, got nothing for {folder}"
            )
    return places


def _write_image(source: Path, target: Path) -> None:
    """Write the crop of an image; copy an image that is cropped already."""
    pixels = open_image(source)
    if pixels.shape[:2] == (HEIGHT, CROPPED):
        shutil.copyfile(source, target)
        return
    if pixels.shape[:2] != (HEIGHT, WHOLE):
        raise UserError(
            f"{source}: must be {HEIGHT}x{WHOLE} pixels, or {HEIGHT}x{CROPPED} if cropped, got "
            f"{pixels.shape[0]}x{pixels.shape[1]}; use the images of img.zip"
        )
    middle = Image.fromarray(pixels[:, WHITE_BORDER:-WHITE_BORDER])
    middle.save(target, quality=FASHION_JPEG_QUALITY, subsampling=0)
