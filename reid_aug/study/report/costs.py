"""The cost of the rows of a report: hours per training, per bank, and per point of mAP.

Hours are those of one CPU core, or of one GPU: seconds times threads and processes. The training of
a generator is not counted, because no result records its time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_aug.bank.card import read_card
from reid_aug.runtime.errors import UserError
from reid_aug.study.report.results import Result
from reid_aug.study.report.rows import Line
from reid_aug.study.report.texts import moments

HOUR = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class RowCost:
    """The cost of a row, in hours; None where it is not recorded."""

    what: str
    training: float | None
    """Of one training with its evaluation, the mean over seeds."""
    bank: float | None
    """To make the generated images, once for all seeds."""
    gain: float | None
    """In points of mAP; None without a baseline."""
    is_better: bool
    """Whether the gain counts."""

    @property
    def per_point(self) -> float | None:
        """Hours of one training and its bank per point gained; None unless the gain counts."""
        if self.training is None or not self.gain or not self.is_better:
            return None
        return (self.training + (self.bank or 0.0)) / self.gain

    @property
    def cells(self) -> list[str]:
        """The cells of its line in a table."""
        hours = (f"{one:.3g}" if one is not None else "-" for one in (self.training, self.bank))
        gain = "-" if self.gain is None else f"{self.gain:+.1f}"
        return [self.what, *hours, gain, "-" if self.per_point is None else f"{self.per_point:.2g}"]


def row_costs(lines: Sequence[Line], banks: Mapping[str, float]) -> list[RowCost]:
    """The costs of the rows of a section; none if no result records its time.

    Args:
        lines: the lines of the section.
        banks: the hours of banks by their SHA-256 (:func:`bank_hours`).
    """
    costs = [_cost(line, banks) for line in lines]
    return costs if any(cost.training is not None for cost in costs) else []


def _cost(line: Line, banks: Mapping[str, float]) -> RowCost:
    hours = [found for one in line.row.results if (found := training_hours(one)) is not None]
    used = [one.bank_sha256 or "" for one in line.row.results]
    made = [banks[bank] for bank in used if bank in banks]
    return RowCost(
        line.what_at_ratio if line.row.key.ratio else line.what,
        moments(hours)[0] if hours else None,
        moments(made)[0] if made else None,
        100 * line.gain.mean if line.gain else None,
        line.verdict == "better",
    )


def training_hours(result: Result) -> float | None:
    """The hours of a training; None if it records no time."""
    if result.seconds is None:
        return None
    is_cpu = (result.device or "cpu").startswith("cpu")
    cores = (result.threads or 1) if is_cpu else 1
    return result.seconds * cores * (result.processes or 1) / HOUR


def bank_hours(run: Path) -> dict[str, float]:
    """The hours of the banks below a run folder whose cards record them, by their SHA-256."""
    found = {}
    for path in sorted(run.rglob("bank.json")):
        try:
            card = read_card(path.with_suffix(".h5"))
            found[card.text("bank_sha256")] = card.number("seconds", 0.0) / HOUR
        except UserError:  # a bank from elsewhere, or one that was made in several runs
            continue
    return found
