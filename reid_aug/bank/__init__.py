"""The bank: generated images and their provenance, in one HDF5 file.

    /images     (N, H, W, 3) uint8    RGB, contiguous: one seek reads one image
    /pid        (N,) int64            identity, as in the source's file name
    /camid      (N,) int64            camera that the image shows
    /source     (N,) bytes            file name of the image that supplied the appearance
    /target     (N,) bytes            file name of the image that supplied the pose
    /keypoints  (N, 18, 2) float32    the target pose: x, y in pixels, NaN unseen
    /scores/*   (N,) float32          scores of each image, if computed; NaN for a row without
    /trained_on (M,) bytes            fingerprints of the images that trained the generator
    attrs       format, synthetic, keep, keep_seed, kept_sha256, dataset_sha256, keypoints_sha256,
                generator_sha256, generator_data, ratio, mode, plan (JSON), seed, images_sha256,
                scores (JSON: the origin of each score), content_sha256 (columns, attributes)

Rows are in seat order, so the first G rows are the bank of a smaller ratio. Nothing in the file
depends on time, path, host or worker count; those go to ``bank.json`` beside it.

A bank from another source is hostile input. Links, external storage, virtual and filtered datasets
are refused, and shapes, types and the checksum of everything but the pixels are checked, before a
pixel is read. :meth:`Bank.check_pixels` checks the pixels, which reads the whole file; a mix calls
it first.

    attributes                  kept set, generator, plan and hashes, as one record
    plan, coverage              source image, target pose and camera of each row
    methods                     the ways to make the image of a row
    shards                      parts of an unfinished bank, which survive a killed run
    scores                      what can score the rows
    rows, writing               the columns, and writing the finished file
    opening                     a child process asks HDF5, which a damaged file can crash
    reading, hdf5_heaps         checks of a file before HDF5 reads it
    card, contact_sheet         bank.json and contact_sheet.png
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.bank.attributes import BankAttributes, BankPlan
from reid_aug.bank.opening import MAKE, open_contents
from reid_aug.bank.reading import BANK_FORMAT
from reid_aug.bank.rows import Rows, columns_of, content_sha256
from reid_aug.bank.writing import write_bank
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.regular_files import require_regular

__all__ = ["BANK_FORMAT", "Bank", "BankAttributes", "BankPlan", "Entry", "Rows", "write_bank"]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One generated image, (H, W, 3) uint8, and its provenance; ``keypoints`` is (18, 2)."""

    image: np.ndarray
    pid: int
    camid: int
    source: str
    target: str
    keypoints: np.ndarray


class Bank:
    """A bank file, read only; it may be passed to DataLoader workers.

    Pixels are contiguous, so they are read from the plain file at a known offset. That is faster
    than through HDF5 and safe after a fork. An unpickled bank opens the file again.

    Raises:
        UserError: If the file is missing or is no valid bank.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._stamp, self._descriptor = _stamp(require_regular(self.path, remedy=MAKE)), -1
        found = open_contents(self.path)
        self.attributes, self.rows, self.scores = found.attributes, found.rows, dict(found.scores)
        self.height, self.width, self._start = found.height, found.width, found.start
        self._check_content()
        self.about_scores = self._checked_about_scores()
        self._frame = self.height * self.width * 3  # bytes
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
        if not -len(self) <= row < len(self):
            raise IndexError(f"row must be below {len(self)}, got {row}")
        row %= len(self)
        result: np.ndarray = self.images(row, row + 1)[0]
        return result

    @property
    def plan(self) -> BankPlan:
        """How the rows were made: method, cameras, poses, height, width and more."""
        return self.attributes.plan

    def _checked_about_scores(self) -> Mapping[str, Mapping[str, Any]]:
        """The origin of each score: {name: {"data": leak status of its scorer, ...}}."""
        found = self.attributes.scores or {}
        if {*found} != {*self.scores}:
            raise UserError(
                f"{self.path}: attribute scores must describe the scores of the file "
                f"({', '.join(self.scores) or 'none'}), got {', '.join(found) or 'none'}"
            )
        return found

    def _check_content(self) -> None:
        """Raise a UserError if columns or attributes differ from what was written."""
        wanted = self.attributes.content_sha256
        if wanted is not None:
            columns = columns_of(self.rows, self.scores, self.attributes.trained_on)
            found = content_sha256(self.attributes.stored(), columns)
            _compare(self.path, "columns and attributes", wanted, found)

    def check_pixels(self) -> None:
        """Read all pixels once, and compare their checksum.

        Raises:
            UserError: If they differ from what was written.
        """
        if self._has_right_pixels:
            return
        digest = hashlib.sha256()
        for start in range(0, len(self), 1024):
            digest.update(self.images(start, min(start + 1024, len(self))).data)
        _compare(self.path, "images", self.attributes.images_sha256, digest.hexdigest())
        self._has_right_pixels = True

    def chosen_sha256(self, rows: Sequence[int]) -> str:
        """A hash of the given rows; it differs from :meth:`rows_sha256` of the same rows."""
        digest = hashlib.sha256()
        for row in rows:
            names = f"{self.rows.source[row]}\n{self.rows.target[row]}\n"
            digest.update(self.image(row).data)
            digest.update(names.encode())
        return digest.hexdigest()

    def images(self, start: int, stop: int) -> np.ndarray:
        """The pixels of neighbouring rows: (stop - start, H, W, 3) uint8."""
        start, stop, _ = slice(start, stop).indices(len(self))
        pixels = np.empty((max(0, stop - start), self.height, self.width, 3), np.uint8)
        space, where = pixels.reshape(-1).data, self._start + start * self._frame
        while space:  # a call reads at most 2 GB
            count = os.preadv(self._open(), [space], where)
            if not count:
                raise UserError(f"{self.path}: must hold {len(self)} images, got a shorter file")
            space, where = space[count:], where + count
        return pixels

    def rows_sha256(self, count: int) -> str:
        """A hash of the first ``count`` rows: pixels, sources and targets."""
        digest = hashlib.sha256()
        for start in range(0, count, 1024):
            digest.update(self.images(start, min(start + 1024, count)).data)
        for names in (self.rows.source, self.rows.target):
            digest.update("\n".join(names[:count]).encode())
        return digest.hexdigest()

    def file_sha256(self) -> str:
        """SHA-256 of the file that the rows are read from, also if its name means another by now.

        Raises:
            UserError: If the file was changed.
        """
        digest, place = hashlib.sha256(), 0
        while content := os.pread(self._open(), 2**20, place):
            digest.update(content)
            place += len(content)
        return digest.hexdigest()

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        if _stamp(os.fstat(self._descriptor)) != self._stamp:
            raise UserError(f"{self.path}: was changed while it was in use; start again")
        return self._descriptor

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": -1}

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)


def _stamp(about: os.stat_result) -> tuple[int, int]:
    return about.st_size, about.st_mtime_ns


def _compare(path: Path, what: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise UserError(
            f"{path}: its {what} must have SHA-256 {wanted[:12]}, got {found[:12]}: "
            f"the file is damaged or was changed; copy it again, or remove it and make it again"
        )
