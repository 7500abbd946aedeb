"""Writing a bank; the file appears only when it is complete."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

import h5py
import numpy as np

from reid_aug.bank.attributes import BankAttributes
from reid_aug.bank.opening import mark_as_own
from reid_aug.bank.reading import BANK_FORMAT
from reid_aug.bank.rows import Rows, columns_of, content_sha256
from reid_aug.runtime.files import FULL, committed

HEAD_ROOM = 2**18  # bytes for the structures of HDF5 and the attributes


def write_bank(
    path: Path | str,
    rows: Rows,
    shards: Iterable[np.ndarray],
    attributes: BankAttributes,
    scores: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a whole bank; the file appears only when it is complete.

    Args:
        path: the file to write.
        rows: the columns; ``source`` and ``target`` as text.
        shards: the pixels, (n, H, W, 3) uint8 each, in row order.
        attributes: those of the bank; the hashes of the content are computed.
        scores: (N,) numbers by the name of the score.

    Raises:
        UserError: If the disk has not enough space.
    """
    columns, pieces = columns_of(rows, scores or {}, attributes.trained_on), iter(shards)
    first = [next(pieces)] if len(rows) else []
    frame = first[0][0].nbytes if first else 0
    size = len(rows) * frame + sum(column.nbytes for column in columns.values()) + HEAD_ROOM
    with committed(path) as part:
        _require_room(part, size)
        try:
            with h5py.File(part, "w", libver="earliest") as file:
                _fill(file, rows, chain(first, pieces), attributes, columns)
        except RuntimeError as error:  # raised by HDF5 on closing a file that it could not write
            number = re.search(r"errno = (\d+)", str(error))
            raise OSError(int(number[1]), str(path)) if number else error from None
    mark_as_own(Path(path))


def _require_room(part: Path, size: int) -> None:
    """Raise an OSError unless a file of that size can be written; HDF5 may crash on a full disk."""
    if not hasattr(os, "posix_fallocate"):
        return
    with part.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in FULL:
                raise  # some file systems cannot reserve room, which is another error


def _fill(
    file: h5py.File,
    rows: Rows,
    shards: Iterable[np.ndarray],
    attributes: BankAttributes,
    columns: Mapping[str, np.ndarray],
) -> None:
    digest, done, images = hashlib.sha256(), 0, None
    for shard in shards:
        if images is None:
            images = file.create_dataset("images", (len(rows), *shard.shape[1:]), np.uint8)
        images[done : done + len(shard)] = shard
        digest.update(np.ascontiguousarray(shard).data)
        done += len(shard)
    if done != len(rows):
        raise ValueError(f"{file.filename}: {len(rows)} rows were announced, got {done}")
    for name, column in columns.items():
        file.create_dataset(name, data=column, track_times=False)
    whole = replace(attributes.unwritten(), images_sha256=digest.hexdigest()).stored()
    head = {"format": BANK_FORMAT, "content_sha256": content_sha256(whole, columns)}
    for name, value in sorted({**whole, **head}.items()):
        file.attrs[name] = value
