"""A look at the global heaps of an HDF5 file, before HDF5 has one.

Texts of attributes lie in global heaps ("GCOL", version 1, size, then objects up to that size), and
the attribute holds a length, the heap's address and the object's number. The HDF5 library believes
both sides: an object that announces no length is looked behind without end, and a length that is
not the object's is allocated, up to 4 GB a text. So here every object must lead to the next, and
must be pointed to with its own length.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from reid_aug.errors import UserError

SIGNATURE = b"GCOL\x01"
HEAD, OBJECT, SMALLEST = 16, 16, 4096  # bytes: of a heap, of an object's head, of a whole heap


def check_heaps(path: Path, data: Iterable[tuple[int, int]]) -> None:
    """Raise a UserError if the texts of a file cannot be read safely.

    Args:
        path: the file.
        data: where the data of its datasets lie, (first byte, end) each; there is no need to look.
    """
    pieces = _between(path, sorted(data))
    for first, piece in pieces:
        found = piece.find(SIGNATURE)
        while found >= 0:
            objects = _objects(piece, found)
            if objects is None or not all(
                any(pointer in other for _, other in pieces)
                for pointer in _pointers(objects, first + found)
            ):
                raise UserError(f"{path}: must be a bank (HDF5), got damaged texts in its heap")
            found = piece.find(SIGNATURE, found + 1)


def _between(path: Path, data: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """What lies between the data: (first byte, content) each."""
    pieces, at = [], 0
    with path.open("rb") as file:
        for start, stop in [*data, (path.stat().st_size, 0)]:
            if start > at:
                file.seek(at)
                pieces.append((at, file.read(start - at)))
            at = max(at, stop)
    return pieces


def _objects(piece: bytes, start: int) -> dict[int, int] | None:
    """Length by number of the objects in the heap at ``start``; None if they lead nowhere."""
    end = start + _number(piece, start + 8, 8)
    if end > len(piece) or end - start < SMALLEST:
        return {}  # HDF5 itself refuses those
    lengths, at = {}, start + HEAD
    while at + OBJECT <= end:
        number, length = _number(piece, at, 2), _number(piece, at + 8, 8)
        step = OBJECT + -(-length // 8) * 8 if number else length
        if step < OBJECT or at + step > end:
            return None
        lengths[number] = length
        at += step
    return lengths


def _pointers(objects: dict[int, int], address: int) -> Iterator[bytes]:
    """What points to each object of the heap at ``address``: length, address, number."""
    for number, length in objects.items():
        if number:  # 0 is the free space
            yield struct.pack("<IQI", length & 0xFFFFFFFF, address, number)


def _number(piece: bytes, at: int, size: int) -> int:
    return int.from_bytes(piece[at : at + size], "little")
