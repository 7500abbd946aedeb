"""A manifest: a CSV that lists the images of a data set, so that no file has to be renamed.

    path,pid,camid,split                    and optionally keypoints
    crops/anna/17.png,anna,2,train
    crops/0001.jpg,ben,1,query

``path`` is relative to the folder of the manifest, or absolute. ``pid`` is any text; "-1" marks a
junk box, and an empty pid in the gallery a distractor. ``camid`` is a number, or empty in every row
if there are no camera labels. ``split`` is train, query or gallery. ``keypoints`` holds the two
lists of a row of ``keypoints.csv``: "[18 integers y]: [18 integers x]", or nothing. Other columns
are ignored.

Columns are separated by commas, semicolons or tabs. What spreadsheets and data frames make of the
cells is understood: 7.0 for the number 7, upper case in ``split``, backslashes in ``path``.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reid_aug.data.dataset import NO_CAMERA, camera_number
from reid_aug.data.keypoints import Pose, parse_pose
from reid_aug.data.listing import (
    DISTRACTOR_LABEL,
    JUNK_LABEL,
    SPLITS,
    ListedImage,
    Listing,
    numbers_of,
    person,
    relative,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.regular_files import read_text

NAME = "manifest"
MANIFEST_COLUMNS = ("path", "pid", "camid", "split")
KEYPOINTS_COLUMN = "keypoints"
LOOKS_LIKE = f"a CSV with the columns {','.join(MANIFEST_COLUMNS)}"
LONGEST_PID = 200
SEPARATORS = (",", ";", "\t")
WHOLE_NUMBER = re.compile(r"^(-?\d+)\.0+$")  # as data frames write a number of a column with gaps
NO_VALUE = ("nan", "null", "none", "<na>")  # as data frames write an empty cell
SPLIT_HINTS = {
    "test": "; divide the test images into query and gallery",
    "val": "; write train, or leave these images out",
}


class ManifestRow(NamedTuple):
    """A line of a manifest."""

    line: int
    path: str
    pid: str
    camid: str
    split: str
    keypoints: str


def fits(path: Path) -> bool:
    """Whether this is a CSV file, or another one whose first line names the columns."""
    return path.is_file() and (path.suffix.lower() == ".csv" or is_manifest(path))


def is_manifest(path: Path) -> bool:
    """Whether the first line of a file names the columns of a manifest."""
    try:
        if not path.is_file():
            return False
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            line = file.readline(4096)
        return set(MANIFEST_COLUMNS) <= set(_names(next(csv.reader([line], **_dialect(line)), [])))
    except (OSError, csv.Error):
        return False


def _dialect(text: str) -> dict[str, Any]:
    """The arguments of the CSV reader of a text, by the separator of its first line."""
    line = text.partition("\n")[0].partition("\r")[0]
    found = {mark: set(_names(line.replace('"', "").split(mark))) for mark in SEPARATORS}
    fitting = [mark for mark in SEPARATORS if set(MANIFEST_COLUMNS) <= found[mark]]
    return {"delimiter": fitting[0] if fitting else SEPARATORS[0], "strict": True}


def has_keypoints(path: Path) -> bool:
    """Whether a manifest has keypoints in any row."""
    return is_manifest(path) and any(row.keypoints for row in _rows(path))


def read(path: Path) -> Listing:
    """List the images of a manifest; rows that cannot be used become faults of the listing.

    Raises:
        UserError: If the file is no CSV in UTF-8, a column is missing or there is no row.
    """
    listing = Listing(NAME, path, dict.fromkeys(SPLITS, path))
    seen: dict[tuple[Path, str], int] = {}
    for row in _rows(path):
        where = f"{path}: line {row.line}"
        try:
            entry = _entry(row, path, where)
            if (entry.path, entry.split) in seen:
                first = seen[entry.path, entry.split]
                raise UserError(f"{where}: {row.path} is in {row.split} already, line {first}")
        except UserError as error:
            listing.faults[Path(where)] = str(error)
        else:
            seen[entry.path, entry.split] = row.line
            listing.entries.append(entry)
    return listing


def _entry(row: ManifestRow, manifest: Path, where: str) -> ListedImage:
    path = manifest.parent / row.path
    if not path.is_file() and "\\" in row.path:  # written on Windows
        path = manifest.parent / row.path.replace("\\", "/")
    if not row.path or not path.is_file():
        raise UserError(f"{where}: path must be an image file, got {row.path[:120]!r}")
    if row.split not in SPLITS:
        hint = SPLIT_HINTS.get(row.split, "")
        raise UserError(f"{where}: split must be {', '.join(SPLITS)}, got {row.split[:40]!r}{hint}")
    if len(row.pid) > LONGEST_PID or not row.pid.isprintable():
        raise UserError(f"{where}: pid must be at most {LONGEST_PID} printable characters")
    if row.pid.lower() in NO_VALUE:
        raise UserError(
            f"{where}: pid must be an identity, or empty for a distractor of the gallery, got "
            f"{row.pid!r}"
        )
    if row.pid == DISTRACTOR_LABEL and row.split != "gallery":
        raise UserError(f"{where}: pid must not be empty, except for distractors of the gallery")
    if row.camid and not row.camid.isdecimal():
        raise UserError(
            f"{where}: camid must be a number, or empty in every row, got {row.camid[:40]!r}"
        )
    camid = camera_number(row.camid, where) if row.camid else NO_CAMERA
    return ListedImage(path, row.split, row.pid, camid)


def keypoint_rows(path: Path) -> Iterator[tuple[int, str, Pose]]:
    """Yield the keypoints of a manifest as (line number, name of the image, pose).

    Raises:
        UserError: If a cell is malformed.
    """
    listing = read(path)
    numbers = numbers_of(listing)
    names = {e.path: person(listing, e, numbers).name for e in listing.entries}
    seen: set[Path] = set()
    for row in _rows(path):
        file = path.parent / row.path
        if file not in names:
            file = path.parent / row.path.replace("\\", "/")
        if row.keypoints and file in names and file not in seen:
            seen.add(file)
            yield row.line, names[file], parse_pose(row.keypoints, f"{path}: line {row.line}")


def _rows(path: Path) -> Iterator[ManifestRow]:
    try:
        text = read_text(path, encoding="utf-8-sig")
        with io.StringIO(text, newline="") as file:
            reader = csv.reader(file, **_dialect(text))
            names = _names(next(reader, []))
            if missing := [name for name in MANIFEST_COLUMNS if name not in names]:
                raise UserError(
                    f"{path}: line 1 must name the columns {', '.join(MANIFEST_COLUMNS)}, got no "
                    f"{' and no '.join(missing)}"
                )
            places = [names.index(name) for name in MANIFEST_COLUMNS]
            last = names.index(KEYPOINTS_COLUMN) if KEYPOINTS_COLUMN in names else None
            count = 0
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) <= max(places):
                    raise UserError(
                        f"{path}: line {reader.line_num}: must have {len(names)} columns, got "
                        f"{len(cells)}"
                    )
                pose = cells[last].strip() if last is not None and last < len(cells) else ""
                count += 1
                name, pid, camid, split = (cells[place].strip() for place in places)
                pid, camid = (WHOLE_NUMBER.sub(r"\1", number) for number in (pid, camid))
                yield ManifestRow(reader.line_num, name, pid, camid, split.lower(), pose)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: must be a CSV in UTF-8, got {error}") from None
    if not count:
        raise UserError(f"{path}: must list images, got none")


def _names(cells: Sequence[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def text(path: Path, entries: Iterable[ListedImage], poses: dict[Path, str]) -> str:
    """The text of a manifest.

    Args:
        path: its file.
        entries: its rows; paths in the folder of the manifest or below become relative.
        poses: the cells of the column ``keypoints`` by path; none if it is empty.
    """
    content = io.StringIO(newline="")
    lines = csv.writer(content)
    lines.writerow([*MANIFEST_COLUMNS, *([KEYPOINTS_COLUMN] if poses else [])])
    for entry in entries:
        camid = "" if entry.camid == NO_CAMERA else entry.camid
        name = relative(entry.path.absolute(), path.absolute().parent)
        label = JUNK_LABEL if entry.label == JUNK_LABEL else entry.label
        cells = [name, label, camid, entry.split]
        lines.writerow([*cells, *([poses.get(entry.path, "")] if poses else [])])
    return content.getvalue()
