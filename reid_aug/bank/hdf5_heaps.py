"""Checks of the global heaps of an HDF5 file, before the HDF5 library opens it.

The texts of attributes lie in global heaps ("GCOL", version 1, size, then objects up to that size).
An attribute holds a length, the heap's address and the object's number. The HDF5 library checks
neither: an object of length 0 causes an endless loop, and a wrong length in an attribute is
allocated, up to 4 GB per text. So every object must lead to the next one here, and must be pointed
to with its own length. The whole file is searched, because a dataset of pixels may contain a
heap.
"""

import io
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from reid_aug.runtime.errors import UserError

SIGNATURE = b"GCOL\x01"
HEAD, OBJECT, SMALLEST = 16, 16, 4096  # bytes: of a heap, of an object's head, of a whole heap
LARGEST_HEAP = 2**20  # bytes of a heap; ours hold a few kilobytes of text
MOST_BESIDE = 256 * 2**20  # bytes beside the datasets; ours hold scores and a few kilobytes
SEARCHED_BYTES = 2**20  # bytes that are searched at once

Heaps = Mapping[int, Mapping[int, int]]  # address: {number of an object: its length}


def find_heaps(path: Path) -> Heaps:
    """The heaps of a file. HDF5 may open the file afterwards.

    Raises:
        UserError: If the objects of a heap do not lead to its end.
    """
    heaps = {}
    with path.open("rb") as file:
        for address in _signatures(path):
            file.seek(address)
            objects = _objects(file.read(LARGEST_HEAP), path.stat().st_size - address)
            if objects is None:
                raise _damaged(path)
            heaps[address] = objects
    return heaps


def check_pointers(path: Path, heaps: Heaps, data: Iterable[tuple[int, int]]) -> None:
    """Raise a UserError if the texts of a file cannot be read safely.

    Args:
        path: the file.
        heaps: the result of :func:`find_heaps`.
        data: the ranges of its datasets, (first byte, end) each; they may contain no heap.
    """
    ranges = sorted(data)
    if (beside := _length_between(path, ranges)) > MOST_BESIDE:
        raise UserError(
            f"{path}: must hold at most {MOST_BESIDE} bytes beside its datasets, got {beside}; use "
            f"an intact copy"
        )
    pieces = _between(path, ranges)
    for address, objects in heaps.items():
        is_covered = any(start <= address < stop for start, stop in ranges)
        if objects and (is_covered or not _are_pointed_to(objects, address, pieces)):
            raise _damaged(path)


def _damaged(path: Path) -> UserError:
    return UserError(f"{path}: must be a bank (HDF5), got damaged texts in its heap")


def _signatures(path: Path) -> Iterator[int]:
    """The addresses at which a heap may begin."""
    with path.open("rb", buffering=0) as file:
        for start, stop in _extents(file.fileno(), path.stat().st_size):
            file.seek(start)
            yield from _signatures_between(file, start, stop)


def _signatures_between(file: io.FileIO, start: int, stop: int) -> Iterator[int]:
    piece = b""
    while content := file.read(min(SEARCHED_BYTES, stop - start - len(piece))):
        kept = piece[len(piece) - len(SIGNATURE) + 1 :]  # a signature may span two pieces
        start, piece = start + len(piece) - len(kept), kept + content
        found = piece.find(SIGNATURE)
        while found >= 0:
            yield start + found
            found = piece.find(SIGNATURE, found + 1)


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges that hold data; a file system may leave out holes, which read as zeros."""
    stop = 0
    while stop < size:
        try:
            start = os.lseek(descriptor, stop, os.SEEK_DATA)
        except OSError:  # nothing but a hole follows
            return
        stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, stop


def _length_between(path: Path, data: list[tuple[int, int]]) -> int:
    length, at = 0, 0
    for start, stop in [*data, (path.stat().st_size, 0)]:
        length += max(0, start - at)
        at = max(at, stop)
    return length


def _between(path: Path, data: list[tuple[int, int]]) -> list[bytes]:
    """The bytes between the datasets."""
    pieces, at = [], 0
    with path.open("rb") as file:
        for start, stop in [*data, (path.stat().st_size, 0)]:
            if start > at:
                file.seek(at)
                pieces.append(file.read(start - at))
            at = max(at, stop)
    return pieces


def _objects(heap: bytes, room: int) -> dict[int, int] | None:
    """Length by number of the objects in a heap; None for a broken chain or too large a heap."""
    end = _number(heap, 8, 8)
    if not SMALLEST <= end <= room:
        return {}  # HDF5 refuses such a heap
    if end > LARGEST_HEAP:
        return None
    lengths, at = {}, HEAD
    while at + OBJECT <= end:
        number, length = _number(heap, at, 2), _number(heap, at + 8, 8)
        step = OBJECT + -(-length // 8) * 8 if number else length
        if step < OBJECT or at + step > end:
            return None
        lengths[number] = length
        at += step
    return lengths


def _are_pointed_to(objects: Mapping[int, int], address: int, pieces: list[bytes]) -> bool:
    """Whether each object has a pointer with its length: length, address, number."""
    pointers = (
        struct.pack("<IQI", length & 0xFFFFFFFF, address, number)
        for number, length in objects.items()
        if number  # 0 is the free space
    )
    return all(any(pointer in piece for piece in pieces) for pointer in pointers)


def _number(piece: bytes, at: int, size: int) -> int:
    return int.from_bytes(piece[at : at + size], "little")
