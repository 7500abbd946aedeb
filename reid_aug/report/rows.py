"""Rows: trainings that differ in their seed only, what they are called, and what they beat.

A row is a backbone, a kept set, a mode, a ratio, who drew the images, and how the training differs
from a plain one. Its baseline is the plain training on the real images only, with the same backbone
and kept set: no random erasing, from scratch. That of a strong row is the strong training.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reid_aug.errors import UserError
from reid_aug.reid_training.settings import TRAININGS, describe_training
from reid_aug.report.gains import Gain, gain_of
from reid_aug.report.results import Result

ARTISTS = {"copies": "mirrored copies", "generator": "generator", "renderer": "true renders"}
STATUS = {
    "kept": "generator of the kept set",
    "whole": "generator that may know left-out images",
}
ERASING = "random erasing"
STARTS = {
    "external": "pre-trained on external people",
    "kept": "pre-trained on the kept set",
    "whole": "starting weights that may know left-out images",
}
Key = tuple[str, float, int, str, str, str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One line of a table: trainings that differ in their seed only."""

    backbone: str
    keep: float
    keep_seed: int
    images: str
    training: str
    mode: str
    ratio: float
    results: tuple[Result, ...]

    def scores(self, name: str) -> dict[int, float]:
        """Seed to score, a fraction."""
        return {result["seed"]: result[name] for result in self.results}

    @property
    def baseline_key(self) -> tuple[str, float, int, str]:
        """What the row is compared with: the same network, kept set and named training."""
        name = self.training.partition(",")[0]
        return self.backbone, self.keep, self.keep_seed, name if name in TRAININGS else "-"


def _row_key(result: Result) -> Key:
    """All that a row is but its results, in the order of the fields of :class:`Row`."""
    mode = result["mode"] if result["ratio"] else "-"
    kept = result["backbone"], result["keep"], result["keep_seed"]
    return *kept, images_from(result), training_of(result), mode, result["ratio"]


def images_from(result: Mapping[str, Any]) -> str:
    """Who drew the generated images of a result, in words."""
    if not result["ratio"]:
        return "-"
    artist = result.get("artist") or "generator"
    words = ARTISTS.get(artist, artist)
    if artist == "generator":
        words = STATUS.get(result["generator_data"], words)
    words += ", target's camera" if result.get("cameras") == "target" else ""
    poses = result.get("poses") or "random"
    words += f", poses {poses}" if poses != "random" else ""
    filtered = sorted((result.get("min_score") or {}).items())
    return words + "".join(f", {name} {about['least']:g} or more" for name, about in filtered)


def training_of(result: Mapping[str, Any]) -> str:
    """What a training does that a plain one does not, in words."""
    parts = describe_training(result["recipe"], result["ratio"])
    if result["starting_weights"]:
        data = result.get("starting_data") or "whole"
        known = f" ({result['starting_weights'][:8]})" if data == "whole" else ""
        parts.append(STARTS.get(data, data) + known)
    return ", ".join(parts) or "-"


def rows_of(results: Iterable[Result]) -> list[Row]:
    """Group results by what their rows are, sorted.

    Raises:
        UserError: If two results are of one row and one seed, so from different experiments.
    """
    groups: defaultdict[Key, list[Result]] = defaultdict(list)
    for result in results:
        groups[_row_key(result)].append(result)
    for own, group in groups.items():
        seeds = [result["seed"] for result in group]
        if len(set(seeds)) < len(seeds):
            name = " ".join(map(str, own))
            raise UserError(f"{name}: there are two results of one seed; report one run at a time")
    rows = (Row(*own, tuple(sorted(group, key=_seed))) for own, group in groups.items())
    return sorted(rows, key=_place)


def _seed(result: Result) -> int:
    return result["seed"]


def _place(row: Row) -> tuple[Any, ...]:
    """Where a row stands: its kept set; baseline, other trainings, copies, generators, renders."""
    images = _rank(row.images, ("-", *ARTISTS.values()))
    training = _rank(row.training, ("-", ERASING, *STARTS.values()))
    return *row.baseline_key, *images, *training, row.mode, row.ratio


def _rank(words: str, order: Sequence[str]) -> tuple[int, str]:
    found = (place for place, first in enumerate(order) if words.startswith(first))
    return next(found, len(order)), words.replace(",", " ")


def baselines_of(rows: Sequence[Row]) -> dict[Row, Row | None]:
    """The baseline of every row of a table; its own where it is one, None where there is none.

    It is the plain training on the real images only, with the same backbone and kept set. Where a
    table has none, it is that on the real images only which was trained as the row was.
    """
    before = [row for row in rows if not row.ratio]
    plain = {row.baseline_key: row for row in before if row.training == row.baseline_key[-1]}
    alike = {(row.baseline_key, row.training): row for row in before}
    return {
        row: plain.get(row.baseline_key) or alike.get((row.baseline_key, row.training))
        for row in rows
    }


def gain(row: Row, baseline: Row | None) -> Gain | None:
    """What a row gains over its baseline; None where it is one, or has no common seed with it."""
    if baseline is None or row is baseline:
        return None
    return gain_of(row.results, baseline.results)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table beside its baseline: what all formats print."""

    row: Row
    baseline: Row | None
    gain: Gain | None

    @property
    def verdict(self) -> str:
        """What became of the row, in a word or two."""
        if self.row is self.baseline:
            return "baseline"
        return self.gain.verdict if self.gain else "no baseline"


def lines_of(results: Sequence[Result]) -> list[Line]:
    """The lines of a table.

    Raises:
        UserError: If two results are of one row and one seed, so from different experiments.
    """
    return [
        Line(row, base, gain(row, base)) for row, base in baselines_of(rows_of(results)).items()
    ]
