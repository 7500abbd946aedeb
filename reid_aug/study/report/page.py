"""The report as one HTML page: tables, curves, gains by identity, ranked lists, banks, sources.

Everything on the page is computed from the ``result.json`` files of the run folder, and from the
banks, the networks and the data set where these are available. The page states which parts are
missing. The same files give the same bytes.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_aug.bank.methods import find_method
from reid_aug.data.dataset import Dataset
from reid_aug.runtime.pages import write_page
from reid_aug.stages.train_reid.folder import read_losses
from reid_aug.study.report import captioned_lines, labels, texts
from reid_aug.study.report.banks import bank_views, quality_views
from reid_aug.study.report.costs import RowCost, bank_hours, row_costs
from reid_aug.study.report.curves import (
    Curve,
    Series,
    gain_plot,
    growth_plot,
    identity_plot,
    line_plot,
    ratio_plot,
)
from reid_aug.study.report.gains import Interval
from reid_aug.study.report.growth import growth_curves
from reid_aug.study.report.identities import (
    FifthGain,
    GroupGain,
    camera_gains,
    difficulty_gains,
    identity_gains,
)
from reid_aug.study.report.keys import RowKey, row_key
from reid_aug.study.report.published import HEADING, published_beside
from reid_aug.study.report.results import Result, tables_of
from reid_aug.study.report.rows import Line, TableRow

if TYPE_CHECKING:
    import torch

    from reid_aug.study.report.flips import Flips

PAGE_FILE = "report.html"
EXTREMES = 5  # identities shown at each end
MACHINE_SETTINGS = ("backbone", "workers", "weights")


@dataclass(frozen=True, slots=True)
class Panel:
    """The rows of one backbone and kept set, with their plots.

    ``subject`` is the row whose identities and ranked lists are shown: of the rows with generated
    images (those of a generator, if there are any) the one that gains most.
    """

    title: str
    lines: list[Line]
    curves: str
    gains: str
    subject: Line | None
    identities: list[GroupGain]
    identity_plot: str
    cameras: list[GroupGain]
    fifths: list[FifthGain]
    """The identities by their difficulty."""
    costs: list[RowCost]
    ranks: str
    """CMC of the subject and its baseline, "" where ranks are missing."""
    losses: str
    """Losses of the subject and its baseline, "" without their logs."""

    @property
    def answer(self) -> tuple[str, str] | None:
        """Whether the subject helps; None without a subject."""
        return texts.answer(self.subject) if self.subject else None

    @property
    def compared_rows(self) -> int:
        """The number of rows of which the subject gains most."""
        return len(candidates(self.lines))

    @property
    def scores(self) -> list[list[str]]:
        """All scores of every row."""
        return [texts.score_cells(line) for line in self.lines]

    @property
    def cells(self) -> list[tuple[str, list[str]]]:
        """The verdict and the cells of every row."""
        return [(line.verdict, texts.short_cells(line)) for line in self.lines]

    @property
    def extremes(self) -> tuple[list[GroupGain], list[GroupGain]]:
        """The identities that gain most and those that lose most; the two do not overlap."""
        count = min(EXTREMES, len(self.identities) // 2)
        return self.identities[:count], self.identities[::-1][:count]

    @property
    def subject_words(self) -> str:
        """The label of the subject."""
        assert self.subject is not None
        return self.subject.what_at_ratio

    @property
    def winners(self) -> int:
        """The number of identities that gain."""
        return sum(each.gain > 0 for each in self.identities)

    @property
    def pairs(self) -> list[tuple[Result, Result]]:
        """The results of the subject, each with the result of the baseline of the same seed."""
        return pairs_of(self.subject) if self.subject else []


def write_report(
    results: Sequence[Result],
    run: Path,
    faults: Iterable[str] = (),
    dataset: Dataset | None = None,
    device: "torch.device | None" = None,
) -> Path:
    """Write ``report.html`` into the run folder and return its path.

    Args:
        results: the results in the run folder, from :func:`find_results`.
        run: the run folder.
        faults: one sentence per result that is left out.
        dataset: source of the pictures of ranked lists; None for a page without them.
        device: device of the networks that rank the gallery; the CPU if None.

    Raises:
        UserError: If two results belong to one row and one seed, but to different experiments.
    """
    lines = captioned_lines(results)
    shown = [line for _, group in lines for line in group]
    kinds = list(dict.fromkeys(line.row.key.kind for line in shown))
    banks = bank_hours(run)
    tables = [(caption, panels_of(group, kinds, banks)) for caption, group in lines]
    growths = [(caption, list(growth_curves(group, kinds))) for caption, group in lines]
    panels = [panel for _, group in tables for panel in group]
    write_page(
        run / PAGE_FILE,
        "report.html",
        title=run.resolve().name,
        tables=tables,
        header=texts.SHORT,
        footnotes=[texts.footnote(shown), *labels.notes(results)],
        panels=panels,
        growths=[
            (caption, growth_plot(found, "gain over real images per identity"))
            for caption, found in growths
            if found
        ],
        flips=_flips(panels, dataset, device),
        published=published_beside(results),
        published_heading=HEADING,
        score_header=texts.SCORE_HEADER,
        banks=list(bank_views(run)),
        qualities=list(quality_views(run)),
        leaks=leaks_of(panels),
        unknown=sum(result.leak_free is None for result in results),
        sources=[_source(result) for result in results],
        versions=versions_of(results),
        recipes=_recipes(results),
        counts=sorted({(r.queries, r.gallery) for r in results}, key=str),
        definitions=sorted({str(result.ap_definition) for result in results}),
        faults=list(faults),
    )
    return run / PAGE_FILE


def panels_of(
    lines: Sequence[Line], kinds: Sequence[Any], banks: Mapping[str, float]
) -> list[Panel]:
    """The panels of one table.

    Args:
        lines: the lines of the table.
        kinds: every :attr:`RowKey.kind` on the page, in the order of their colours.
        banks: the hours of banks by their SHA-256.
    """
    return [_panel(title, group, kinds, banks) for title, group in texts.sections(lines)]


def _panel(
    title: str, lines: list[Line], kinds: Sequence[Any], banks: Mapping[str, float]
) -> Panel:
    subject, gains = subject_of(lines), list(_gain_rows(lines))
    identities = identity_gains(pairs_of(subject)) if subject else []
    points = [100 * each.gain for each in identities]
    curves = list(curves_of(lines, kinds))
    is_mixed = any(line.row.key.ratio for line in lines)
    return Panel(
        title,
        lines,
        ratio_plot(curves, f"mAP over the ratio, {title}") if is_mixed else "",
        gain_plot(gains, f"gains with their intervals, {title}") if gains else "",
        subject,
        identities,
        identity_plot(points, f"gain of every identity, {title}") if points else "",
        camera_gains(pairs_of(subject)) if subject else [],
        difficulty_gains(pairs_of(subject)) if subject else [],
        row_costs(lines, banks),
        _rank_plot(subject, kinds, title) if subject else "",
        _loss_plot(subject, kinds, title) if subject else "",
    )


RANKS = {1: "rank1", 5: "rank5", 10: "rank10"}


def _rank_plot(line: Line, kinds: Sequence[Any], title: str) -> str:
    """The CMC of a row and of its baseline, as means over the seeds that both have."""
    series = []
    for place, name, results in _sides(line, kinds):
        points = [(k, [getattr(one, field) for one in results]) for k, field in RANKS.items()]
        if any(score is None for _, scores in points for score in scores):
            return ""
        means = tuple((float(k), 100 * texts.moments(scores)[0]) for k, scores in points)
        series.append(Series(name, place, means))
    return line_plot(series, "rank", "CMC, %", f"CMC, {title}")


def _loss_plot(line: Line, kinds: Sequence[Any], title: str) -> str:
    """The training losses of a row and of its baseline, for the first seed that both have."""
    series = [
        Series(name, place, points)
        for place, name, results in _sides(line, kinds)
        if (points := read_losses(Path(results[0].file).parent))
    ]
    return line_plot(series, "step", "training loss", f"training loss, {title}") if series else ""


def _sides(line: Line, kinds: Sequence[Any]) -> list[tuple[int, str, list[Result]]]:
    """The baseline of a row and the row, each with its place, its name and its results."""
    assert line.baseline is not None
    after, before = map(list, zip(*pairs_of(line), strict=True))
    own, other = (kinds.index(row.key.kind) for row in (line.row, line.baseline))
    return [(other, "real images only", before), (own, line.what_at_ratio, after)]


def subject_of(lines: Sequence[Line]) -> Line | None:
    """The row that gains most: among rows with images of a generator, if there are any."""
    return max(candidates(lines), key=_gain, default=None)


def candidates(lines: Sequence[Line]) -> list[Line]:
    """The rows with a gain and with images of a generator, or of any method if there are none."""
    mixed = [line for line in lines if line.row.key.ratio and line.gain]
    return [line for line in mixed if _is_from_generator(line.row.key)] or mixed


def _is_from_generator(key: RowKey) -> bool:
    method = find_method(key.images.method) if key.images else None
    return method is not None and method.needs_checkpoint


def _gain(line: Line) -> float:
    return line.gain.mean if line.gain else -math.inf


def pairs_of(line: Line) -> list[tuple[Result, Result]]:
    """The results of a row, each with the result of the baseline of the same seed."""
    before = {r.seed: r for r in line.baseline.results} if line.baseline else {}
    return [(r, before[r.seed]) for r in line.row.results if r.seed in before]


def curves_of(lines: Sequence[Line], kinds: Sequence[Any]) -> Iterator[Curve]:
    """One curve per kind of row. A curve of generated images starts at ratio 0, the baseline.

    All points of a curve are means over the same seeds: those that all of its rows have. A curve
    whose rows have none in common is left out.
    """
    groups: defaultdict[Any, list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.row.key.kind].append(line)
    for kind, group in groups.items():
        first, rows = group[0], [line.row for line in group]
        start = [first.baseline] if first.row.key.ratio and first.baseline else []
        name = first.what
        shown = [*start, *rows]
        seeds = set.intersection(*({*row.scores("mAP")} for row in shown))
        if seeds:
            yield Curve(name, kinds.index(kind), tuple(_point(row, seeds) for row in shown))


def _point(row: TableRow, seeds: Collection[int]) -> tuple[float, float, float]:
    mean, deviation = texts.moments(s for seed, s in row.scores("mAP").items() if seed in seeds)
    return row.key.ratio, 100 * mean, math.nan if deviation is None else 100 * deviation


def _gain_rows(lines: Sequence[Line]) -> Iterator[tuple[str, float, Any]]:
    for line in lines:
        if line.gain:
            key = line.row.key
            name = f"{line.what}, {key.ratio:g}" if key.ratio else line.what
            intervals = [_points(line.gain.over_seeds), _points(line.gain.over_queries)]
            yield name, 100 * line.gain.mean, intervals


def _points(interval: Interval | None) -> tuple[float, float]:
    return (100 * interval.low, 100 * interval.high) if interval else (math.nan, math.nan)


def _flips(
    panels: Sequence[Panel], dataset: Dataset | None, device: "torch.device | None"
) -> "Flips | str":
    """The flipped lists of the subject that gains most, or a sentence why there are none."""
    subjects = [panel for panel in panels if panel.pairs]
    if not subjects:
        return "No row has a baseline to compare it with."
    panel = max(subjects, key=lambda one: _gain(one.subject) if one.subject else -math.inf)
    if dataset is None:
        return (
            "The data set was not given. The lists need it and the networks in the run folder: "
            "reid-aug report RUN --format html --data DIR"
        )
    # imported here, because loading torch takes longer than printing a table
    from reid_aug.study.report.flips import flips_of

    what = f"{panel.title}: {panel.subject_words}"
    return flips_of(what, *panel.pairs[0], dataset, device)


def leaks_of(panels: Sequence[Panel]) -> list[str]:
    """The labels of the rows that are not leak-free."""
    return [
        f"{panel.title}: {line.what_at_ratio}"
        for panel in panels
        for line in panel.lines
        if any(result.leak_free is False for result in line.row.results)
    ]


def _source(result: Result) -> dict[str, Any]:
    """The origin of one result, by column."""
    key = row_key(result)
    hashes = ("bank_sha256", "rows_sha256", "kept_sha256", "starting_weights")
    return {
        "backbone": key.backbone,
        "keep": labels.keep(key),
        "ratio": f"{key.ratio:g}",
        "what": labels.what(key),
        "seed": result.seed,
        "mAP": f"{100 * result.mAP:.2f}",
        "Rank-1": f"{100 * result.rank1:.2f}",
        **{name.removesuffix("_sha256"): (getattr(result, name) or "-")[:8] for name in hashes},
        "leak-free": {True: "yes", False: "no", None: "not noted"}[result.leak_free],
        "device": result.device or "-",
    }


def versions_of(results: Iterable[Result]) -> list[tuple[str, int]]:
    """Versions in words with the number of results made with them, the most frequent first."""
    words = (", ".join(f"{name} {number}" for name, number in r.versions.items()) for r in results)
    return sorted(Counter(word or "not noted" for word in words).items(), key=_by_count)


def _by_count(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def _recipes(results: Sequence[Result]) -> list[tuple[str, str]]:
    """The caption and the recipe of every table, sorted by caption."""
    tables = tables_of(results)
    captions = labels.captions(tables)
    firsts = {captions[key]: group[0].recipe for key, group in tables.items()}
    return [
        (
            caption,
            json.dumps({k: v for k, v in recipe.items() if k not in MACHINE_SETTINGS}, indent=1),
        )
        for caption, recipe in sorted(firsts.items())
    ]
