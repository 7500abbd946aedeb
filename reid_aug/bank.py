"""The bank: generated images and where each came from, in one HDF5 file.

    /images     (N, H, W, 3) uint8    RGB, contiguous: one seek reads one image
    /pid        (N,) int32            identity, as in the source's file name
    /camid      (N,) int16            camera whose look the image has
    /source     (N,) bytes            file name of the image that gave the look
    /target     (N,) bytes            file name of the image that gave the pose
    /keypoints  (N, 18, 2) float32    the pose asked for: x, y in pixels, NaN unseen
    /scores/*   (N,) float32          scores of each image, where some were computed
    attrs       format, synthetic, keep, keep_seed, kept_sha256, dataset_sha256, keypoints_sha256,
                generator_sha256, generator_data, ratio, mode, plan (JSON), seed, images_sha256

Rows are in seat order, so the first G rows are the bank of a smaller ratio. Nothing in the file
depends on time, path, host or worker count; those go to ``bank.json`` beside it.

A bank from elsewhere is hostile input: links, external storage, virtual and filtered datasets are
refused, and shapes and types checked, before a pixel is read.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
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
                self.height, self.width = file["images"].shape[1:3]
        except (OSError, KeyError, RuntimeError, UnicodeDecodeError, MemoryError) as error:
            raise UserError(f"{path}: must be a bank (HDF5), got {error}") from None
        self._opened: tuple[int, h5py.Dataset] | None = None

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
    return values


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
    return dataset


def _kind(dataset: h5py.Dataset) -> str:
    return f"{dataset.shape} {dataset.dtype}"


def write_bank(
    path: Path | str, rows: Rows, shards: Iterable[np.ndarray], attributes: Mapping[str, Any]
) -> None:
    """Write a whole bank; the file appears only once it is complete.

    Args:
        path: where to.
        rows: the columns; ``source`` and ``target`` as text.
        shards: the pixels, (n, H, W, 3) uint8 each, in row order.
        attributes: every attribute of the module's docstring but format, synthetic, images_sha256.
    """
    digest, done = hashlib.sha256(), 0
    with committed(path) as part, h5py.File(part, "w", libver="earliest") as file:
        images = None
        for shard in shards:
            if images is None:
                images = file.create_dataset("images", (len(rows), *shard.shape[1:]), np.uint8)
            images[done : done + len(shard)] = shard
            digest.update(np.ascontiguousarray(shard).data)
            done += len(shard)
        if done != len(rows):
            raise ValueError(f"{path}: {len(rows)} rows were promised, {done} drawn")
        _write_rows(file, rows)
        head = {"format": FORMAT, "synthetic": True, "images_sha256": digest.hexdigest()}
        for name, value in sorted({**attributes, **head}.items()):
            file.attrs[name] = value


def _write_rows(file: h5py.File, rows: Rows) -> None:
    columns = {
        "pid": rows.pid.astype(np.int32),
        "camid": rows.camid.astype(np.int16),
        "source": np.char.encode(rows.source, "utf-8"),
        "target": np.char.encode(rows.target, "utf-8"),
        "keypoints": rows.keypoints.astype(np.float32),
    }
    for name, column in columns.items():
        file.create_dataset(name, data=column, track_times=False)
