"""Checks of a data set without its keypoints."""

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from reid_aug.data.check.faults import Fault, like_it, some
from reid_aug.data.dataset import (
    DISTRACTOR,
    FOLDERS,
    JUNK,
    PersonImage,
    by_identity,
    image_files,
    image_size,
    open_image,
    parse_name,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.workers import CORES, spread

PIECE = 256  # files that a process decodes at once
LEAST = 2000  # files per process; a process starts in the time of about 1,500
SPLITS = dict(zip(("train", "query", "gallery"), FOLDERS, strict=True))


class Images:
    """The image files of a folder in Market-1501 layout by split, including invalid names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.splits = {name: image_files(root / folder) for name, folder in SPLITS.items()}
        self.files = [path for paths in self.splits.values() for path in paths]
        self.contents: dict[Path, str] = {}  # SHA-256 of the pixels of the images that decode

    @cached_property
    def by_name(self) -> dict[str, Path]:
        """Files by name; of several files with one name, the last."""
        return {path.name: path for path in self.files}

    def size(self, name: str) -> tuple[int, int] | None:
        """(height, width) of an image; None if it cannot be read."""
        try:
            return image_size(self.by_name[name])
        except UserError:
            return None  # check_images reports it

    @cached_property
    def people(self) -> dict[str, list[PersonImage]]:
        """Images with valid names by split, without junk boxes."""
        named = {split: list(map(_named, paths)) for split, paths in self.splits.items()}
        return {
            split: [image for image in images if image and image.pid != JUNK]
            for split, images in named.items()
        }

    def counts(self) -> list[str]:
        """One line per split, and one line for distractors and junk boxes if there are any."""
        lines = [
            f"{name}: {len(images)} images, {len(by_identity(images))} identities, "
            f"{len({image.camid for image in images})} cameras"
            for name, images in self.people.items()
        ]
        junk = sum(bool(image and image.pid == JUNK) for image in map(_named, self.files))
        gallery = self.people["gallery"]
        distractors = sum(image.pid == DISTRACTOR for image in gallery)
        if junk or distractors:
            lines.append(
                f"of the gallery {distractors} are distractors; {junk} junk boxes not counted"
            )
        return lines


def _named(path: Path) -> PersonImage | None:
    try:
        return parse_name(path)
    except UserError:
        return None


def check_images(
    images: Images, progress: Callable[[Sequence[Path]], Iterable[Path]]
) -> list[Fault]:
    """Decode every image, and check names, identities, cameras and copies."""
    faults: list[Fault] = []
    for path, found in zip(progress(images.files), _decoded(images.files), strict=True):
        if isinstance(found, Fault):
            faults.append(found)
        else:
            images.contents[path] = found
    for split, files in images.splits.items():
        if not files:
            faults.append(Fault(True, f"{images.root / SPLITS[split]}: contains no image"))
    return [*faults, *_check_identities(**images.people), *_check_names(images.files),
            *_check_copies(images.contents)]  # fmt: skip


def _decoded(files: Sequence[Path]) -> Iterator[str | Fault]:
    """The SHA-256 of the pixels of each file, or what is wrong with it; on several cores."""
    pieces = [files[start : start + PIECE] for start in range(0, len(files), PIECE)]
    workers = max(1, min(CORES, len(files) // LEAST))
    return itertools.chain.from_iterable(spread(_decode_piece, pieces, workers))


def _decode_piece(files: Sequence[Path]) -> list[str | Fault]:
    return [_decode(path) for path in files]


def _decode(path: Path) -> str | Fault:
    try:
        parse_name(path)
        pixels = open_image(path)
    except UserError as error:
        return Fault(True, str(error))
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _check_identities(
    train: list[PersonImage], query: list[PersonImage], gallery: list[PersonImage]
) -> Iterator[Fault]:
    cameras: defaultdict[int, set[int]] = defaultdict(set)
    for image in train:
        cameras[image.pid].add(image.camid)
    if single := [pid for pid, seen in sorted(cameras.items()) if len(seen) == 1]:
        text = f"{len(single)} of {len(cameras)} training identities have one camera only"
        yield Fault(False, f"{text}: pid {some(single)}")
    both = sorted(cameras.keys() & {image.pid for image in query})
    if both:
        yield Fault(True, f"pid {both[0]} and {len(both) - 1} more are in training and in query")
    matches: defaultdict[int, set[int]] = defaultdict(set)
    for image in gallery:
        matches[image.pid].add(image.camid)
    unmatched = [image for image in query if not matches[image.pid] - {image.camid}]
    if query and len(unmatched) == len(query):
        yield Fault(True, "no query has a match in the gallery under another camera")
    elif unmatched:
        text = "queries have no match in the gallery under another camera and are not counted"
        yield Fault(False, f"{len(unmatched)} of {len(query)} {text}")


def _check_names(files: Sequence[Path]) -> Iterator[Fault]:
    """Equal names, and names that are equal without case and suffix."""
    counts = Counter(path.name for path in files)
    for name in sorted(name for name, count in counts.items() if count > 1):
        yield Fault(True, f"{name}: two images have this name")
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        alike[Path(name).stem.casefold()].append(name)
    clashes = [names for names in alike.values() if len(names) > 1]
    if clashes:
        text = f"{' and '.join(clashes[0])} differ in case or suffix only"
        yield Fault(False, text + like_it(len(clashes) - 1, "such name"))


def _check_copies(contents: dict[Path, str]) -> Iterator[Fault]:
    """Images with equal pixels, which are leaks if they are in training and in the test."""
    groups: defaultdict[str, list[PersonImage]] = defaultdict(list)
    for path, content in contents.items():
        groups[content].append(parse_name(path))
    copies = [group for group in groups.values() if len(group) > 1]
    leaks = [group for group in copies if _is_leak(group)]
    mislabelled = [group for group in copies if group not in leaks and len(_pids(group)) > 1]
    harmless = [group for group in copies if group not in leaks + mislabelled]
    for is_error, found, what in (
        (True, leaks, "are the same image, in training and in the test"),
        (True, mislabelled, "are the same image with two identities"),
        (False, harmless, "are the same image"),
    ):
        if found:
            text = f"{' and '.join(image.name for image in found[0])} {what}"
            yield Fault(is_error, text + like_it(len(found) - 1, "such image"))


def _is_leak(group: Sequence[PersonImage]) -> bool:
    is_train = {image.path.parent.name == FOLDERS[0] for image in group if image.pid != JUNK}
    return len(is_train) > 1


def _pids(group: Sequence[PersonImage]) -> set[int]:
    return {image.pid for image in group} - {JUNK, DISTRACTOR}
