"""Images of people, the Market-1501 layout, and the rules that apportion and keep images.

The layout consists of three folders of crops. A file name contains the identity and the camera:

    bounding_box_train/  query/  bounding_box_test/      0002_c1s1_000451_03.jpg: pid 2, camid 1

``pid`` and ``camid`` are these numbers in all files and functions. pid -1 marks junk boxes, which
are dropped. pid 0 marks distractors, which stay in the gallery. Lists are sorted by file name, so
results do not depend on the order in which the file system returns the files.

*Seat order* apportions a count to identities. Every identity gets one seat first, in ascending
order of pid. Each next seat goes to the identity with the largest n / sqrt(k (k + 1)), where n is
its number of images and k its number of seats (the Huntington-Hill rule, compared exactly). The
order does not depend on the count, so every smaller selection is a prefix of a larger one.

The *kept set* is the part of the training images that an experiment may use. Seat order determines
the number of images per identity, and a hash of the file name determines which images, so the kept
set is the same on every machine.
"""

import hashlib
import heapq
import math
import os
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.json_toml import LEAST, MOST, is_utf8
from reid_aug.runtime.regular_files import IMAGE, open_regular

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
MARKET_FOLDER = "Market-1501-v15.09.15"
KEYPOINTS = "keypoints.csv"
MARKET_NAME = re.compile(r"(-1|\d+)_c(\d+)")
SUFFIXES = (".jpg", ".jpeg", ".png")
IMAGE_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
)  # for any suffix; other decoders may run programs
CROP_SIDES = range(16, 2049)  # pixels of the height or width of a crop in a recipe
MOST_PIXELS = 2**26  # of one image, 200 MB when it is decoded
JUNK, DISTRACTOR = -1, 0
NO_CAMERA = -1  # the camid of every image of a data set without camera labels
LARGEST_PID, LARGEST_CAMID = 10**18 - 1, 2**31 - 1  # banks store both as 64-bit integers
HARMLESS = (
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx", "@eadir",
)  # fmt: skip  # what desktops and file servers leave beside the images, as hidden files
SMALLEST_SIDE = 8  # pixels of a usable crop
# The factor between the aspect ratios of a crop and of the others, from which it is another kind of
# image; two crops side by side have the factor 2.
FARTHEST_SHAPE = 2.0
EXIF_ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation; an image is read upright, and its keypoints refer to the upright image


@dataclass(frozen=True, slots=True, order=True)
class PersonImage:
    """One crop of one person from one camera."""

    path: Path
    pid: int
    camid: int
    alias: str = ""
    """The name, if the file name does not identify the image in its data set."""

    @property
    def name(self) -> str:
        """File name, which identifies the image in keypoint files, banks and results."""
        return self.alias or self.path.name


@dataclass(frozen=True, slots=True)
class Dataset:
    """The three lists of a re-ID benchmark, each sorted by file name, without junk boxes."""

    train: tuple[PersonImage, ...]
    query: tuple[PersonImage, ...]
    gallery: tuple[PersonImage, ...]
    labels: tuple[str, ...] = ()
    """The identities of pids 1, 2, ... as the data set writes them, if they are not numbers."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What a user must know of the files: those that were ignored, limits of the format."""

    @property
    def has_cameras(self) -> bool:
        """Whether the images have camera labels."""
        return all(image.camid != NO_CAMERA for image in self.train[:1])


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The recipe table ``data``: size of the crops, and the kept set."""

    height: int = 128
    """Height of a crop in pixels, 16 to 2048."""

    width: int = 64
    """Width of a crop in pixels, 16 to 2048."""

    keep: float = 1.0
    """Fraction of the training images that are kept, above 0 and at most 1."""

    keep_seed: int = 0
    """Seed of the hash that selects the kept images, an integer of 64 bits."""

    def __post_init__(self) -> None:
        for key in ("height", "width"):
            check_side(key, getattr(self, key))
        if not LEAST <= self.keep_seed <= MOST:
            raise UserError(f"keep_seed must be an integer of 64 bits, got {self.keep_seed}")
        check_keep(self.keep)


def check_side(key: str, value: object) -> None:
    """Raise a UserError unless ``value`` is the height or width of a crop."""
    if type(value) is not int or value not in CROP_SIDES:
        raise UserError(f"{key} must be in 16..2048 pixels, got {value}")


def check_keep(keep: float) -> None:
    """Raise a UserError unless ``keep`` is above 0 and at most 1."""
    if not 0 < keep <= 1:
        raise UserError(f"keep must be above 0 and at most 1, got {keep}")


def read_market1501(root: Path | str) -> Dataset:
    """Read a data set in Market-1501 layout from its file names; no image is decoded.

    Raises:
        UserError: If a folder is missing or has no images, or the name of an image is invalid.
    """
    from reid_aug.data.formats import market1501  # formats import this module
    from reid_aug.data.listing import dataset_of

    return dataset_of(market1501.read(market1501.find(Path(root))))


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name."""
    return image_and_other_files(folder)[0]


def image_and_other_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The image files of a folder, and what else it holds; both sorted by name.

    :func:`is_harmless` files and folders are in neither list.

    Raises:
        UserError: If the name of an image is not UTF-8: no file of results could contain it.
    """
    images: list[Path] = []
    others: list[Path] = []
    with os.scandir(folder) as found:
        for entry in found:
            if is_harmless(entry.name):
                continue
            is_image = entry.name.lower().endswith(SUFFIXES) and not entry.is_dir()
            if is_image and not is_utf8(entry.name):
                raise UserError(
                    f"{folder}: the names of images must be UTF-8, got {entry.name!a}; "
                    f"rename the file"
                )
            (images if is_image else others).append(folder / entry.name)
    return sorted(images), sorted(others)


def is_harmless(name: str) -> bool:
    """Whether a file or folder is hidden (as ``._a.jpg`` of macOS) or one of :data:`HARMLESS`."""
    return name.startswith(".") or name.lower() in HARMLESS


def images_below(folder: Path) -> Iterator[Path]:
    """The image files of a folder and of all folders in it; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_harmless(name))
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not is_harmless(name):
                yield Path(place) / name


def parse_name(path: Path) -> PersonImage:
    """Parse identity and camera from a file name.

    >>> image = parse_name(Path("0002_c1s1_000451_03.jpg"))
    >>> image.pid, image.camid
    (2, 1)

    Raises:
        UserError: If the name does not begin with <pid>_c<camera>, or a number is out of range.
    """
    pid, camid = parse_label(path)
    if len(pid) > 40 or int(pid) > LARGEST_PID:
        raise UserError(f"{path}: pid must be at most {LARGEST_PID}, got {len(pid)} digits")
    return PersonImage(path, int(pid), camid)


def parse_label(path: Path) -> tuple[str, int]:
    """The identity and the camera in a file name, as :func:`parse_name`."""
    match = MARKET_NAME.match(path.name)
    if match is None:
        raise UserError(
            f"{path}: the name must begin with <pid>_c<camera>, as in 0002_c1s1_000451_03.jpg; "
            f"rename or remove the file"
        )
    return match[1], camera_number(match[2], path)


def camera_number(digits: str, where: object) -> int:
    """The camid of a text of digits.

    Raises:
        UserError: If it is out of range.
    """
    if len(digits) > 40 or int(digits) > LARGEST_CAMID:
        raise UserError(f"{where}: camid must be at most {LARGEST_CAMID}, got {digits[:24]}")
    return int(digits)


def open_image(path: Path) -> np.ndarray:
    """Decode one image to (H, W, 3) uint8 RGB, upright.

    The EXIF orientation is applied. Samples of 16 bits are scaled to 8.

    Raises:
        UserError: If the file does not decode.
    """
    return decode(path).pixels


class Decoded(NamedTuple):
    """A decoded image, and how its file differs from an upright image of 8 bits per sample."""

    pixels: np.ndarray
    """(H, W, 3) uint8 RGB, upright."""
    is_turned: bool
    """Whether the file has an EXIF orientation other than upright."""
    is_scaled: bool
    """Whether the samples of the file have more than 8 bits."""
    is_transparent: bool
    """Whether a pixel is transparent in part."""
    kind: str
    """The format of the file, as "JPEG"."""


def decode(path: Path) -> Decoded:
    """Decode one image, as :func:`open_image`."""
    with _decoding(path) as file:
        turn, is_scaled = TURNS.get(exif_orientation(file)), file.mode.startswith("I")
        scaled = _eight_bits(file) if is_scaled else file
        upright = scaled if turn is None else scaled.transpose(turn)
        return Decoded(
            np.asarray(upright.convert("RGB")), turn is not None, is_scaled,
            _is_transparent(file), str(file.format),
        )  # fmt: skip


def _is_transparent(file: Image.Image) -> bool:
    """Whether an open image has a pixel that is not opaque."""
    if "A" not in file.getbands() and "transparency" not in file.info:
        return False
    lowest, _ = file.convert("RGBA").getchannel("A").getextrema()
    return int(lowest) < 255  # type: ignore[arg-type]


def exif_orientation(file: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 to 8; 1 if it has none."""
    if not file.info.get("exif"):
        return 1
    try:
        return int(file.getexif().get(EXIF_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return 1  # damaged EXIF data


def _eight_bits(file: Image.Image) -> Image.Image:
    """The image with 8 bits per sample; ``convert`` would clip grey values of 16 bits to 255."""
    values = np.asarray(file).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("grey values outside 0..65535")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 / 255 = 257


@contextmanager
def _decoding(path: Path) -> Iterator[Image.Image]:
    try:
        with (
            open_regular(path, IMAGE, "replace or remove it") as content,
            Image.open(content, formats=IMAGE_FORMATS) as file,
        ):
            if file.width * file.height > MOST_PIXELS:
                raise ValueError(f"{file.width} x {file.height} pixels")
            yield file
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        found = "other content" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(
            f"{path}: must be an image that decodes ({', '.join(IMAGE_FORMATS)}), got {found}; "
            f"replace or remove the file"
        ) from None


def verify_images(images: Iterable[PersonImage]) -> None:
    """Decode every image once, so that damaged files are found before a long computation.

    Raises:
        UserError: If an image does not decode.
    """
    for image in images:
        open_image(image.path)


def require_a_match(dataset: Dataset) -> None:
    """Raise a UserError unless a query has a match in the gallery under another camera."""
    if any(map(len, matching_cameras(dataset.query, dataset.gallery).values())):
        return
    folder = dataset.query[0].path.parent if dataset.query else Path("query")
    raise UserError(
        f"{folder}: no query has a match in the gallery under another camera, so nothing can be "
        f"evaluated",
        Remedy(("check", "DATA"), words="check the data set with"),
    )


def matching_cameras(
    query: Iterable[PersonImage], gallery: Sequence[PersonImage]
) -> dict[PersonImage, set[int]]:
    """The cameras of the gallery images that match each query: same pid, another camera."""
    query = list(query)
    cameras = evaluation_cameras((*query, *gallery))
    seen: defaultdict[int, set[int]] = defaultdict(set)
    for image, camid in zip(gallery, cameras[len(query) :], strict=True):
        seen[image.pid].add(camid)
    return {
        image: seen[image.pid] - {camid}
        for image, camid in zip(query, cameras[: len(query)], strict=True)
    }


def evaluation_cameras(images: Sequence[PersonImage]) -> list[int]:
    """The camids that decide which gallery images a query ignores.

    The evaluation ignores images of the query's identity under its camera. Without camera labels,
    only the image itself is ignored: here every file is a camera of its own.
    """
    if all(image.camid != NO_CAMERA for image in images):
        return [image.camid for image in images]
    files = {path: number for number, path in enumerate(sorted({i.path for i in images}), start=1)}
    return [files[image.path] for image in images]


def read_image(path: Path, height: int, width: int) -> np.ndarray:
    """Decode one image and resize it to (height, width, 3) uint8 RGB."""
    return resize(open_image(path), height, width)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (height, width, 3) uint8, bicubic.

    An image of that size is returned unchanged.
    """
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def image_size(path: Path) -> tuple[int, int]:
    """Read (height, width) of the upright image from the header of an image file.

    Raises:
        UserError: If the header cannot be decoded.
    """
    with _decoding(path) as file:
        is_turned = exif_orientation(file) >= 5  # these exchange rows and columns
        return (file.width, file.height) if is_turned else (file.height, file.width)


def usual_shape(images: Sequence[PersonImage]) -> float:
    """The median height over width of up to 64 of the images, at equal distances in the list."""
    some = images[:: max(1, len(images) // 64)]
    return float(np.median([high / wide for high, wide in (image_size(i.path) for i in some)]))


def far_from_shape(size: tuple[int, int], usual: float, farthest: float = FARTHEST_SHAPE) -> str:
    """What is wrong with an image of that (height, width); "" if nothing is.

    Args:
        usual: the height of the other images over their width.
        farthest: the factor from which a shape is another one.
    """
    height, width = size
    if min(size) < SMALLEST_SIDE:
        return f"must be a crop of at least {SMALLEST_SIDE} pixels a side, got {height}x{width}"
    if not 1 / farthest < height / width / usual < farthest:
        return (
            f"must be about {usual:.2g} times as high as wide, as the other images, got "
            f"{height} high and {width} wide; cut out the person"
        )
    return ""


def note_of_shapes(images: Sequence[PersonImage]) -> str:
    """What a user must know of images of quite another shape than the others; "" without such.

    Only the headers of the files are read, about 10,000 per second.

    Raises:
        UserError: If a header cannot be decoded.
    """
    usual = usual_shape(images)
    sizes = {image: image_size(image.path) for image in images}
    odd = [image for image, size in sizes.items() if far_from_shape(size, usual)]
    if not odd:
        return ""
    height, width = sizes[odd[0]]
    return (
        f"{len(odd)} of {len(images)} images have quite another shape than the others, and are "
        f"squeezed, as {odd[0].name} ({height} high, {width} wide); see: reid-aug check"
    )


def by_identity(images: Iterable[PersonImage]) -> dict[int, list[PersonImage]]:
    """Group images by pid; pids ascending, each group in the given order."""
    groups: defaultdict[int, list[PersonImage]] = defaultdict(list)
    for image in images:
        groups[image.pid].append(image)
    return dict(sorted(groups.items()))


def seats(counts: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Yield seat order as (pid, seat) without end; seats of an identity are counted from 0.

    Args:
        counts: number of images per pid, all at least 1.

    >>> list(islice(seats({7: 4, 3: 1}), 5))
    [(3, 0), (7, 0), (7, 1), (7, 2), (7, 3)]
    """
    if not counts:
        return
    waiting = []
    for pid in sorted(counts):
        yield pid, 0
        waiting.append((-_priority(counts[pid], 1), pid, 1))
    heapq.heapify(waiting)
    while True:
        _, pid, seat = waiting[0]
        yield pid, seat
        heapq.heapreplace(waiting, (-_priority(counts[pid], seat + 1), pid, seat + 1))


def _priority(images: int, taken: int) -> Fraction:
    return Fraction(images**2, taken * (taken + 1))


def share(fraction: float, of: int, at_least: int) -> int:
    """max(at_least, floor(fraction * of + 1/2)), computed exactly from the decimal ``fraction``.

    >>> share(0.2, 12936, 751), share(0.01, 12936, 751), share(0.29, 50, 1)
    (2587, 751, 15)
    """
    return max(at_least, math.floor(Fraction(str(fraction)) * of + Fraction(1, 2)))


def kept(images: Iterable[PersonImage], keep: float, keep_seed: int = 0) -> tuple[PersonImage, ...]:
    """The kept set in seat order, so that a smaller ``keep`` gives a prefix of a larger one.

    An identity fills its seats in increasing order of the SHA-256 of "{keep_seed}/{file name}".

    Raises:
        UserError: If ``keep`` is not above 0 and at most 1.
    """
    check_keep(keep)
    groups = by_identity(images)
    counts = {pid: len(group) for pid, group in groups.items()}
    ranked = {
        pid: sorted(group, key=lambda image: name_hash(keep_seed, image.name))
        for pid, group in groups.items()
    }
    chosen = islice(seats(counts), share(keep, sum(counts.values()), len(counts)))
    return tuple(ranked[pid][seat] for pid, seat in chosen)


def name_hash(seed: int, name: str) -> str:
    """SHA-256 of "{seed}/{name}" in hexadecimal; sorts names equally on every machine."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
