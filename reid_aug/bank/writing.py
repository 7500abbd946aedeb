"""Writing a bank; the file appears only when it is complete."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from reid_aug.bank.attributes import BankAttributes
from reid_aug.bank.opening import mark_as_own
from reid_aug.bank.reading import BANK_FORMAT
from reid_aug.bank.rows import Rows, columns_of, content_sha256
from reid_aug.runtime.files import committed


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
    with committed(path) as part:
        try:
            with h5py.File(part, "w", libver="earliest") as file:
                _fill(file, rows, shards, attributes, scores or {})
        except RuntimeError as error:  # raised by HDF5 on closing a file that it could not write
            number = re.search(r"errno = (\d+)", str(error))
            raise OSError(int(number[1]), str(path)) if number else error from None
    mark_as_own(Path(path))


def _fill(
    file: h5py.File,
    rows: Rows,
    shards: Iterable[np.ndarray],
    attributes: BankAttributes,
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
        raise ValueError(f"{file.filename}: {len(rows)} rows were announced, got {done}")
    columns = columns_of(rows, scores)
    for name, column in columns.items():
        file.create_dataset(name, data=column, track_times=False)
    whole = replace(attributes.unwritten(), images_sha256=digest.hexdigest()).stored()
    head = {"format": BANK_FORMAT, "content_sha256": content_sha256(whole, columns)}
    for name, value in sorted({**whole, **head}.items()):
        file.attrs[name] = value
