"""Rows: trainings that differ in their seed or replicate only, and the baseline of each row.

The baseline of a row is the training on the real images only, with the same backbone, kept set and
preset, without deviations and from scratch. A table may lack it, because all of its rows start from
weights or change a setting. The baseline is then the training on real images that starts from the
same weights (for pre-trained weights, from those that the pre-training started from, if there is
such a row), or else the one that also changes the same settings.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reid_aug.bank.methods import find_method, method_names
from reid_aug.runtime.errors import UserError
from reid_aug.stages.train_reid.settings import PLAIN
from reid_aug.study.report import labels
from reid_aug.study.report.gains import Gain, gain_of
from reid_aug.study.report.keys import (
    SCRATCH,
    UNKNOWN,
    ImagesKey,
    RowKey,
    StartKey,
    TrainingKey,
    UsualStart,
    row_key,
)
from reid_aug.study.report.results import Result, tables_of

SAME = ("mAP", "ap", "rows_sha256", "kept_sha256", "starting_weights")  # in one experiment
FIRST_STARTS = tuple(labels.START_LABELS)


@dataclass(frozen=True, slots=True, eq=False)
class TableRow:
    """One row of a table: trainings that differ in their seed only, sorted by it."""

    key: RowKey
    results: tuple[Result, ...]

    def scores(self, name: str) -> dict[int, float]:
        """Seed to score, a fraction."""
        return {result.seed: getattr(result, name) for result in self.results}


def rows_of(results: Iterable[Result]) -> list[TableRow]:
    """Group results into rows, sorted.

    Raises:
        UserError: If two results belong to one row and one seed, but to different experiments.
    """
    groups: defaultdict[RowKey, list[Result]] = defaultdict(list)
    for result in results:
        groups[row_key(result)].append(result)
    parts = [part for key, group in groups.items() for part in _by_generator(key, group)]
    return sorted((TableRow(key, _by_seed(group)) for key, group in parts), key=_place)


def _by_generator(key: RowKey, group: list[Result]) -> list[tuple[RowKey, list[Result]]]:
    """The results of a row, split by generator where there are several.

    Results of older versions do not note their generator. They form a row of their own beside those
    of several generators, and share the row of a single one. Each replicate has its own generator.
    """
    names = {result.generator_sha256 for result in group} - {None}
    if key.images is None or key.keep_seed is None or len(names) < 2:
        return [(key, group)]
    parts: defaultdict[RowKey, list[Result]] = defaultdict(list)
    for result in group:
        own = replace(key.images, generator=result.generator_sha256 or UNKNOWN)
        parts[replace(key, images=own)].append(result)
    return list(parts.items())


def _by_seed(group: Iterable[Result]) -> tuple[Result, ...]:
    """The results of a row, one per seed; the same experiment in two run folders counts once."""
    found: dict[int, Result] = {}
    for result in group:
        first = found.setdefault(result.seed, result)
        if any(getattr(result, name) != getattr(first, name) for name in SAME):
            images = labels.images(row_key(result).images)
            raise UserError(
                f"{first.file}, {result.file}: two different results of one row and seed "
                f"({images}, ratio {result.ratio:g}, keep {result.keep:g}, seed {result.seed}); "
                f"report one run at a time"
            )
    return tuple(found[seed] for seed in sorted(found))


def _place(row: TableRow) -> tuple[Any, ...]:
    """Where a row stands in its table.

    Kept sets come first. Within one, the order is: the baseline, other trainings on real images,
    methods without training, generators, methods for the built-in people only.
    """
    key = row.key
    preset = key.training.preset
    return (
        key.backbone, key.keep, key.keep_seed is None, key.keep_seed or 0, preset != PLAIN, preset,
        _images_place(key.images), _sortable(labels.images(key.images)),
        _training_place(key.training), _sortable(labels.training(key.training)),
        key.mode, key.ratio,
    )  # fmt: skip


def _sortable(label: str) -> str:
    """A label whose parts sort before longer words."""
    return label.replace(",", " ")


def _images_place(key: ImagesKey | None) -> tuple[bool, bool, bool, int]:
    """Rows without generated images first, images of other software last."""
    method = find_method(key.method) if key else None
    if key is None or method is None:
        return key is not None, True, True, 0
    place = method_names().index(key.method)
    return True, method.built_in_people_only, method.needs_checkpoint, place


def _training_place(key: TrainingKey) -> int:
    """Plain training first, then random erasing, then starting weights, then all other changes."""
    if key == TrainingKey():
        return -2
    erases = key.deviations[:1] == (("erase", True),)
    if key.preset == PLAIN and erases and key.start == SCRATCH:
        return -1
    if key == TrainingKey(start=key.start):
        place = FIRST_STARTS.index(key.start.leak_status)
        return place + len(FIRST_STARTS) * (key.start.before is not None)
    return len(FIRST_STARTS)


def baselines_of(rows: Sequence[TableRow]) -> dict[TableRow, TableRow | None]:
    """The baseline of every row of a table.

    It is the row itself where that is a baseline, and None where the table has none.
    """
    by_key = {row.key: row for row in rows}
    found = ([by_key.get(key) for key in row.key.baselines()] for row in rows)
    return {row: next(filter(None, own), None) for row, own in zip(rows, found, strict=True)}


def gain(row: TableRow, baseline: TableRow | None) -> Gain | None:
    """The gain of a row over its baseline.

    None where the row has no baseline, is one itself, or shares no seed with it.
    """
    if baseline is None or row is baseline:
        return None
    return gain_of(row.results, baseline.results)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table beside its baseline: what all formats print."""

    row: TableRow
    baseline: TableRow | None
    gain: Gain | None
    usual_start: UsualStart | None = None
    """The start that the title of the section names: that of all rows, or else from scratch."""

    @property
    def section(self) -> str:
        """The title of the section."""
        return labels.section(self.row.key, self.usual_start)

    @property
    def what(self) -> str:
        """What the row adds or changes, without what the title of the section says."""
        return labels.what(self.row.key, self.usual_start)

    @property
    def what_at_ratio(self) -> str:
        """What the row adds or changes, with its ratio."""
        return f"{self.what}, ratio {self.row.key.ratio:g}"

    @property
    def lacks_baseline(self) -> bool:
        """Whether no baseline with a seed of the row is among the results."""
        return self.gain is None and self.row is not self.baseline

    @property
    def verdict(self) -> str:
        """The outcome of the row in a word or two."""
        if self.row is self.baseline:
            return "baseline"
        return self.gain.verdict if self.gain else "no baseline"


def gains(results: Iterable[Result]) -> list[Line]:
    """The lines of all tables of some results: every row, its baseline and its gain in mAP.

    Trainings with other settings or another data set form a table of their own, with baselines of
    its own.

    Args:
        results: as :func:`reid_aug.study.report.read_results` gives them.

    Raises:
        UserError: If two results belong to one row and one seed, but to different experiments.
    """
    return [line for group in tables_of(results).values() for line in lines_of(group)]


def lines_of(results: Sequence[Result]) -> list[Line]:
    """The lines of a table.

    Raises:
        UserError: If two results belong to one row and one seed, but to different experiments.
    """
    rows = rows_of(results)
    starts: defaultdict[Any, set[StartKey]] = defaultdict(set)
    for row in rows:
        starts[row.key.section].add(row.key.training.start)
    usual = {section: _usual(own) for section, own in starts.items()}
    return [
        Line(row, base, gain(row, base), usual[row.key.section])
        for row, base in baselines_of(rows).items()
    ]


def _usual(starts: set[StartKey]) -> UsualStart | None:
    """The start that a title names, of the starts of all rows below it."""
    if len(starts) == 1:
        return UsualStart(next(iter(starts)), is_shared=True)
    if SCRATCH in starts:
        return UsualStart(SCRATCH, is_shared=False)
    first = [start for start in starts if start.before is None]
    return UsualStart(first[0], is_shared=False) if len(first) == 1 else None
