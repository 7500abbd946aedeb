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
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.json_toml import LEAST, MOST, is_utf8
from reid_aug.runtime.regular_files import IMAGE, open_regular

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
NESTED = "Market-1501-v15.09.15"
KEYPOINTS = "keypoints.csv"
NAME = re.compile(r"(-1|\d+)_c(\d+)")
SUFFIXES = (".jpg", ".jpeg", ".png")
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
)  # for any suffix; other decoders may run programs
SIDES = range(16, 2049)  # pixels of the height or width of a crop in a recipe
MOST_PIXELS = 2**26  # of one image, 200 MB when it is decoded
JUNK, DISTRACTOR = -1, 0


@dataclass(frozen=True, slots=True, order=True)
class PersonImage:
    """One crop of one person from one camera."""

    path: Path
    pid: int
    camid: int

    @property
    def name(self) -> str:
        """File name, which identifies the image in keypoint files, banks and results."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class Dataset:
    """The three lists of a re-ID benchmark, each sorted by file name, without junk boxes."""

    train: tuple[PersonImage, ...]
    query: tuple[PersonImage, ...]
    gallery: tuple[PersonImage, ...]


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
    if type(value) is not int or value not in SIDES:
        raise UserError(f"{key} must be in 16..2048 pixels, got {value}")


def check_keep(keep: float) -> None:
    """Raise a UserError unless ``keep`` is above 0 and at most 1."""
    if not 0 < keep <= 1:
        raise UserError(f"keep must be above 0 and at most 1, got {keep}")


def dataset_root(root: Path | str) -> Path:
    """The folder that contains the three folders: ``root`` or ``root/Market-1501-v15.09.15``.

    Raises:
        UserError: If ``root`` does not exist or is not in Market-1501 layout.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(
            f"{root}: there is no such folder; give the folder of a data set in Market-1501 layout"
        )
    found = next((top for top in (root, root / NESTED) if (top / FOLDERS[0]).is_dir()), root)
    missing = [name for name in FOLDERS if not (found / name).is_dir()]
    if missing:
        raise UserError(
            f"{found}: must be in Market-1501 layout, the folders {', '.join(FOLDERS)}; "
            f"got no {' and no '.join(missing)}"
        )
    return found


def default_keypoints(data: Path | str) -> Path:
    """The keypoint file of a data set: ``DATA/keypoints.csv``, or the file in its root folder."""
    path = Path(data) / KEYPOINTS
    return path if path.is_file() else dataset_root(data) / KEYPOINTS


def read_market1501(root: Path | str) -> Dataset:
    """Read a data set in Market-1501 layout from its file names; no image is decoded.

    Raises:
        UserError: If a folder is missing or has no images, or the name of an image is invalid.
    """
    top = dataset_root(root)
    return Dataset(*(_read_folder(top / name) for name in FOLDERS))


def _read_folder(folder: Path) -> tuple[PersonImage, ...]:
    images = [parse_name(path) for path in image_files(folder)]
    people = tuple(image for image in images if image.pid != JUNK)
    if not people:
        found = f"only {len(images)} junk boxes" if images else "none"
        raise UserError(f"{folder}: must hold images (0002_c1s1_000451_03.jpg, ...), got {found}")
    return people


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name.

    Raises:
        UserError: If a name is not UTF-8, so that no file of results could contain it.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    for path in files:
        if not is_utf8(path.name):
            raise UserError(
                f"{folder}: the names of images must be UTF-8, got {path.name!a}; rename the file"
            )
    return files


def parse_name(path: Path) -> PersonImage:
    """Parse identity and camera from a file name.

    >>> parse_name(Path("0002_c1s1_000451_03.jpg"))
    PersonImage(path=PosixPath('0002_c1s1_000451_03.jpg'), pid=2, camid=1)

    Raises:
        UserError: If the name does not begin with <pid>_c<camera>.
    """
    match = NAME.match(path.name)
    if match is None:
        raise UserError(
            f"{path}: the name must begin with <pid>_c<camera>, as in 0002_c1s1_000451_03.jpg; "
            f"rename or remove the file"
        )
    return PersonImage(path, int(match[1]), int(match[2]))


def open_image(path: Path) -> np.ndarray:
    """Decode one image to (H, W, 3) uint8 RGB.

    Raises:
        UserError: If the file does not decode.
    """
    with _decoding(path) as file:
        return np.asarray(file.convert("RGB"))


@contextmanager
def _decoding(path: Path) -> Iterator[Image.Image]:
    try:
        with (
            open_regular(path, IMAGE, "replace or remove it") as content,
            Image.open(content, formats=FORMATS) as file,
        ):
            if file.width * file.height > MOST_PIXELS:
                raise ValueError(f"{file.width} x {file.height} pixels")
            yield file
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}: must be an image that decodes ({', '.join(FORMATS)}), got {error}; "
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
    matches = {(image.pid, image.camid) for image in dataset.gallery}
    cameras = {camid for _, camid in matches}
    for query in dataset.query:
        if any((query.pid, camid) in matches for camid in cameras - {query.camid}):
            return
    folder = dataset.query[0].path.parent if dataset.query else Path("query")
    raise UserError(
        f"{folder}: no query has a match in the gallery under another camera, so nothing can be "
        f"evaluated",
        Remedy(("check",), words="check the data set with"),
    )


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
    """Read (height, width) from the header of an image file.

    Raises:
        UserError: If the header cannot be decoded.
    """
    with _decoding(path) as file:
        return file.height, file.width


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
