"""Reading the attributes and columns of a bank; a file is hostile input until it is checked."""

import math
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reid_aug.bank.attributes import BankAttributes, BankPlan
from reid_aug.bank.rows import Rows
from reid_aug.data.keypoints import JOINTS
from reid_aug.data.provenance import DIGITS, STATUSES
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.json_toml import parse_json

BANK_FORMAT = "reid_aug.bank/1"
LARGEST_SIDE = 2048
TEXT_ATTRIBUTES = (
    "kept_sha256", "dataset_sha256", "keypoints_sha256", "generator_sha256", "generator_data",
    "mode", "images_sha256",
)  # fmt: skip
NUMBER_ATTRIBUTES = ("keep", "keep_seed", "ratio", "seed")
WHOLE_ATTRIBUTES = ("keep_seed", "seed")
DATASETS = ("pid", "camid", "source", "target", "keypoints", "trained_on")
LONGEST_NAME = 1024  # bytes
FINGERPRINTS = re.compile(f"([0-9a-f]{{{DIGITS}}})*")
SCORE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
DAMAGED_BANK = (  # what h5py raises on broken files
    OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError,
    ArithmeticError, SystemError,
)  # fmt: skip


def data_ranges(file: h5py.File) -> list[tuple[int, int]]:
    """The ranges of the datasets in the file: (first byte, end) each."""
    ranges = []
    for name in ("images", *DATASETS):
        is_own = isinstance(file.get(name, getlink=True), h5py.HardLink)
        if is_own and (start := _offset(file[name])):
            ranges.append((start, start + file[name].nbytes))
    return ranges


def _offset(item: object) -> int:
    """The first byte of a dataset; 0 if it has none in the file, or is no dataset."""
    return (item.id.get_offset() or 0) if isinstance(item, h5py.Dataset) else 0


def read_attributes(file: h5py.File, path: Path) -> BankAttributes:
    """The attributes of a bank."""
    found = file.attrs.get("format")
    if not isinstance(found, str) or found != BANK_FORMAT:
        raise UserError(f"{path}: must be a bank ({BANK_FORMAT}), got format {found!r}")
    values: dict[str, Any] = {name: _text(file, name, path) for name in TEXT_ATTRIBUTES}
    values |= {name: _number(file, name, path) for name in NUMBER_ATTRIBUTES}
    values["synthetic"] = bool(file.attrs.get("synthetic", False))
    if "content_sha256" in file.attrs:
        values["content_sha256"] = _text(file, "content_sha256", path)
    if values["generator_data"] not in STATUSES:
        raise UserError(
            f"{path}: attribute generator_data must be one of {', '.join(STATUSES)}, "
            f"got {values['generator_data']!r}"
        )
    values["trained_on"] = _trained_on(file, path)
    return BankAttributes(plan=_plan(file, path), scores=_about_scores(file, path), **values)


def _trained_on(file: h5py.File, path: Path) -> str:
    """The fingerprints of the images that trained the generator; "" for a bank without."""
    if "trained_on" not in file:
        return ""
    stored = _dataset(file, "trained_on", path)
    if stored.ndim != 1 or stored.dtype != f"S{DIGITS}":
        raise UserError(f"{path}: trained_on must be (M,) S{DIGITS}, got {_kind(stored)}")
    text: str = stored[:].tobytes().decode("latin-1")
    if not FINGERPRINTS.fullmatch(text):
        raise UserError(f"{path}: trained_on must hold {DIGITS} hexadecimal digits per image")
    return text


def _plan(file: h5py.File, path: Path) -> BankPlan:
    text = _text(file, "plan", path)
    try:
        return BankPlan.from_json(text)
    except ValueError:
        names = ", ".join(BankPlan.__annotations__)
        raise UserError(
            f"{path}: attribute plan must be a JSON object of {names}, got {text[:80]!r}"
        ) from None


def _about_scores(file: h5py.File, path: Path) -> dict[str, dict[str, Any]] | None:
    """The origin of each score; None for a bank without scores."""
    if "scores" not in file.attrs:
        return None
    text = _text(file, "scores", path)
    found = parse_json(text, f"{path}: attribute scores")
    if not isinstance(found, dict) or not all(
        isinstance(about, dict) and about.get("data") in STATUSES for about in found.values()
    ):
        raise UserError(
            f"{path}: attribute scores must tell of each score that its data are one of "
            f"{', '.join(STATUSES)}, got {text[:80]!r}"
        )
    return found


def _text(file: h5py.File, name: str, path: Path) -> str:
    value = file.attrs.get(name)
    if not isinstance(value, str) or not value.isprintable():
        found = repr(value)[:80]
        raise UserError(f"{path}: attribute {name} must be there, printable text, got {found}")
    return value


def _number(file: h5py.File, name: str, path: Path) -> int | float:
    found = file.attrs.get(name)
    value = found.item() if isinstance(found, np.generic) else found
    is_number = type(value) in (int, float) and math.isfinite(value)
    if not is_number or (name in WHOLE_ATTRIBUTES and value != int(value)):
        kind = "a whole number" if name in WHOLE_ATTRIBUTES else "a finite number"
        raise UserError(f"{path}: attribute {name} must be there, {kind}, got {found!r}")
    return int(value) if name in WHOLE_ATTRIBUTES else value


def read_scores(file: h5py.File, count: int, path: Path) -> dict[str, np.ndarray]:
    """The scores of ``count`` rows by name, (N,) float32 each."""
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


def read_rows(file: h5py.File, path: Path) -> Rows:
    """The columns; the form of the images is checked, but no pixel is read."""
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
        "keypoints": ((count, len(JOINTS), 2), "f"),
    }
    columns = {}
    for name, (shape, kind) in wanted.items():
        column = _dataset(file, name, path)
        if column.shape != shape or column.dtype.kind != kind:
            raise UserError(f"{path}: {name} must be {shape} of kind {kind}, got {_kind(column)}")
        if kind == "S" and column.dtype.itemsize > LONGEST_NAME:
            raise UserError(f"{path}: {name} must be at most {LONGEST_NAME} bytes per name")
        columns[name] = np.char.decode(column[:], "utf-8") if kind == "S" else column[:]
    return Rows(**columns)


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """A dataset, which must be stored in this file without chunks or filters."""
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


def _kind(dataset: h5py.Dataset) -> str:
    return f"{dataset.shape} {dataset.dtype}"
