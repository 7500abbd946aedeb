"""Checks of a data set without its keypoints."""

import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.data.check.faults import Fault, grouped, like_it, some
from reid_aug.data.check.identities import check_identities, check_labels
from reid_aug.data.check.near_copies import near_copies, signature
from reid_aug.data.dataset import (
    DISTRACTOR,
    JUNK,
    NO_CAMERA,
    SUFFIXES,
    PersonImage,
    by_identity,
    decode,
    far_from_shape,
)
from reid_aug.data.formats import market1501
from reid_aug.data.listing import (
    JUNK_LABEL,
    SPLITS,
    Listing,
    Numbers,
    ignored_text,
    natural,
    numbers_of,
    person,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.workers import CORES, spread

SHOWN_SIZES = 3  # sizes in the text; with more, a histogram of the heights follows
BAR = 40  # characters of its longest bar
MOST_CAMERAS = 12  # of a table of cameras in the text
DECODED_AT_ONCE = 256  # files that a process decodes at once
FILES_PER_PROCESS = 2000  # files per process; a process starts in the time of about 1,500


@dataclass(frozen=True, slots=True)
class Content:
    """What the decoded image of a file is like."""

    sha256: str
    """The hash of its pixels."""
    size: tuple[int, int]
    """Its (height, width)."""
    signature: np.ndarray
    """A small version, to find images that are nearly equal."""
    kind: str
    """The format of the file, as "JPEG"."""
    is_turned: bool
    is_scaled: bool
    is_transparent: bool


class Images:
    """The images of a data set by split, and what is wrong with the files that hold them."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.root = listing.root
        self.faults = [Fault(True, text, "name", (path,)) for path, text in listing.faults.items()]
        self.numbers = self._numbers()
        self.everything = [
            (entry.split, person(listing, entry, self.numbers)) for entry in listing.entries
        ]
        self.contents: dict[Path, Content] = {}  # of the images that decode

    def _numbers(self) -> Numbers:
        try:
            return numbers_of(self.listing)
        except UserError as error:
            self.faults.append(Fault(True, str(error), "identity"))
        labels = sorted({entry.label for entry in self.listing.entries}, key=natural)
        pids = {label: pid for pid, label in enumerate(labels, start=1)}
        return Numbers(pids | {JUNK_LABEL: JUNK, "": DISTRACTOR}, (), False)

    @cached_property
    def splits(self) -> dict[str, list[PersonImage]]:
        """The images by split, junk boxes included."""
        return {
            name: sorted(image for split, image in self.everything if split == name)
            for name in SPLITS
        }

    @cached_property
    def files(self) -> list[Path]:
        """Every image file once, those with wrong names included."""
        wrong = [path for path in self.listing.faults if path.is_file()]
        return [*dict.fromkeys(i.path for images in self.splits.values() for i in images), *wrong]

    @cached_property
    def by_name(self) -> dict[str, Path]:
        """Files by name; of several files with one name, the last."""
        return {image.name: image.path for images in self.splits.values() for image in images}

    def content(self, name: str) -> Content | None:
        """The content of an image; None if it cannot be read."""
        return self.contents.get(self.by_name[name])

    @cached_property
    def people(self) -> dict[str, list[PersonImage]]:
        """Images by split, without junk boxes."""
        return {
            split: [image for image in images if image.pid != JUNK]
            for split, images in self.splits.items()
        }

    @property
    def has_cameras(self) -> bool:
        """Whether the images have camera labels."""
        return all(image.camid != NO_CAMERA for _, image in self.everything)

    @cached_property
    def junk(self) -> int:
        """The number of junk boxes."""
        return sum(image.pid == JUNK for _, image in self.everything)

    @cached_property
    def distractors(self) -> int:
        """The number of distractors in the gallery."""
        return sum(image.pid == DISTRACTOR for image in self.people["gallery"])

    @cached_property
    def sizes(self) -> Counter[tuple[int, int]]:
        """The number of images by (height, width)."""
        return Counter(content.size for content in self.contents.values())

    @cached_property
    def kinds(self) -> Counter[str]:
        """The number of images by the format of the file."""
        return Counter(content.kind for content in self.contents.values())

    def counts(self) -> list[str]:
        """Lines with the counts of the splits, distractors, junk boxes, sizes and cameras."""
        lines = [f"layout: {self.listing.format}, {self.root}"]
        if self.listing.note:
            lines.append(f"note: {self.listing.note}")
        for name, images in self.people.items():
            cameras = len({image.camid for image in images}) if self.has_cameras else "no"
            lines.append(
                f"{name}: {len(images)} images, {len(by_identity(images))} identities, "
                f"{cameras} cameras"
            )
        if self.junk or self.distractors:
            lines.append(
                f"of the gallery {self.distractors} are distractors; {self.junk} junk boxes not "
                f"counted"
            )
        if not self.has_cameras:
            lines.append(
                "no camera labels: the evaluation ignores only the query itself, so its scores do "
                "not compare with those of data sets with cameras"
            )
        if self.numbers.labels:
            lines.append("pids: numbered from 1, as the identities are no numbers or begin at 0")
        return [*lines, *self._size_lines(), *self._camera_lines()]

    def _size_lines(self) -> list[str]:
        if not self.sizes:
            return []
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(self.kinds.items()))
        most = self.sizes.most_common(SHOWN_SIZES)
        found = [f"{high}x{wide}: {count}" for (high, wide), count in most]
        if others := sum(self.sizes.values()) - sum(count for _, count in most):
            found.append(f"{len(self.sizes) - len(most)} other sizes: {others}")
        lines = [f"images by file format: {kinds}", f"images by height x width: {', '.join(found)}"]
        return lines + (self._histogram() if len(self.sizes) > SHOWN_SIZES else [])

    def _histogram(self) -> list[str]:
        """The number of images by height, one line per factor of the square root of 2."""
        bins = Counter[int]()
        for (height, _), count in self.sizes.items():
            bins[math.floor(2 * math.log2(height))] += count
        most = max(bins.values())
        return [
            f"{math.ceil(2 ** (k / 2)):>6} to {math.ceil(2 ** ((k + 1) / 2)) - 1:>5} high: "
            f"{bins[k]:>6} {'#' * round(BAR * bins[k] / most)}"
            for k in range(min(bins), max(bins) + 1)
        ]

    def camera_table(self, split: str) -> dict[int, dict[int, int]]:
        """The number of identities that two cameras share; with itself, those of one camera."""
        cameras: defaultdict[int, set[int]] = defaultdict(set)
        for image in self.people[split]:
            if image.pid != DISTRACTOR:
                cameras[image.pid].add(image.camid)
        found: defaultdict[int, Counter[int]] = defaultdict(Counter)
        for seen in cameras.values():
            for camid in seen:
                found[camid].update(seen)
        return {camid: dict(sorted(found[camid].items())) for camid in sorted(found)}

    def _camera_lines(self) -> list[str]:
        table = self.camera_table("train") if self.has_cameras else {}
        if not 1 < len(table) <= MOST_CAMERAS:
            return []
        lines = ["training identities per camera, and shared by two cameras:"]
        lines.append("camera" + "".join(f"{camid:>7}" for camid in table))
        for camid, row in table.items():
            lines.append(f"{camid:>6}" + "".join(f"{row.get(other, 0):>7}" for other in table))
        return lines

    def record(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return {
            "layout": self.listing.format,
            "root": str(self.root),
            "splits": {
                name: {
                    "images": len(images),
                    "identities": len(by_identity(images)),
                    "cameras": len({i.camid for i in images}) if self.has_cameras else 0,
                }
                for name, images in self.people.items()
            },
            "distractors": self.distractors,
            "junk": self.junk,
            "has_cameras": self.has_cameras,
            "are_pids_assigned": bool(self.numbers.labels),
            "formats": dict(sorted(self.kinds.items())),
            "ignored": [str(path) for path in self.listing.ignored],
            "sizes": [
                {"height": high, "width": wide, "images": count}
                for (high, wide), count in sorted(self.sizes.items())
            ],
            "identities_by_cameras": {split: self.camera_table(split) for split in SPLITS}
            if self.has_cameras
            else {},
        }


def check_images(
    images: Images, progress: Callable[[Sequence[Path]], Iterable[Path]]
) -> list[Fault]:
    """Decode every image, and check names, identities, cameras, sizes and copies."""
    faults = list(images.faults)
    for path, found in zip(progress(images.files), _decoded(images.files), strict=True):
        if isinstance(found, Fault):
            faults.append(found)
        else:
            images.contents[path] = found
    labels = {entry.label for entry in images.listing.entries} if images.numbers.labels else set()
    return [
        *grouped(faults), *_check_splits(images), *_check_files(images),
        *grouped(list(_check_shapes(images.contents))), *_check_upright(images),
        *check_identities(**images.people), *check_labels(labels), *_check_names(images),
        *_check_copies(images), *_check_near_copies(images),
    ]  # fmt: skip


def _check_splits(images: Images) -> Iterator[Fault]:
    for split, files in images.splits.items():
        if not files and not images.listing.faults:
            text = f"{images.listing.places[split]}: contains no image, for the split {split}"
            yield Fault(True, f"{text}{_unread(images.listing, split)}", "empty")
        elif not files:
            text = (
                f"{images.listing.places[split]}: contains no usable image, for the split {split}"
            )
            yield Fault(True, text, "empty")


def _unread(listing: Listing, split: str) -> str:
    """What lies in the folder of a split instead of images, as the end of a message."""
    place = listing.places[split]
    ignored = [path for path in listing.ignored if path.is_relative_to(place)]
    rule = f"whose name must end with {' or '.join(SUFFIXES)}"
    return f", {rule}; {ignored_text(ignored)}" if ignored else ""


def _decoded(files: Sequence[Path]) -> Iterator[Content | Fault]:
    """The content of each file, or what is wrong with it; on several cores."""
    pieces = [
        files[start : start + DECODED_AT_ONCE] for start in range(0, len(files), DECODED_AT_ONCE)
    ]
    workers = max(1, min(CORES, len(files) // FILES_PER_PROCESS))
    return itertools.chain.from_iterable(spread(_decode_piece, pieces, workers))


def _decode_piece(files: Sequence[Path]) -> list[Content | Fault]:
    return [_decode(path) for path in files]


def _decode(path: Path) -> Content | Fault:
    try:
        found = decode(path)
    except UserError as error:
        return Fault(True, str(error), "image", (path,))
    pixels = found.pixels
    digest = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    size = pixels.shape[0], pixels.shape[1]
    return Content(
        digest, size, signature(pixels), found.kind, found.is_turned, found.is_scaled,
        found.is_transparent,
    )  # fmt: skip


def _check_files(images: Images) -> Iterator[Fault]:
    if images.listing.ignored:
        yield Fault(False, f"{images.root}: {ignored_text(images.listing.ignored)}", "ignored")
    for kind, attribute, text in (
        (
            "orientation", "is_turned",
            "images have an EXIF orientation; they are read upright, as keypoints must be",
        ),
        ("depth", "is_scaled", "images have 16 bits per sample; they are scaled to 8"),
        (
            "transparency", "is_transparent",
            "images are transparent in part; the colours under the transparency are used",
        ),
    ):  # fmt: skip
        found = [path.name for path, c in images.contents.items() if getattr(c, attribute)]
        if found:
            yield Fault(False, f"{len(found)} {text}: {some(found)}", kind)


def _check_shapes(contents: dict[Path, Content]) -> Iterator[Fault]:
    if not contents:
        return
    usual = float(np.median([c.size[0] / c.size[1] for c in contents.values()]))
    for path, content in contents.items():
        if text := far_from_shape(content.size, usual):
            yield Fault(True, f"{path}: {text}", "shape", (path,))


def _check_upright(images: Images) -> Iterator[Fault]:
    """Whether the usual image is wider than high, as people are not."""
    if not images.contents or images.listing.format == market1501.VERI:
        return
    (height, width), count = images.sizes.most_common(1)[0]
    usual = float(np.median([c.size[0] / c.size[1] for c in images.contents.values()]))
    if usual < 1:
        text = (
            f"crops of people must be higher than wide, got {height} high and {width} wide for "
            f"{count} of {len(images.contents)} images; are they whole frames, sheets or turned?"
        )
        yield Fault(False, f"{images.root}: {text}", "wide")


def _check_names(images: Images) -> Iterator[Fault]:
    """Equal names, and names that are equal without case and suffix."""
    paths: defaultdict[str, set[Path]] = defaultdict(set)
    for _, image in images.everything:
        paths[image.name].add(image.path)
    for path in images.listing.faults:
        if path.is_file():
            paths[path.name].add(path)
    for name in sorted(name for name, found in paths.items() if len(found) > 1):
        files = tuple(sorted(paths[name])[1:])
        yield Fault(True, f"{name}: two images have this name", "equal names", files)
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(paths):
        alike[name.rpartition(".")[0].casefold()].append(name)
    clashes = [names for names in alike.values() if len(names) > 1]
    if clashes:
        text = f"{' and '.join(clashes[0])} differ in case or suffix only"
        yield Fault(False, text + like_it(len(clashes) - 1, "such name"), "similar names")


Placed = tuple[str, PersonImage]  # split and image


def _check_copies(images: Images) -> Iterator[Fault]:
    """Images with equal pixels, which are leaks if they are in training and in the test."""
    groups: defaultdict[str, list[Placed]] = defaultdict(list)
    for split, image in images.everything:
        if content := images.contents.get(image.path):
            groups[content.sha256].append((split, image))
    copies = [group for group in groups.values() if len({i.path for _, i in group}) > 1]
    copies += [g for g in groups.values() if len({i.path for _, i in g}) == 1 and _is_leak(g)]
    leaks = [group for group in copies if _is_leak(group)]
    mislabelled = [group for group in copies if group not in leaks and len(_pids(group)) > 1]
    harmless = [group for group in copies if group not in leaks + mislabelled]
    for is_error, found, kind, what in (
        (True, leaks, "leak", "are the same image, in training and in the test"),
        (True, mislabelled, "two identities", "are the same image with two identities"),
        (False, harmless, "copies", "are the same image"),
    ):
        if found:
            text = f"{' and '.join(image.name for _, image in found[0])} {what}"
            text += like_it(len(found) - 1, "such image")
            yield Fault(is_error, text, kind, tuple(_left_out(found, kind)))


def _left_out(groups: Iterable[Sequence[Placed]], kind: str) -> Iterator[Path]:
    """The files to leave out: training images of leaks, all copies with two identities."""
    for group in groups:
        for split, image in group:
            if (kind == "leak" and split == "train") or kind == "two identities":
                yield image.path


def _is_leak(group: Sequence[Placed]) -> bool:
    return len({split == "train" for split, image in group if image.pid != JUNK}) > 1


def _pids(group: Sequence[Placed]) -> set[int]:
    return {image.pid for _, image in group} - {JUNK, DISTRACTOR}


def _check_near_copies(images: Images) -> Iterator[Fault]:
    """Training images that are nearly equal to a test image."""
    known = images.contents
    train = [i.path for i in images.people["train"] if i.path in known]
    test = [i.path for name in ("query", "gallery") for i in images.people[name] if i.path in known]
    signatures = {path: content.signature for path, content in known.items()}
    hashes = {path: content.sha256 for path, content in known.items()}
    if pairs := near_copies(train, test, signatures, hashes):
        first, second = pairs[0]
        text = f"{first.name} and {second.name} are nearly the same image, in training and test"
        files = tuple(path for path, _ in pairs)
        text += like_it(len(pairs) - 1, "such training image")
        yield Fault(True, text, "near leak", files)
