"""Images of people, the Market-1501 layout, and the two rules that share images out.

The layout is three folders of crops whose names carry identity and camera:

    bounding_box_train/  query/  bounding_box_test/      0002_c1s1_000451_03.jpg: pid 2, camid 1

``pid`` and ``camid`` are those numbers, everywhere. pid -1 marks junk boxes, which are dropped; pid
0 marks distractors, which stay in the gallery. Lists are sorted by file name, so nothing depends on
the order in which a file system returns them.

*Seat order* shares a count out over identities. Every identity gets one seat (ascending pid), then
each next seat goes to the identity with the largest n / sqrt(k (k + 1)): n its number of images, k
the seats it has (the Huntington-Hill rule, compared exactly). The order does not depend on the
count, so every smaller choice is a prefix of a larger one.

The *kept set* is the part of the training images that an experiment may see: seat order says how
many of each identity, a hash of the file name says which, so it is the same on every machine.
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

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
NESTED = "Market-1501-v15.09.15"
KEYPOINTS = "keypoints.csv"
NAME = re.compile(r"(-1|\d+)_c(\d+)")
SUFFIXES = (".jpg", ".jpeg", ".png")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # whatever the suffix; others may run programs to decode
JUNK, DISTRACTOR = -1, 0


@dataclass(frozen=True, slots=True, order=True)
class PersonImage:
    """One crop of one person, seen by one camera."""

    path: Path
    pid: int
    camid: int

    @property
    def name(self) -> str:
        """File name, which is what key points, banks and results call the image."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class Dataset:
    """The three lists of a re-ID benchmark, each sorted by file name, junk left out."""

    train: tuple[PersonImage, ...]
    query: tuple[PersonImage, ...]
    gallery: tuple[PersonImage, ...]


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Size of a crop in pixels, and the part of the training images an experiment may see."""

    height: int = 128
    width: int = 64
    keep: float = 1.0
    keep_seed: int = 0

    def __post_init__(self) -> None:
        for key in ("height", "width"):
            if not 16 <= getattr(self, key) <= 2048:
                raise UserError(f"{key} must be in 16..2048 pixels, got {getattr(self, key)}")
        check_keep(self.keep)


def check_keep(keep: float) -> None:
    """Raise a UserError unless ``keep`` is a fraction that keeps something."""
    if not 0 < keep <= 1:
        raise UserError(f"keep must be above 0 and at most 1, got {keep}")


def dataset_root(root: Path | str) -> Path:
    """The folder that holds the three folders: ``root`` or ``root/Market-1501-v15.09.15``.

    Raises:
        UserError: If there is no such folder, or it is not in Market-1501 layout.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(
            f"{root}: there is no such folder; give that of a data set in Market-1501 layout"
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
    """Where a data set's key points lie: ``DATA/keypoints.csv``, or beside the three folders."""
    beside = Path(data) / KEYPOINTS
    return beside if beside.is_file() else dataset_root(data) / KEYPOINTS


def read_market1501(root: Path | str) -> Dataset:
    """Read a folder in Market-1501 layout; file names only, no pixels.

    Raises:
        UserError: If a folder is missing or empty, or an image's name does not fit.
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
    """The image files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def parse_name(path: Path) -> PersonImage:
    """Read identity and camera off a file name.

    >>> parse_name(Path("0002_c1s1_000451_03.jpg"))
    PersonImage(path=PosixPath('0002_c1s1_000451_03.jpg'), pid=2, camid=1)
    """
    match = NAME.match(path.name)
    if match is None:
        raise UserError(
            f"{path}: the name must begin with <pid>_c<camera>, as in 0002_c1s1_000451_03.jpg; "
            f"rename or remove the file"
        )
    return PersonImage(path, int(match[1]), int(match[2]))


def open_image(path: Path) -> np.ndarray:
    """Decode one image: (H, W, 3) uint8 RGB.

    Raises:
        UserError: If the file does not decode.
    """
    with _decoding(path) as file:
        return np.asarray(file.convert("RGB"))


@contextmanager
def _decoding(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=FORMATS) as file:
            yield file
    except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}: must be an image that decodes ({', '.join(FORMATS)}), got {error}; "
            f"replace or remove the file"
        ) from None


def verify_images(images: Iterable[PersonImage]) -> None:
    """Decode every image once, before hours are spent and files written.

    Raises:
        UserError: If one does not decode.
    """
    for image in images:
        open_image(image.path)


def require_a_match(dataset: Dataset) -> None:
    """Raise a UserError unless some query has a match in the gallery under another camera."""
    answers = {(image.pid, image.camid) for image in dataset.gallery}
    cameras = {camid for _, camid in answers}
    for query in dataset.query:
        if any((query.pid, camid) in answers for camid in cameras - {query.camid}):
            return
    folder = dataset.query[0].path.parent if dataset.query else Path("query")
    raise UserError(
        f"{folder}: no query has a match in the gallery under another camera, so nothing could be "
        f"evaluated",
        Remedy(("check",), words="look at it with"),
    )


def read_image(path: Path, height: int, width: int) -> np.ndarray:
    """Decode one image and bring it to ``height`` x ``width``: (H, W, 3) uint8 RGB."""
    return resize(open_image(path), height, width)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 to (height, width, 3) uint8, untouched when it has that size already."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header."""
    with _decoding(path) as file:
        return file.height, file.width


def by_identity(images: Iterable[PersonImage]) -> dict[int, list[PersonImage]]:
    """Images grouped by pid, pids ascending, each group in the order given."""
    groups: defaultdict[int, list[PersonImage]] = defaultdict(list)
    for image in images:
        groups[image.pid].append(image)
    return dict(sorted(groups.items()))


def seats(counts: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Seat order without end: (pid, seat), where seat counts each identity's from 0.

    Args:
        counts: number of images of each pid, all at least 1.

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
    """max(at_least, floor(fraction * of + 1/2)), the fraction taken as the decimal it reads.

    >>> share(0.2, 12936, 751), share(0.01, 12936, 751), share(0.29, 50, 1)
    (2587, 751, 15)
    """
    return max(at_least, math.floor(Fraction(str(fraction)) * of + Fraction(1, 2)))


def kept(images: Iterable[PersonImage], keep: float, keep_seed: int = 0) -> tuple[PersonImage, ...]:
    """The kept set, in seat order, so a smaller ``keep`` is a prefix of a larger one.

    An identity fills its seats in increasing SHA-256 of "{keep_seed}/{file name}".
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
    """SHA-256 of "{seed}/{name}" in hexadecimal: an order that is the same on every machine."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
