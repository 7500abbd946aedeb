"""Check every property and checksum of a bank.

Opening a bank checks its form and the checksum of columns and attributes. This module also checks
the pixels, the ranges of the values, whether the card beside the bank belongs to it, and, if the
data set is given, whether the bank belongs to that.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from reid_aug.bank import Bank, BankPlan
from reid_aug.bank.card import read_card
from reid_aug.bank.plan import IMPORTED, OF_NO_IMAGE
from reid_aug.data.dataset import Dataset, by_identity, kept, seats
from reid_aug.data.provenance import LeakStatus, names_sha256
from reid_aug.mixing import MODES, how_to_score, other_dataset
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256

SHA256 = re.compile(r"[0-9a-f]{64}")


def verify_bank(bank: Bank, dataset: Dataset | None = None) -> tuple[list[str], list[str]]:
    """The description of a bank and its faults, as lines of text.

    Args:
        bank: the bank.
        dataset: its data set, if available.

    Raises:
        UserError: If its pixels differ from what was written.
    """
    bank.check_pixels()
    owners = {image.name: image.pid for image in dataset.train} if dataset else {}
    faults = [*_attribute_faults(bank), *_row_faults(bank, owners), *_card_faults(bank)]
    if dataset is not None:
        faults += _data_faults(bank, dataset)
    return describe(bank), faults


def describe(bank: Bank) -> list[str]:
    """The description of a bank, in seven lines."""
    about, plan = bank.attributes, bank.plan
    scored = [f"{name} ({bank.about_scores[name]['data']})" for name in bank.scores]
    return [
        f"{bank.path}: {len(bank)} synthetic images, {bank.height} x {bank.width} pixels, "
        f"of {len(np.unique(bank.rows.pid))} identities",
        f"made by: {plan.method}, trained on: {LeakStatus.read(about.generator_data).explained}, "
        f"generator {about.generator_sha256[:12]}",
        f"poses: {_poses(plan)}; camera of the: {plan.cameras}; background: "
        f"{plan.background or 'generated'}; seed {about.seed}",
        f"kept set: keep {about.keep:g}, keep_seed {about.keep_seed}, "
        f"{about.kept_sha256[:12]} of data set {about.dataset_sha256[:12]}",
        f"made for: {about.mode}, ratio {about.ratio:g}",
        f"scores: {', '.join(scored) or 'none'}",
        f"pixels: SHA-256 {about.images_sha256[:12]}, as written",
    ]


def _poses(plan: BankPlan) -> str:
    digest = f" (SHA-256 {plan.poses_sha256[:12]})" if plan.poses_sha256 else ""
    return f"{plan.poses}{digest}"


def _attribute_faults(bank: Bank) -> Iterator[str]:
    about = bank.attributes
    for name, value in sorted(about.stored().items()):
        if name.endswith("_sha256") and not SHA256.fullmatch(value):
            yield f"{name} must be 64 hexadecimal digits, got {value!r}"
    yield from _value_faults(bank)


def _value_faults(bank: Bank) -> Iterator[str]:
    about = bank.attributes
    if about.mode not in MODES:
        yield f"mode must be one of {', '.join(MODES)}, got {about.mode!r}"
    if not 0 < about.keep <= 1:
        yield f"keep must be above 0 and at most 1, got {about.keep}"
    if not about.synthetic:
        yield "the attribute synthetic must be true"
    size, found = [bank.plan.height, bank.plan.width], [bank.height, bank.width]
    if size != found:
        yield f"images must have the size of the plan, {size} (height, width), got {found}"


def _row_faults(bank: Bank, owners: Mapping[str, int]) -> Iterator[str]:
    """Rows that cannot be; ``owners`` are the pids of the kept images, empty if unknown."""
    rows = bank.rows
    for row, (pid, source, target) in enumerate(
        zip(rows.pid.tolist(), rows.source.tolist(), rows.target.tolist(), strict=True)
    ):
        if any(_leaves(name) for name in (source, target)):
            yield f"row {row}: source and target must be file names, got {source!r}, {target!r}"
        elif owners and owners.get(source, pid) != pid:
            yield f"row {row}: shows pid {pid}, but its source is {source!r}"
    missing = np.isnan(rows.keypoints)
    if (missing[..., 0] != missing[..., 1]).any() or np.isinf(rows.keypoints).any():
        yield "keypoints must be numbers, or NaN in x and y"
    for name, score in bank.scores.items():
        if np.isinf(score).any():
            yield f"score {name} must be finite, or NaN for rows without"
        if count := int(np.isnan(score).sum()):
            yield f"score {name} is missing for {count} rows; {how_to_score(bank, name)}"


def _leaves(name: str) -> bool:
    """Whether a name leads out of the folder of a data set."""
    return name.startswith(("/", "\\")) or ".." in Path(name).parts


def _card_faults(bank: Bank) -> Iterator[str]:
    path = bank.path.with_suffix(".json")
    try:
        written = read_card(bank.path).text("bank_sha256")
    except UserError as error:
        yield str(error)
        return
    if written != sha256(bank.path):
        yield f"{path} is the card of another bank, SHA-256 {str(written)[:12]}"


def _data_faults(bank: Bank, dataset: Dataset) -> Iterator[str]:
    about, rows = bank.attributes, bank.rows
    if wrong := other_dataset(bank, dataset):
        yield wrong
        return
    real = kept(dataset.train, about.keep, about.keep_seed)
    if names_sha256(real) != about.kept_sha256:
        yield "the kept set is not that of this data set"
        return
    names = {image.name for image in real}
    for column in ("source", "target"):
        unknown = {*getattr(rows, column).tolist()} - names - {""}
        if column == "target" and bank.plan.poses_sha256:
            unknown = {name for name in unknown if not name.startswith(OF_NO_IMAGE)}
        if unknown:
            more = f" and {len(unknown) - 1} more"
            yield f"{column} must be kept images, got {min(unknown)!r}{more}"
    counts = {pid: len(group) for pid, group in by_identity(real).items()}
    in_order = [pid for pid, _ in islice(seats(counts), len(bank))]
    if bank.plan.poses != IMPORTED and rows.pid.tolist() != in_order:
        yield "rows must be in seat order"
