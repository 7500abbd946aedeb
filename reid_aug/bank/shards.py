"""Shards: the parts in which a bank is generated, so that a killed run loses at most one of them.

    RUN/shards/KEY/00000512-00001024.npy     pixels of these rows, (n, H, W, 3) uint8
    RUN/shards/KEY/00000512-00001024.lock    held by the process that generates them
    RUN/shards/KEY/assembly.lock             held by the process that assembles the bank
    RUN/shards/KEY/members.lock              shared by all processes that work on this bank

A shard is a fixed range of rows and is committed as a whole. Batches are fixed ranges within it; an
incomplete batch is filled up. So the pixels of a row depend neither on the number of rows, nor on
where an earlier run was killed, nor on the process that generated them.

Any number of processes may work on one bank: a process group of ``torchrun``, or the same command
on several machines with a common file system. Each process generates shards that no other process
holds. A lock ends with its process, and another process then generates that shard. One process
assembles the bank, and the last one to finish removes the shards. On a file system without locks
between machines, work is done twice and the bank is the same.

Reading, computing and writing overlap: one thread reads a few batches ahead, another one finishes
and writes batches, and the calling thread computes. Memory holds a few batches and one or two
shards, for any number of rows.
"""

import io
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from reid_aug.bank import Bank
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import Claim, committed, joined
from reid_aug.runtime.regular_files import open_regular
from reid_aug.runtime.workers import ahead

SHARD = 512  # rows
AHEAD = 4  # batches that wait to be computed, and as many that wait to be written
LOOK_EVERY = 0.5  # seconds between checks for the shards of other processes
NPY_BYTES = 128  # of the head that numpy writes for a shard
NPY_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00v\x00\{'descr': '\|u1', 'fortran_order': False, "
    rb"'shape': \((\d{1,9}), (\d{1,9}), (\d{1,9}), 3\), \} *\n"
)
MEMBERS, ASSEMBLY, DOOR = "members.lock", "assembly.lock", "door.lock"

Row = TypeVar("Row", contravariant=True)


class Steps(Protocol[Row]):
    """The three steps of :class:`reid_aug.bank.methods.Method` that make the images of rows."""

    def read(self, rows: Sequence[Row]) -> Any: ...

    def compute(self, material: Any) -> np.ndarray: ...

    def finish(self, images: np.ndarray, rows: Sequence[Row]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows ``start`` to ``stop`` (exclusive), and the file for their pixels."""

    start: int
    stop: int
    path: Path

    @property
    def lock(self) -> Path:
        """The lock file that is held while the shard is generated."""
        return self.path.with_suffix(".lock")


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows that are generated at once: a part of a shard whose lock is held."""

    shard: Shard
    claim: Claim
    start: int
    stop: int


class Shards:
    """The shards of one bank in the making.

    Args:
        bank: the file of the bank. If it exists with fewer rows, these are not generated again.
        key: a hash of everything that the pixels depend on; shards of different keys never mix.
        count: the number of rows of the finished bank.
    """

    def __init__(self, bank: Path, key: str, count: int) -> None:
        self.bank, self.count = bank, count
        self.top = bank.parent / "shards"
        self.folder = self.top / key
        self.computing = 0.0  # seconds in the method's step compute
        self._there = (-1, 0)  # inode and rows of the bank at the last check
        self._parts: list[np.ndarray] = []
        self._claims: list[Claim] = []

    @contextmanager
    def membership(self) -> Iterator[None]:
        """Work on this bank together with other processes; the last one removes the shards.

        Raises:
            UserError: If another command uses the run folder, or generates another bank there.
        """
        with joined(self.bank.parent):
            with Claim(self.top / DOOR, is_awaited=True):
                self._refuse_others()
                own = Claim(self.folder / MEMBERS, is_shared=True)
            try:
                yield
            finally:
                with Claim(self.top / DOOR, is_awaited=True):
                    own.release()
                    self._tidy_up()

    def _refuse_others(self) -> None:
        for path in self.top.glob(f"*/{MEMBERS}"):
            if path.parent != self.folder:
                with Claim(path) as claim:
                    if not claim.is_held:
                        raise UserError(
                            f"{self.bank.parent}: another command generates a bank with other "
                            f"settings here; wait for it, or choose another folder with --out"
                        )

    def _tidy_up(self) -> None:
        """Remove files that no process needs any more; the door lock keeps new processes out."""
        with Claim(self.folder / MEMBERS) as last:
            if last.is_held and self.is_complete():
                shutil.rmtree(self.folder)
        if self._is_only_door():
            (self.top / DOOR).unlink()
            self.top.rmdir()

    def _is_only_door(self) -> bool:
        return self.top.exists() and {path.name for path in self.top.glob("*")} <= {DOOR}

    def is_tidy(self) -> bool:
        """Whether no file is left that the work on this bank would remove."""
        return not (self.folder.exists() or self._is_only_door())

    def is_complete(self) -> bool:
        """Whether the bank exists with all its rows."""
        return self._rows_there() >= self.count

    def _rows_there(self) -> int:
        if not self.bank.exists():
            return 0
        inode = self.bank.stat().st_ino
        if self._there[0] != inode:  # a bank is replaced as a whole, never changed in place
            self._there = inode, len(Bank(self.bank))
        return self._there[1]

    def all(self) -> list[Shard]:
        """Every shard, in row order."""
        ranges = ((n, min(n + SHARD, self.count)) for n in range(0, self.count, SHARD))
        return [Shard(a, b, self.folder / f"{a:08d}-{b:08d}.npy") for a, b in ranges]

    def missing(self) -> list[Shard]:
        """The shards that are neither generated nor part of the existing bank."""
        there = self._rows_there()
        return [s for s in self.all() if s.stop > there and not s.path.exists()]

    def generate(
        self,
        rows: Sequence[Row],
        method: Steps[Row],
        batch: int,
        advance: Callable[[int], object] = lambda rows: None,
    ) -> None:
        """Generate the missing shards that no other process generates, and wait for the others.

        Args:
            rows: all rows of the bank.
            batch: the number of rows per batch; it divides the rows of a shard.
            advance: called with the number of new rows, of this process or of others.
        """
        known = self.count
        while missing := self.missing():
            left = sum(shard.stop - shard.start for shard in missing)
            advance(known - left)
            known = left - self._generate_free(missing, rows, method, batch, advance)
            if known == left:  # other processes generate all the remaining shards
                time.sleep(LOOK_EVERY)
        advance(known)

    def _generate_free(
        self,
        missing: list[Shard],
        rows: Sequence[Row],
        method: Steps[Row],
        size: int,
        advance: Callable[[int], object],
    ) -> int:
        """Generate the shards that no other process holds; returns the number of rows."""
        old = Bank(self.bank) if self.bank.exists() else None
        self._parts = []

        def read(batch: RowBatch) -> tuple[RowBatch, Any, bool]:
            if old is not None and batch.stop <= len(old):
                return batch, old.images(batch.start, batch.stop), True
            return batch, method.read(_filled(rows[batch.start : batch.stop], size)), False

        def compute(
            batch: RowBatch, material: Any, is_old: bool
        ) -> tuple[RowBatch, np.ndarray, bool]:
            began = time.perf_counter()
            images = material if is_old else method.compute(material)
            self.computing += time.perf_counter() - began
            return batch, images, is_old

        def write(computed: tuple[RowBatch, np.ndarray, bool]) -> int:
            batch, images, is_old = computed
            if not is_old:
                images = method.finish(images, _filled(rows[batch.start : batch.stop], size))
            self._parts.append(images[: batch.stop - batch.start])
            if batch.stop == batch.shard.stop:
                _commit(batch.shard, self._parts)
                self._parts = []
                batch.claim.release()
            return batch.stop - batch.start

        done = 0
        with ExitStack() as stack:
            stack.callback(self._release)
            reader, writer = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
            read_ahead = ahead(reader, read, self._batches(missing, size), AHEAD)
            computed = (compute(*batch) for batch in read_ahead)
            for written in ahead(writer, write, computed, AHEAD):
                done += written
                advance(written)
        return done

    def _batches(self, missing: list[Shard], size: int) -> Iterator[RowBatch]:
        """The batches of the free shards; each shard is locked when its first batch is due."""
        for shard in missing:
            claim = Claim(shard.lock)
            self._claims.append(claim)
            if not claim.is_held or shard.path.exists() or shard.stop <= self._rows_there():
                claim.release()
                continue
            for start in range(shard.start, shard.stop, size):
                yield RowBatch(shard, claim, start, min(start + size, shard.stop))

    def _release(self) -> None:
        for claim in self._claims:
            claim.release()
        self._claims = []

    def assemble(
        self,
        write: Callable[[Iterator[np.ndarray]], object],
        describe: Callable[[], object] = lambda: None,
    ) -> None:
        """Assemble the bank, unless another process has done so.

        Args:
            write: writes the bank from the pixels of all shards in row order.
            describe: called when the bank exists, by one process at a time.
        """
        with Claim(self.folder / ASSEMBLY, is_awaited=True):
            if not self.is_complete():
                write(self._pixels())
                self._there = self.bank.stat().st_ino, self.count
            describe()

    def _pixels(self) -> Iterator[np.ndarray]:
        old = Bank(self.bank) if self.bank.exists() else None
        for shard in self.all():
            if old is not None and shard.stop <= len(old):
                yield old.images(shard.start, shard.stop)
            else:
                yield _read(shard)


def _filled(rows: Sequence[Row], size: int) -> list[Row]:
    """The rows of a batch of full size: the last row is repeated."""
    return [*rows, *[rows[-1]] * (size - len(rows))]


def _commit(shard: Shard, parts: Sequence[np.ndarray]) -> None:
    content = io.BytesIO()  # numpy.save to a full disk hides the reason of the failure
    np.save(content, np.concatenate(parts))
    with committed(shard.path) as part, part.open("wb") as file:
        file.write(content.getbuffer())


def _read(shard: Shard) -> np.ndarray:
    """The pixels of a shard. Its head is compared, because numpy would evaluate it."""
    with open_regular(shard.path) as file:
        match = NPY_HEAD.match(file.read(NPY_BYTES))
        shape = (*map(int, match.groups()), 3) if match else (0,)
        size = os.fstat(file.fileno()).st_size - NPY_BYTES
        if shape[0] != shard.stop - shard.start or math.prod(shape) != size:
            raise UserError(
                f"{shard.path}: must be a shard, got {size} "
                f"bytes of shape {shape} for {shard.stop - shard.start} rows; remove the file"
            )
        pixels: np.ndarray = np.fromfile(file, np.uint8).reshape(shape)
    return pixels
