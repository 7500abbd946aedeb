"""Shards: the pieces in which a bank is drawn, so that a killed run loses at most one.

    RUN/shards/KEY/00000512-00001024.npy     pixels of these rows, (n, H, W, 3) uint8
    RUN/shards/KEY/00000512-00001024.lock    held by whom draws them
    RUN/shards/KEY/assembly.lock             held by whom puts the bank together
    RUN/shards/KEY/members.lock              shared by all who work on this bank

A shard is a fixed range of rows and is committed as a whole; within it batches are fixed ranges
too, the last one filled up. So the pixels of a row depend neither on how many rows there are, nor
on where an earlier run was killed, nor on who drew them.

Any number of processes may work on one bank: ranks of ``torchrun``, or the same command on several
machines of one file system. Each draws shards that nobody holds; a lock vanishes with its holder,
whose shard is then drawn by another. One of them puts the bank together, and the last to leave
removes the shards. Where a file system does not lock between machines, work is done twice and the
bank is the same.

Reading, painting and writing overlap: a thread reads some batches ahead, a thread finishes and
writes, and this one paints. Memory holds a few batches and a shard or two, however many rows.
"""

import io
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
from reid_aug.runtime.workers import ahead

SHARD = 512  # rows
AHEAD = 4  # batches that are read before they are painted, and painted before they are written
LOOK_EVERY = 0.5  # seconds between looks at what others draw
MEMBERS, ASSEMBLY, DOOR = "members.lock", "assembly.lock", "door.lock"

Row = TypeVar("Row", contravariant=True)


class Draughtsman(Protocol[Row]):
    """Who draws: the three steps of :class:`reid_aug.bank.methods.Method`."""

    def read(self, draws: Sequence[Row]) -> Any: ...

    def paint(self, material: Any) -> np.ndarray: ...

    def finish(self, images: np.ndarray, draws: Sequence[Row]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows ``start`` to ``stop``, and the file that holds them once they are drawn."""

    start: int
    stop: int
    path: Path

    @property
    def lock(self) -> Path:
        """What is held while it is drawn."""
        return self.path.with_suffix(".lock")


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are drawn at once: a part of a shard that was claimed."""

    shard: Shard
    claim: Claim
    start: int
    stop: int


class Shards:
    """The shards of one bank in the making.

    Args:
        bank: where the bank is to be. If it is there with fewer rows, those are not drawn again.
        key: stands for all that pixels depend on; shards of different keys never mix.
        count: how many rows there are to be.
    """

    def __init__(self, bank: Path, key: str, count: int) -> None:
        self.bank, self.count = bank, count
        self.top = bank.parent / "shards"
        self.folder = self.top / key
        self.painting = 0.0  # seconds in the method's own step
        self._there = (-1, 0)  # the bank that was looked at last: inode, rows
        self._parts: list[np.ndarray] = []
        self._claims: list[Claim] = []

    @contextmanager
    def membership(self) -> Iterator[None]:
        """Work on this bank, together with whoever else does; the last to leave tidies up.

        Raises:
            UserError: If another command works in the run folder, or on another bank there.
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
                            f"{self.bank.parent}: a bank with other settings is being drawn here; "
                            f"wait for it, or choose another folder with --out"
                        )

    def _tidy_up(self) -> None:
        """Remove what nobody needs any more, while nobody can come in."""
        with Claim(self.folder / MEMBERS) as last:
            if last.is_held and self.is_complete():
                shutil.rmtree(self.folder)
        if {path.name for path in self.top.iterdir()} == {DOOR}:
            (self.top / DOOR).unlink()
            self.top.rmdir()

    def is_complete(self) -> bool:
        """Whether the bank is there, with all its rows."""
        return self._rows_there() >= self.count

    def _rows_there(self) -> int:
        if not self.bank.exists():
            return 0
        inode = self.bank.stat().st_ino
        if self._there[0] != inode:  # a bank is replaced, never written to
            self._there = inode, len(Bank(self.bank))
        return self._there[1]

    def all(self) -> list[Shard]:
        """Every shard, in row order."""
        ranges = ((n, min(n + SHARD, self.count)) for n in range(0, self.count, SHARD))
        return [Shard(a, b, self.folder / f"{a:08d}-{b:08d}.npy") for a, b in ranges]

    def missing(self) -> list[Shard]:
        """The shards that are neither drawn nor in the bank that is there."""
        there = self._rows_there()
        return [s for s in self.all() if s.stop > there and not s.path.exists()]

    def draw(
        self,
        rows: Sequence[Row],
        method: Draughtsman[Row],
        batch: int,
        advance: Callable[[int], object] = lambda rows: None,
    ) -> None:
        """Draw what is missing, unless others do; back when every shard is there.

        Args:
            rows: all rows of the bank.
            batch: how many rows are drawn at once; a shard is a whole number of them.
            advance: is told how many more rows there are, whoever drew them.
        """
        known = self.count
        while missing := self.missing():
            left = sum(shard.stop - shard.start for shard in missing)
            advance(known - left)
            known = left - self._draw_free(missing, rows, method, batch, advance)
            if known == left:  # others draw all that is left
                time.sleep(LOOK_EVERY)
        advance(known)

    def _draw_free(
        self,
        missing: list[Shard],
        rows: Sequence[Row],
        method: Draughtsman[Row],
        size: int,
        advance: Callable[[int], object],
    ) -> int:
        """Draw the shards that nobody else draws; how many rows that were."""
        old = Bank(self.bank) if self.bank.exists() else None
        self._parts = []

        def read(batch: Batch) -> tuple[Batch, Any, bool]:
            if old is not None and batch.stop <= len(old):
                return batch, old.images(batch.start, batch.stop), True
            return batch, method.read(_filled(rows[batch.start : batch.stop], size)), False

        def paint(batch: Batch, material: Any, is_old: bool) -> tuple[Batch, np.ndarray, bool]:
            began = time.perf_counter()
            images = material if is_old else method.paint(material)
            self.painting += time.perf_counter() - began
            return batch, images, is_old

        def write(painted: tuple[Batch, np.ndarray, bool]) -> int:
            batch, images, is_old = painted
            if not is_old:
                images = method.finish(images, _filled(rows[batch.start : batch.stop], size))
            self._parts.append(images[: batch.stop - batch.start])
            if batch.stop == batch.shard.stop:
                _commit(batch.shard, self._parts)
                self._parts = []
                batch.claim.release()
            return batch.stop - batch.start

        drawn = 0
        with ExitStack() as stack:
            stack.callback(self._release)
            reader, writer = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
            read_ahead = ahead(reader, read, self._batches(missing, size), AHEAD)
            painted = (paint(*batch) for batch in read_ahead)
            for written in ahead(writer, write, painted, AHEAD):
                drawn += written
                advance(written)
        return drawn

    def _batches(self, missing: list[Shard], size: int) -> Iterator[Batch]:
        """The batches of the shards that are free, each claimed when its turn comes."""
        for shard in missing:
            claim = Claim(shard.lock)
            self._claims.append(claim)
            if not claim.is_held or shard.path.exists() or shard.stop <= self._rows_there():
                claim.release()
                continue
            for start in range(shard.start, shard.stop, size):
                yield Batch(shard, claim, start, min(start + size, shard.stop))

    def _release(self) -> None:
        for claim in self._claims:
            claim.release()
        self._claims = []

    def assemble(
        self,
        write: Callable[[Iterator[np.ndarray]], object],
        describe: Callable[[], object] = lambda: None,
    ) -> None:
        """Put the bank together, unless another did.

        Args:
            write: writes the bank, given the pixels of all shards in row order.
            describe: is called once the bank is there, whoever wrote it, by one at a time.
        """
        with Claim(self.folder / ASSEMBLY, is_awaited=True):
            if not self.is_complete():
                write(self._pixels())
            describe()

    def _pixels(self) -> Iterator[np.ndarray]:
        old = Bank(self.bank) if self.bank.exists() else None
        for shard in self.all():
            if old is not None and shard.stop <= len(old):
                yield old.images(shard.start, shard.stop)
            else:
                yield _read(shard)


def _filled(rows: Sequence[Row], size: int) -> list[Row]:
    """A batch is always of the same size."""
    return [*rows, *[rows[-1]] * (size - len(rows))]


def _commit(shard: Shard, parts: Sequence[np.ndarray]) -> None:
    content = io.BytesIO()  # numpy writes to a file without saying why it could not
    np.save(content, np.concatenate(parts))
    with committed(shard.path) as part, part.open("wb") as file:
        file.write(content.getbuffer())


def _read(shard: Shard) -> np.ndarray:
    try:
        pixels = np.load(shard.path)
    except (ValueError, EOFError) as error:
        raise UserError(f"{shard.path}: must be a shard, got {error}; remove the file") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != shard.stop - shard.start:
        found = f"{pixels.shape} {pixels.dtype}"
        raise UserError(f"{shard.path}: must be a shard, got {found}; remove the file")
    return pixels
