"""The bank: generated images and where each came from, in one HDF5 file.

    /images     (N, H, W, 3) uint8    RGB, contiguous: one seek reads one image
    /pid        (N,) int32            identity, as in the source's file name
    /camid      (N,) int16            camera whose look the image has
    /source     (N,) bytes            file name of the image that gave the look
    /target     (N,) bytes            file name of the image that gave the pose
    /keypoints  (N, 18, 2) float32    the pose asked for: x, y in pixels, NaN unseen
    /scores/*   (N,) float32          scores of each image, where some were computed; NaN: not yet
    attrs       format, synthetic, keep, keep_seed, kept_sha256, dataset_sha256, keypoints_sha256,
                generator_sha256, generator_data, ratio, mode, plan (JSON), seed, images_sha256,
                scores (JSON: what each score was made with), content_sha256 (columns, attributes)

Rows are in seat order, so the first G rows are the bank of a smaller ratio. Nothing in the file
depends on time, path, host or worker count; those go to ``bank.json`` beside it.

A bank from elsewhere is hostile input: links, external storage, virtual and filtered datasets are
refused, and shapes, types and the checksum of all but the pixels are checked, before a pixel is
read. :meth:`Bank.check_pixels` checks theirs, which reads the whole file; a mix does so before it
is used.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reid_aug.errors import UserError
from reid_aug.files import committed

FORMAT = "reid_aug.bank/1"
JOINTS = 18
LARGEST_SIDE = 2048
TEXT_ATTRIBUTES = (
    "kept_sha256", "dataset_sha256", "keypoints_sha256", "generator_sha256", "generator_data",
    "mode", "plan", "images_sha256",
)  # fmt: skip
NUMBER_ATTRIBUTES = ("keep", "keep_seed", "ratio", "seed")
OPTIONAL_ATTRIBUTES = ("scores", "content_sha256")  # older banks have none of them
LONGEST_NAME = 1024  # bytes
SCORE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
DAMAGED = (  # what h5py was seen to raise on broken files
    OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError,
    ArithmeticError, SystemError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One generated image, (H, W, 3) uint8, and its provenance; ``keypoints`` is (18, 2)."""

    image: np.ndarray
    pid: int
    camid: int
    source: str
    target: str
    keypoints: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The columns of a bank beside the pixels, one value a row."""

    pid: np.ndarray
    camid: np.ndarray
    source: np.ndarray
    target: np.ndarray
    keypoints: np.ndarray

    def __len__(self) -> int:
        return len(self.pid)


class Bank:
    """A bank file, read only; safe to hand to DataLoader workers.

    An HDF5 handle must not cross a fork or a pickle, so it is kept with the id of the process that
    opened it, and any other process opens its own.

    Raises:
        UserError: If the file is missing, is no bank, or holds what a bank may not hold.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(
                f"{path} is missing; make it with: reid-aug synthesize (same --data and --out)"
            )
        try:
            with h5py.File(self.path) as file:
                self.attributes = _read_attributes(file, self.path)
                self.rows = _read_rows(file, self.path)
                self.scores = _read_scores(file, len(self.rows), self.path)
                self.height, self.width = file["images"].shape[1:3]
        except UserError:
            raise
        except DAMAGED as error:
            text = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"{path}: must be a bank (HDF5), got {text}") from None
        self._check_content()
        self.about_scores = self._parse_about_scores()
        self._opened: tuple[int, h5py.Dataset] | None = None
        self._has_right_pixels = False

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Entry:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row must be below {len(self)}, got {row}")
        rows, row = self.rows, row % len(self)
        names = str(rows.source[row]), str(rows.target[row])
        return Entry(
            self.image(row), int(rows.pid[row]), int(rows.camid[row]), *names, rows.keypoints[row]
        )

    def image(self, row: int) -> np.ndarray:
        """The pixels of one row: (H, W, 3) uint8."""
        return self._images()[row]

    @property
    def plan(self) -> dict[str, Any]:
        """How the rows were drawn: artist, cameras, poses, height, width and more.

        Raises:
            UserError: If the attribute says nothing of the kind.
        """
        text = self.attributes["plan"]
        try:  # old banks do not say who drew them
            found = {"artist": "generator", "cameras": "source", **json.loads(text)}
        except (ValueError, TypeError):
            found = {}
        if not all(isinstance(found.get(key), str) for key in ("artist", "cameras")):
            raise UserError(f"{self.path}: attribute plan must be a JSON object, got {text!r}")
        return found

    def _parse_about_scores(self) -> dict[str, dict[str, Any]]:
        """What each score was made with: {name: {"data": what its scorer knows, ...}}."""
        text = self.attributes.get("scores", "{}")
        try:
            found = json.loads(text)
            fits = set(found) == set(self.scores) and all(
                isinstance(about, dict) and isinstance(about.get("data"), str)
                for about in found.values()
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            fits = False
        if not fits:
            raise UserError(
                f"{self.path}: attribute scores must tell of each of the scores "
                f"({', '.join(self.scores) or 'none'}), got {text[:80]!r}"
            )
        return found

    def _check_content(self) -> None:
        """Raise a UserError if columns or attributes are not what was written."""
        wanted = self.attributes.get("content_sha256")
        if wanted is not None:
            found = _content_sha256(self.attributes, _columns(self.rows, self.scores))
            _compare(self.path, "columns and attributes", wanted, found)

    def check_pixels(self) -> None:
        """Read all pixels once, and compare their checksum.

        Raises:
            UserError: If they are not what was written.
        """
        if self._has_right_pixels:
            return
        digest = hashlib.sha256()
        for start in range(0, len(self), 1024):
            digest.update(self.images(start, min(start + 1024, len(self))).data)
        _compare(self.path, "images", self.attributes["images_sha256"], digest.hexdigest())
        self._has_right_pixels = True

    def chosen_sha256(self, rows: Sequence[int]) -> str:
        """As :meth:`rows_sha256`, of some rows."""
        digest = hashlib.sha256()
        for row in rows:
            names = f"{self.rows.source[row]}\n{self.rows.target[row]}\n"
            digest.update(self.image(row).data)
            digest.update(names.encode())
        return digest.hexdigest()

    def images(self, start: int, stop: int) -> np.ndarray:
        """The pixels of neighbouring rows: (stop - start, H, W, 3) uint8."""
        return self._images()[start:stop]

    def rows_sha256(self, count: int) -> str:
        """One hash of the first ``count`` rows: pixels and where they came from."""
        digest = hashlib.sha256()
        for start in range(0, count, 1024):
            digest.update(self.images(start, min(start + 1024, count)).data)
        for names in (self.rows.source, self.rows.target):
            digest.update("\n".join(names[:count]).encode())
        return digest.hexdigest()

    def _images(self) -> h5py.Dataset:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), h5py.File(self.path)["images"]
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def _read_attributes(file: h5py.File, path: Path) -> dict[str, Any]:
    found = file.attrs.get("format")
    if not isinstance(found, str) or found != FORMAT:
        raise UserError(f"{path}: must be a bank ({FORMAT}), got format {found!r}")
    values: dict[str, Any] = {}
    for name in (*TEXT_ATTRIBUTES, *NUMBER_ATTRIBUTES):
        value = file.attrs.get(name)
        wanted = str if name in TEXT_ATTRIBUTES else int | float | np.number
        if not isinstance(value, wanted):
            raise UserError(f"{path}: attribute {name} must be there, got {value!r}")
        values[name] = value.item() if isinstance(value, np.generic) else value
    for name in OPTIONAL_ATTRIBUTES:
        if name in file.attrs:
            value = file.attrs[name]
            if not isinstance(value, str):
                raise UserError(f"{path}: attribute {name} must be text, got {value!r}")
            values[name] = value
    return values


def _read_scores(file: h5py.File, count: int, path: Path) -> dict[str, np.ndarray]:
    if "scores" not in file:
        return {}
    group = file.get("scores", getlink=True)
    if not isinstance(group, h5py.HardLink) or not isinstance(file["scores"], h5py.Group):
        raise UserError(f"{path}: scores must be a group stored in the file, got {group!r}")
    scores = {}
    for name in sorted(file["scores"]):
        if not SCORE_NAME.fullmatch(name):
            raise UserError(f"{path}: a score must have a plain name, got {name[:40]!r}")
        score = _dataset(file, f"scores/{name}", path)
        if score.shape != (count,) or score.dtype != np.float32:
            raise UserError(f"{path}: score {name} must be {count} float32, got {_kind(score)}")
        scores[name] = score[:]
    return scores


def _read_rows(file: h5py.File, path: Path) -> Rows:
    images = _dataset(file, "images", path)
    count = images.shape[0] if images.ndim else 0
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] != 3
        or not 1 <= min(images.shape[1:3]) <= max(images.shape[1:3]) <= LARGEST_SIDE
    ):
        raise UserError(f"{path}: images must be (N, H, W, 3) uint8, got {_kind(images)}")
    wanted = {
        "pid": ((count,), "i"),
        "camid": ((count,), "i"),
        "source": ((count,), "S"),
        "target": ((count,), "S"),
        "keypoints": ((count, JOINTS, 2), "f"),
    }
    columns = {}
    for name, (shape, kind) in wanted.items():
        column = _dataset(file, name, path)
        if column.shape != shape or column.dtype.kind != kind:
            raise UserError(f"{path}: {name} must be {shape} of kind {kind}, got {_kind(column)}")
        if kind == "S" and column.dtype.itemsize > LONGEST_NAME:
            raise UserError(f"{path}: {name} must be at most {LONGEST_NAME} bytes a name")
        columns[name] = np.char.decode(column[:], "utf-8") if kind == "S" else column[:]
    return Rows(**columns)


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """The dataset itself, stored in this very file without chunks or filters."""
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise UserError(f"{path}: {name} must be a dataset stored in the file, got {link!r}")
    dataset = file[name]
    if dataset.is_virtual or dataset.external or dataset.chunks:
        raise UserError(f"{path}: {name} must be stored contiguously in the file itself")
    if dataset.size and dataset.id.get_offset() is None:
        raise UserError(
            f"{path}: {name} must hold what it announces, {_kind(dataset)}, got nothing"
        )
    if dataset.size and dataset.id.get_offset() + dataset.nbytes > path.stat().st_size:
        raise UserError(
            f"{path}: {name} must hold what it announces, {_kind(dataset)}, got a shorter file"
        )
    return dataset


def _compare(path: Path, what: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise UserError(
            f"{path}: its {what} must have SHA-256 {wanted[:12]}, got {found[:12]}: the file is "
            f"damaged or was changed; copy it again, or remove it and make it again"
        )


def _kind(dataset: h5py.Dataset) -> str:
    return f"{dataset.shape} {dataset.dtype}"


def write_bank(
    path: Path | str,
    rows: Rows,
    shards: Iterable[np.ndarray],
    attributes: Mapping[str, Any],
    scores: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a whole bank; the file appears only once it is complete.

    Args:
        path: where to.
        rows: the columns; ``source`` and ``target`` as text.
        shards: the pixels, (n, H, W, 3) uint8 each, in row order.
        attributes: every attribute of the module's docstring but format, synthetic and checksums;
            ``scores`` only where there are some.
        scores: (N,) numbers by name.

    Raises:
        UserError: If there is no room for it.
    """
    with committed(path) as part:
        try:
            with h5py.File(part, "w", libver="earliest") as file:
                _fill(file, rows, shards, attributes, scores or {})
        except RuntimeError as error:  # HDF5, when it closes a file that it could not write
            number = re.search(r"errno = (\d+)", str(error))
            raise OSError(int(number[1]), str(path)) if number else error from None


def _fill(
    file: h5py.File,
    rows: Rows,
    shards: Iterable[np.ndarray],
    attributes: Mapping[str, Any],
    scores: Mapping[str, np.ndarray],
) -> None:
    digest, done, images = hashlib.sha256(), 0, None
    for shard in shards:
        if images is None:
            images = file.create_dataset("images", (len(rows), *shard.shape[1:]), np.uint8)
        images[done : done + len(shard)] = shard
        digest.update(np.ascontiguousarray(shard).data)
        done += len(shard)
    if done != len(rows):
        raise ValueError(f"{file.filename}: {len(rows)} rows were promised, {done} drawn")
    columns = _columns(rows, scores)
    for name, column in columns.items():
        file.create_dataset(name, data=column, track_times=False)
    whole = {**attributes, "images_sha256": digest.hexdigest()}
    head = {"format": FORMAT, "synthetic": True, "content_sha256": _content_sha256(whole, columns)}
    for name, value in sorted({**whole, **head}.items()):
        file.attrs[name] = value


def _columns(rows: Rows, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The datasets beside the pixels, as they are stored."""
    columns: dict[str, np.ndarray] = {
        "pid": rows.pid.astype(np.int32),
        "camid": rows.camid.astype(np.int16),
        "source": np.char.encode(rows.source, "utf-8"),
        "target": np.char.encode(rows.target, "utf-8"),
        "keypoints": rows.keypoints.astype(np.float32),
    }
    return columns | {f"scores/{name}": scores[name].astype(np.float32) for name in sorted(scores)}


def _content_sha256(attributes: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> str:
    """One hash of the attributes and of all columns, and so, by their checksum, of the pixels."""
    names = sorted({*attributes} - {"content_sha256"})
    digest = hashlib.sha256(json.dumps([[name, attributes[name]] for name in names]).encode())
    for name, column in columns.items():
        digest.update(f"{name} {column.shape} {column.dtype.str}".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
