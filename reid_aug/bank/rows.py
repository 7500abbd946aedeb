"""The columns of a bank, and the checksum of columns and attributes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_aug.data.provenance import DIGITS


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The columns of a bank beside the pixels, one value per row."""

    pid: np.ndarray
    """(N,) integers."""
    camid: np.ndarray
    """(N,) integers: the camera that the image shows."""
    source: np.ndarray
    """(N,) text: file name of the image that supplied the appearance."""
    target: np.ndarray
    """(N,) text: file name of the image that supplied the pose."""
    keypoints: np.ndarray
    """(N, 18, 2): the target pose, x and y in pixels, NaN unseen."""

    def __len__(self) -> int:
        return len(self.pid)


def columns_of(
    rows: Rows, scores: Mapping[str, np.ndarray], trained_on: str = ""
) -> dict[str, np.ndarray]:
    """The datasets beside the pixels, in their stored types.

    Args:
        trained_on: the fingerprints of the images that trained the generator.
    """
    columns: dict[str, np.ndarray] = {
        "pid": rows.pid.astype(np.int64),
        "camid": rows.camid.astype(np.int64),
        "source": np.char.encode(rows.source, "utf-8"),
        "target": np.char.encode(rows.target, "utf-8"),
        "keypoints": rows.keypoints.astype(np.float32),
    }
    if trained_on:
        columns["trained_on"] = np.frombuffer(trained_on.encode(), f"S{DIGITS}")
    return columns | {f"scores/{name}": scores[name].astype(np.float32) for name in sorted(scores)}


def content_sha256(attributes: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> str:
    """A hash of the attributes and all columns; through ``images_sha256`` also of the pixels."""
    names = sorted({*attributes} - {"content_sha256"})
    digest = hashlib.sha256(json.dumps([[name, attributes[name]] for name in names]).encode())
    for name, column in columns.items():
        digest.update(f"{name} {column.shape} {column.dtype.str}".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
