"""DeepFashion's In-shop images, as PATN's users have them, into a folder of our layout.

What they have, in one folder, at any depth:

    fasion-resize-annotation-train.csv, ...-test.csv     key points, and which images there are
    fasion-resize-pairs-train.csv, ...-test.csv          the published pairs (either may be missing)
    fashionWOMENPantsid0000002906_3back.jpg              images under the published names, or
    WOMEN/Pants/id_00000029/06_3_back.jpg                as the benchmark's archive holds them

Images are 256x256, or cropped to the 176 columns in the middle already. Key points are those of the
crop. Of an item in several colours each is one identity (item 29, colour 06: pid 2906), because a
pair shows one. There are no cameras: the number of the view (1 front, 2 side, 3 back, 4 full, 7
additional) stands where the camera does.

What is written is a data set like any other: ``2906_c3_`` and the published name; the first view of
each test identity with several is a query, the other test images are the gallery. Training draws
its pairs by the rule of Market-1501; the published lists lie beside, under the new names, for
``generator evaluate --pairs``. A cropped image is a JPEG of quality 95 (the authors' tool: 75).
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
BORDER = (WHOLE - CROPPED) // 2
QUALITY = 95
SPLITS = ("train", "test")
ANNOTATION, PAIRS = "fasion-resize-annotation-{}.csv", "fasion-resize-pairs-{}.csv"
PUBLISHED = re.compile(r"fashion(?:WO)?MEN\w+?id(\d{8})(\d{2})_(\d)\w*\.jpg")

Progress = Callable[[Sequence[str]], Iterable[str]]


class Split(NamedTuple):
    """Training or test: key points by published name, and the published pairs."""

    poses: dict[str, Pose]
    pairs: list[tuple[str, str]]


def write_deepfashion(source: Path, folder: Path, progress: Progress = iter) -> dict[str, int]:
    """Write the data set in ``source`` to ``folder``; how many images each part has.

    Args:
        source: the folder of images, key points and pairs.
        folder: where to; missing or empty, it appears whole or not at all.
        progress: wraps the names, to show how far it is.

    Raises:
        UserError: If a file is missing, malformed or there twice, or an image of another size.
    """
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; give that of images and lists")
    splits = {name: _read_split(source, name) for name in SPLITS}
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


def published_name(path: Path) -> str:
    """What PATN's lists call an image of the benchmark's archive; other names stay as they are.

    >>> published_name(Path("img/WOMEN/Pants/id_00000029/06_3_back.jpg"))
    'fashionWOMENPantsid0000002906_3back.jpg'
    """
    if len(path.parts) < 4 or not path.parts[-2].startswith("id_"):
        return path.name
    people, clothes, item = path.parts[-4:-1]
    colour, _, view = path.name.partition("_")
    return f"fashion{people}{clothes}{item.replace('_', '')}{colour}_{view.replace('_', '')}"


def new_name(published: str) -> str:
    """The name of an image in our layout.

    >>> new_name("fashionWOMENPantsid0000002906_3back.jpg")
    '2906_c3_fashionWOMENPantsid0000002906_3back.jpg'
    """
    match = PUBLISHED.fullmatch(published)
    if match is None:
        raise UserError(
            f"{published}: must be a name as fashionWOMENPantsid0000002906_3back.jpg, item 29, "
            f"colour 06, view 3; correct the list that holds it"
        )
    return f"{int(match[1] + match[2])}_c{match[3]}_{published}"


def _read_split(source: Path, name: str) -> Split:
    annotation = _find(source, ANNOTATION.format(name))
    if annotation is None:
        raise UserError(
            f"{source}: must hold {ANNOTATION.format(name)}, got none; PATN's authors published it"
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
        raise UserError(f"{source}: must hold {name} once, got {found[0]} and {found[1]}")
    return found[0] if found else None


def _find_images(source: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """The files of the images that have a row, by published name."""
    files: dict[str, Path] = {}
    names = set(wanted)
    for path in sorted(source.rglob("*")):
        name = published_name(path)
        if path.suffix.lower() not in SUFFIXES or name not in names:
            continue
        if name in files:
            raise UserError(f"{name}: must be there once, got {files[name]} and {path}; keep one")
        files[name] = path
    missing = [name for name in wanted if name not in files]
    if missing:
        raise UserError(
            f"{source}: must hold every image that has key points, got no {missing[0]} and "
            f"{len(missing) - 1} others; put the benchmark's images (img.zip) there"
        )
    return files


def _places(splits: Mapping[str, Split]) -> dict[str, str]:
    """The folder of every image, by published name."""
    train, query, gallery = FOLDERS
    places = dict.fromkeys(splits["train"].poses, train)
    both = splits["train"].poses.keys() & splits["test"].poses.keys()
    if both:
        raise UserError(f"{min(both)}: must be in training or in the test, got it in both")
    names = {parse_name(Path(new_name(name))): name for name in splits["test"].poses}
    for group in by_identity(sorted(names)).values():
        first = min(group, key=lambda image: (image.camid, image.name))
        places |= {names[i]: query if i is first and len(group) > 1 else gallery for i in group}
    for folder in FOLDERS:
        if folder not in places.values():
            raise UserError(
                "DeepFashion's lists must hold training images and a test identity with several "
                f"views, got nothing for {folder}"
            )
    return places


def _write_image(source: Path, target: Path) -> None:
    """Crop an image, or copy one that is cropped already."""
    pixels = open_image(source)
    if pixels.shape[:2] == (HEIGHT, CROPPED):
        shutil.copyfile(source, target)
        return
    if pixels.shape[:2] != (HEIGHT, WHOLE):
        raise UserError(
            f"{source}: must be {HEIGHT}x{WHOLE} pixels, or {HEIGHT}x{CROPPED} if cropped, got "
            f"{pixels.shape[0]}x{pixels.shape[1]}; take the images of img.zip"
        )
    middle = Image.fromarray(pixels[:, BORDER:-BORDER])
    middle.save(target, quality=QUALITY, subsampling=0)
