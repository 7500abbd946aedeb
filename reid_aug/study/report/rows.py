"""Rows: trainings that differ in their seed only, what they are called, and what they beat.

A row is a backbone, a kept set, a mode, a ratio, who drew the images, and how the training differs
from a plain one. Its baseline is the plain training on the real images only, with the same backbone
and kept set: no random erasing, from scratch. That of a strong row is the strong training. Where a
table has no such training, because all of its rows start from weights or change a key, it is the
nearest to it that the row itself is trained like.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reid_aug.bank.methods import DEFAULT_METHOD, find_method, method_named, method_names
from reid_aug.runtime.errors import UserError
from reid_aug.stages.train_reid.settings import PLAIN, PRESETS, describe_preset
from reid_aug.study.report.gains import Gain, gain_of
from reid_aug.study.report.results import Result

KNOWN = {"kept": "of the kept set", "whole": "that may know left-out images"}
ERASING = "random erasing"
STARTS = {
    "external": "pre-trained on external data",
    "kept": "pre-trained on the kept set",
    "whole": "starting weights that may know left-out images",
}
DECLARED = "starting weights declared external"
SAME = ("mAP", "ap", "rows_sha256", "kept_sha256", "starting_weights")  # in one experiment
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
        return self.backbone, self.keep, self.keep_seed, name if name in PRESETS else "-"


def _row_key(result: Result) -> Key:
    """All that a row is but its results and its generator, in the order of :class:`Row`."""
    mode = result["mode"] if result["ratio"] else "-"
    kept = result["backbone"], result["keep"], result["keep_seed"]
    return *kept, images_from(result), training_of(result), mode, result["ratio"]


def images_from(result: Mapping[str, Any]) -> str:
    """Who drew the generated images of a result, in words."""
    if not result["ratio"]:
        return "-"
    name = result.get("method") or DEFAULT_METHOD
    method = find_method(name)  # None for images from other software
    words = method.label if method else name
    known = KNOWN.get(result["generator_data"])
    if known and method is None:
        words += f" (generator {known})"
    elif known and method is not None and method.needs_checkpoint:
        words += f" {known}"
    words += ", target's camera" if result.get("cameras") == "target" else ""
    poses = result.get("poses") or "random"
    words += f", poses {poses}" if poses != "random" else ""
    for name, about in sorted((result.get("min_score") or {}).items()):
        words += f", {name} {about['least']:g} or more"
        words += f" (by a network {KNOWN['whole']})" * (about.get("data") == "whole")
    return words


def method_labels(*, only_generators: bool = False) -> list[str]:
    """The labels of the methods: those without training, generators, true renders."""
    methods = [method_named(name) for name in method_names()]
    if only_generators:
        methods = [method for method in methods if method.needs_checkpoint]
    ordered = sorted(methods, key=lambda one: (one.built_in_people_only, one.needs_checkpoint))
    return [method.label for method in ordered]


def training_of(result: Mapping[str, Any]) -> str:
    """What a training does that a plain one does not, in words."""
    parts = describe_preset(result["recipe"], result["ratio"])
    if result["starting_weights"]:
        parts.append(_start_of(result))
    return ", ".join(parts) or "-"


def _start_of(result: Mapping[str, Any]) -> str:
    """What is known of starting weights; files that say nothing themselves are told apart."""
    own = f" ({result['starting_weights'][:8]})"
    if result["recipe"].get("weights_data"):
        return DECLARED + own
    data = result.get("starting_data") or "whole"
    return STARTS.get(data, data) + (own if data == "whole" else "")


def rows_of(results: Iterable[Result]) -> list[Row]:
    """Group results by what their rows are, sorted.

    Raises:
        UserError: If two results are of one row and one seed, so from different experiments.
    """
    groups: defaultdict[Key, list[Result]] = defaultdict(list)
    for result in results:
        groups[_row_key(result)].append(result)
    parts = [part for own, group in groups.items() for part in _by_generator(own, group)]
    return sorted((Row(*own, _by_seed(group)) for own, group in parts), key=_place)


def _by_generator(own: Key, group: list[Result]) -> list[tuple[Key, list[Result]]]:
    """The results of a row, apart where several generators drew; older ones do not say which."""
    names = [result.get("generator_sha256") for result in group]
    if len({*names} - {None}) < 2:
        return [(own, group)]
    parts: defaultdict[Key, list[Result]] = defaultdict(list)
    for result, name in zip(group, names, strict=True):
        images = f"{own[3]} ({name[:8] if name else 'not noted which'})"
        parts[*own[:3], images, *own[4:]].append(result)
    return list(parts.items())


def _by_seed(group: Iterable[Result]) -> tuple[Result, ...]:
    """The results of a row, one a seed; the same experiment in two run folders counts once."""
    found: dict[int, Result] = {}
    for result in group:
        first = found.setdefault(result["seed"], result)
        if any(result.get(key) != first.get(key) for key in SAME):
            raise UserError(
                f"{first.get('file')}, {result.get('file')}: two different results of one row and "
                f"seed ({images_from(result)}, ratio {result['ratio']:g}, keep {result['keep']:g}, "
                f"seed {result['seed']}); report one run at a time"
            )
    return tuple(found[seed] for seed in sorted(found))


def _place(row: Row) -> tuple[Any, ...]:
    """Where a row stands: its kept set; baseline, other trainings, copies, generators, renders."""
    images = _rank(row.images, ("-", *method_labels()))
    training = _rank(row.training, ("-", ERASING, *STARTS.values(), DECLARED))
    return *row.baseline_key, *images, *training, row.mode, row.ratio


def _rank(words: str, order: Sequence[str]) -> tuple[int, str]:
    found = (place for place, first in enumerate(order) if words.startswith(first))
    return next(found, len(order)), words.replace(",", " ")


def baselines_of(rows: Sequence[Row]) -> dict[Row, Row | None]:
    """The baseline of every row of a table; its own where it is one, None where there is none.

    It is the training on the real images only with the same backbone, kept set and name (plain or
    strong). Where a table has none, it is the one that starts from the same weights; where it has
    none of these either, the one that changes the same keys.
    """
    before = {(row.baseline_key, row.training): row for row in rows if not row.ratio}
    found = ([before.get((row.baseline_key, name)) for name in _plainer(row)] for row in rows)
    return {row: next(filter(None, own), None) for row, own in zip(rows, found, strict=True)}


def _plainer(row: Row) -> tuple[str, str, str]:
    """What trainings on real images are called that a row is compared with, the best one first."""
    real = {**row.results[0], "ratio": 0.0}
    name = real["recipe"].get("preset", PLAIN)
    return (
        row.baseline_key[-1],
        training_of({**real, "recipe": {"preset": name}}),
        training_of(real),
    )


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
