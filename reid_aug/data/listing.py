"""What a format finds on the disk, and the data set that follows from it.

A format (:mod:`reid_aug.data.formats`) lists the image files of a data set with the identity, the
camera and the split of each, as the data set writes them. :func:`dataset_of` makes a
:class:`Dataset` of such a listing by the same rules for every format:

- The name of an image is its file name, which identifies it in keypoint files, banks and results.
  If two files have one name, the names of all images are their paths relative to the data set.
- The identity 0 (or 0000) marks distractors if only the gallery has it.
- ``pid`` is the identity if every identity is a number and none of training and query is 0.
  Otherwise the identities are numbered from 1 in natural order (2 before 10, a before b), and
  ``Dataset.labels`` has the identity of every pid.
- Without any camera, every ``camid`` is :data:`NO_CAMERA`.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from reid_aug.data.dataset import (
    DISTRACTOR,
    JUNK,
    LARGEST_PID,
    NO_CAMERA,
    Dataset,
    PersonImage,
    images_below,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed

SPLITS = ("train", "query", "gallery")
JUNK_LABEL, DISTRACTOR_LABEL = "-1", ""


class ListedImage(NamedTuple):
    """An image file, as a data set lists it."""

    path: Path
    split: str
    """One of :data:`SPLITS`."""
    label: str
    """The identity; "-1" for a junk box, "" for a distractor."""
    camid: int
    """The camera, or NO_CAMERA."""


@dataclass(slots=True)
class Listing:
    """The image files of a data set, before its identities are numbered."""

    format: str
    """The name of the format, for messages."""
    root: Path
    """The folder of the data set, or its manifest."""
    places: dict[str, Path]
    """The folder or list of each split."""
    entries: list[ListedImage] = field(default_factory=list)
    faults: dict[Path, str] = field(default_factory=dict)
    """One sentence per image file, or line, that cannot be used."""
    ignored: list[Path] = field(default_factory=list)
    """Files and folders beside the images that are not read, without harmless ones."""
    note: str = ""
    """What a user of the format must know, for ``check``."""
    is_numbered: bool = False
    """Whether the format itself defines numbers: 0 marks distractors, names identify images."""

    def add(self, path: Path, split: str, parse: Callable[[Path], tuple[str, int]]) -> None:
        """Add an image file whose label and camid ``parse`` returns; a UserError is a fault."""
        try:
            self.entries.append(ListedImage(path, split, *parse(path)))
        except UserError as error:
            self.faults[path] = str(error)


class Numbers(NamedTuple):
    """The numbers and names of the images of a listing."""

    pids: dict[str, int]
    """The pid of each label."""
    labels: tuple[str, ...]
    """The labels of pids 1, 2, ..., if pids were assigned; else ()."""
    has_long_names: bool
    """Whether names are relative paths, because file names are not unique."""


def numbers_of(listing: Listing) -> Numbers:
    """The pids of the labels of a listing, and how its images are named.

    Raises:
        UserError: If a pid or a camid is out of range, an identity is 0 although the format gives
            0 to distractors, or only some images have a camera.
    """
    _check_cameras(listing)
    known = {JUNK_LABEL: JUNK, **dict.fromkeys(_distractor_labels(listing), DISTRACTOR)}
    labels = {entry.label for entry in listing.entries} - known.keys()
    pids, assigned = _pids(listing, labels), tuple[str, ...]()
    if pids is None:
        assigned = tuple(sorted(labels, key=natural))
        pids = {label: pid for pid, label in enumerate(assigned, start=1)}
    long = not listing.is_numbered and _has_equal_names(listing)
    return Numbers(pids | known, assigned, long)


def dataset_of(listing: Listing) -> Dataset:
    """The data set of a listing.

    Raises:
        UserError: If an image cannot be used or a split has no image, and as :func:`numbers_of`.
    """
    for text in listing.faults.values():
        raise UserError(text)
    numbers = numbers_of(listing)
    lists = []
    for split in SPLITS:
        people = list(people_of(listing, split, numbers))
        if not people:
            found = sum(entry.split == split for entry in listing.entries)
            got = f"only {found} junk boxes" if found else "none"
            hint = ignored_text(listing.ignored) if listing.ignored else ""
            raise UserError(
                f"{listing.places[split]}: must hold images (0002_c1s1_000451_03.jpg, ...), got "
                f"{got}" + (f"; {hint}" if hint else "")
            )
        lists.append(tuple(sorted(people, key=lambda image: (image.name, image.path))))
    train, query, gallery = lists
    return Dataset(train, query, gallery, numbers.labels, notes_of(listing))


def notes_of(listing: Listing) -> tuple[str, ...]:
    """What a user must know of the files of a listing, one sentence each."""
    notes = [f"{listing.format}: {listing.note}"] if listing.note else []
    if listing.ignored:
        notes.append(f"{listing.root}: {ignored_text(listing.ignored)}")
    return tuple(notes)


def people_of(listing: Listing, split: str, numbers: Numbers) -> Iterator[PersonImage]:
    """The images of a split, without junk boxes."""
    for entry in listing.entries:
        if entry.split == split and entry.label != JUNK_LABEL:
            yield person(listing, entry, numbers)


def person(listing: Listing, entry: ListedImage, numbers: Numbers) -> PersonImage:
    """The image of an entry."""
    alias = relative(entry.path, listing.root) if numbers.has_long_names else ""
    return PersonImage(entry.path, numbers.pids[entry.label], entry.camid, alias)


def relative(path: Path, root: Path) -> str:
    """The path relative to the data set, with slashes; the whole path if it lies elsewhere."""
    folder = root if root.is_dir() else root.parent
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def natural(label: str) -> list[tuple[int, int, str]]:
    """The key that sorts texts by the numbers in them, not by their digits.

    >>> sorted(["b", "10", "a2", "2", "a10"], key=natural)
    ['2', '10', 'a2', 'a10', 'b']
    """
    parts = re.findall(r"\d+|\D+", label)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _distractor_labels(listing: Listing) -> set[str]:
    """The empty label, and those of the number 0 that only the gallery has."""
    zeros = {e.label for e in listing.entries if e.label and not e.label.strip("0")}
    named = {e.label for e in listing.entries if e.label in zeros and e.split != "gallery"}
    return {DISTRACTOR_LABEL} | (set() if named else zeros)


def _pids(listing: Listing, labels: set[str]) -> dict[str, int] | None:
    """The pids if the labels are numbers; None if they have to be assigned."""
    if not all(label.isdecimal() for label in labels):
        return None
    pids = {label: int(label) for label in labels if len(label) <= 40}
    too_large = sorted(label for label in labels if pids.get(label, LARGEST_PID + 1) > LARGEST_PID)
    zeros = {label for label in labels if not label.strip("0")}
    named = [e for e in listing.entries if e.label in zeros and e.split != "gallery"]
    if listing.is_numbered and too_large:
        entry = next(e for e in listing.entries if e.label in too_large)
        raise UserError(
            f"{entry.path}: pid must be at most {LARGEST_PID}, got {len(entry.label)} digits; "
            f"rename the files, or list them in a manifest CSV (path,pid,camid,split), whose pids "
            f"may be any text"
        )
    if listing.is_numbered and named:
        raise UserError(
            f"{named[0].path}: pid 0 marks distractors of the gallery, so no identity can have it; "
            f"got {len(named)} such images in training or query; number the identities from 1, or "
            f"list the files in a manifest CSV (path,pid,camid,split)"
        )
    equal = len(set(pids.values())) < len(pids)  # "7" and "007"
    return None if too_large or named or (equal and not listing.is_numbered) else pids


def _check_cameras(listing: Listing) -> None:
    bare = [entry for entry in listing.entries if entry.camid == NO_CAMERA]
    if bare and len(bare) < len(listing.entries):
        raise UserError(
            f"{bare[0].path}: every image must have a camera, or none; got none for {len(bare)} of "
            f"{len(listing.entries)} images; add the missing ones, or remove the camera of all"
        )


def _has_equal_names(listing: Listing) -> bool:
    paths = {entry.path for entry in listing.entries}
    return len({path.name for path in paths}) < len(paths)


def ignored_text(ignored: Sequence[Path]) -> str:
    """What is not read, by kind, with an example of each; of folders, the images in them too."""
    kinds: dict[str, list[Path]] = {}
    folders = [path for path in ignored if path.is_dir()]
    for path in set(ignored) - set(folders):
        kinds.setdefault(path.suffix or "no suffix", []).append(path)
    found = [f"{len(paths)} {kind} ({min(paths).name})" for kind, paths in sorted(kinds.items())]
    if folders:
        images = sum(1 for folder in folders for _ in images_below(folder))
        holding = f" with {images} images" if images else ""
        found.append(
            f"{len(folders)} folder{'s' * (len(folders) > 1)} ({folders[0].name}){holding}"
        )
    return f"{len(ignored)} ignored beside the images: {', '.join(found)}"


def write_labels(path: Path, labels: Sequence[str]) -> None:
    """Write the identities of pids 1, 2, ... as a CSV with the columns pid, identity."""
    with committed(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerows([("pid", "identity"), *enumerate(labels, start=1)])
