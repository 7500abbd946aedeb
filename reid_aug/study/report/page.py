"""The report as one page: tables, curves, who gains, what flipped, banks, sources of the numbers.

Everything on it is computed from the ``result.json`` files of the run folder, and from the banks,
networks and the data set where these are at hand. What is not there is left out, and the page says
so. The same files give the same bytes.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_aug.data.dataset import Dataset
from reid_aug.runtime.pages import write_page
from reid_aug.study.report import texts
from reid_aug.study.report.banks import bank_views
from reid_aug.study.report.curves import Curve, gain_plot, identity_plot, ratio_plot
from reid_aug.study.report.gains import Interval
from reid_aug.study.report.identities import IdentityGain, identity_gains
from reid_aug.study.report.published import HEADING, published_beside
from reid_aug.study.report.results import Result, tables_of
from reid_aug.study.report.rows import Line, Row, lines_of, method_labels

if TYPE_CHECKING:
    import torch

    from reid_aug.study.report.flips import Flips

PAGE = "report.html"
EXTREMES = 5  # identities shown at either end
MACHINE = ("backbone", "workers", "weights")


@dataclass(frozen=True, slots=True)
class Panel:
    """The rows of one backbone and kept set, and what is drawn of them.

    ``subject`` is the row that the identities and ranked lists are about: of those with generated
    images (by a generator, if one drew) the one that gains most.
    """

    title: str
    lines: list[Line]
    curves: str
    gains: str
    subject: Line | None
    identities: list[IdentityGain]
    identity_plot: str

    @property
    def cells(self) -> list[tuple[str, list[str]]]:
        """Verdict and cells of every row, for a table."""
        return [(line.verdict, texts.short_cells(line)) for line in self.lines]

    @property
    def extremes(self) -> tuple[list[IdentityGain], list[IdentityGain]]:
        """The identities that gain most, and those that lose most; nobody is in both."""
        count = min(EXTREMES, len(self.identities) // 2)
        return self.identities[:count], self.identities[::-1][:count]

    @property
    def subject_words(self) -> str:
        """What the subject is called."""
        assert self.subject is not None
        return f"{texts.what(self.subject.row)}, ratio {self.subject.row.ratio:g}"

    @property
    def winners(self) -> int:
        """How many identities gain."""
        return sum(each.gain > 0 for each in self.identities)

    @property
    def pairs(self) -> list[tuple[Result, Result]]:
        """The subject's results beside the baseline's of the same seed."""
        return pairs_of(self.subject) if self.subject else []


def write_report(
    results: Sequence[Result],
    run: Path,
    faults: Iterable[str] = (),
    dataset: Dataset | None = None,
    device: "torch.device | None" = None,
) -> Path:
    """Write ``report.html`` into the run folder; its path.

    Args:
        results: what the run folder holds, as :func:`find_results` gives it.
        run: the run folder.
        faults: one sentence for each result that was left out.
        dataset: where the pictures of ranked lists come from; without it there are none.
        device: where the networks compute that rank them; without it the CPU.

    Raises:
        UserError: If two results are of one row and one seed.
    """
    lines = {caption: lines_of(group) for caption, group in tables_of(results).items()}
    kinds = list(dict.fromkeys(texts.what(one.row) for group in lines.values() for one in group))
    tables = {caption: panels_of(group, kinds) for caption, group in lines.items()}
    panels = [panel for group in tables.values() for panel in group]
    write_page(
        run / PAGE,
        "report.html",
        title=run.resolve().name,
        tables=tables,
        header=texts.SHORT,
        footnote=texts.FOOTNOTE,
        panels=panels,
        flips=_flips(panels, dataset, device),
        published=published_beside(results),
        published_heading=HEADING,
        banks=list(bank_views(run)),
        leaks=leaks_of(panels),
        unknown=sum(result.get("leak_free") is None for result in results),
        sources=[_source(result) for result in results],
        versions=versions_of(results),
        recipes={caption: _recipe(group[0]) for caption, group in tables_of(results).items()},
        counts=sorted({(r.get("queries"), r.get("gallery")) for r in results}, key=str),
        definitions=sorted({str(result.get("ap_definition")) for result in results}),
        faults=list(faults),
    )
    return run / PAGE


def panels_of(lines: Sequence[Line], kinds: Sequence[str]) -> list[Panel]:
    """The panels of one table.

    Args:
        lines: its lines.
        kinds: what rows of the page do, in the order of their colours.
    """
    return [_panel(title, group, kinds) for title, group in texts.sections(lines)]


def _panel(title: str, lines: list[Line], kinds: Sequence[str]) -> Panel:
    subject, gains = subject_of(lines), list(_gain_rows(lines))
    identities = identity_gains(pairs_of(subject)) if subject else []
    points = [100 * each.gain for each in identities]
    curves = list(curves_of(lines, kinds))
    is_mixed = any(line.row.ratio for line in lines)
    return Panel(
        title,
        lines,
        ratio_plot(curves, f"mAP over the ratio, {title}") if is_mixed else "",
        gain_plot(gains, f"gains with their intervals, {title}") if gains else "",
        subject,
        identities,
        identity_plot(points, f"gain of every identity, {title}") if points else "",
    )


def subject_of(lines: Sequence[Line]) -> Line | None:
    """The row that gains most: of a generator's images if there are any, else of any other's."""
    mixed = [line for line in lines if line.row.ratio and line.gain]
    labels = tuple(method_labels(only_generators=True))
    drawn = [line for line in mixed if line.row.images.startswith(labels)]
    return max(drawn or mixed, key=_gain, default=None)


def _gain(line: Line) -> float:
    return line.gain.mean if line.gain else -math.inf


def pairs_of(line: Line) -> list[tuple[Result, Result]]:
    """The results of a row beside those of its baseline, by seed."""
    before = {r["seed"]: r for r in line.baseline.results} if line.baseline else {}
    return [(r, before[r["seed"]]) for r in line.row.results if r["seed"] in before]


def curves_of(lines: Sequence[Line], kinds: Sequence[str]) -> Iterator[Curve]:
    """One curve for each thing that rows do; of generated images from the baseline's ratio 0 on."""
    groups: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[texts.what(line.row)].append(line)
    for name, group in groups.items():
        first, rows = group[0], [line.row for line in group]
        start = [first.baseline] if first.row.ratio and first.baseline else []
        yield Curve(name, kinds.index(name), tuple(_point(row) for row in [*start, *rows]))


def _point(row: Row) -> tuple[float, float, float]:
    mean, deviation = texts.moments(row.scores("mAP").values())
    return row.ratio, 100 * mean, 100 * (deviation or 0.0)


def _gain_rows(lines: Sequence[Line]) -> Iterator[tuple[str, float, Any]]:
    for line in lines:
        if line.gain:
            name = f"{texts.what(line.row)}, {line.row.ratio:g}" if line.row.ratio else ""
            intervals = [_points(line.gain.over_seeds), _points(line.gain.over_queries)]
            yield name or texts.what(line.row), 100 * line.gain.mean, intervals


def _points(interval: Interval | None) -> tuple[float, float]:
    return (100 * interval.low, 100 * interval.high) if interval else (math.nan, math.nan)


def _flips(
    panels: Sequence[Panel], dataset: Dataset | None, device: "torch.device | None"
) -> "Flips | str":
    """The flipped lists of the subject that gains most, or why there are none."""
    subjects = [panel for panel in panels if panel.pairs]
    if not subjects:
        return "No row has a baseline to compare it with."
    panel = max(subjects, key=lambda one: _gain(one.subject) if one.subject else -math.inf)
    if dataset is None:
        return (
            "The data set was not at hand. With it, and with the networks in the run folder, "
            "they are drawn: reid-aug report RUN --format html --data DIR"
        )
    from reid_aug.study.report.flips import (
        flips_of,  # here, because torch takes longer than a table
    )

    what = f"{panel.title}: {panel.subject_words}"
    return flips_of(what, *panel.pairs[0], dataset, device)


def leaks_of(panels: Sequence[Panel]) -> list[str]:
    """The rows that are not leak-free, and what they may know."""
    return [
        f"{panel.title}: {texts.what(line.row)}, ratio {line.row.ratio:g}"
        for panel in panels
        for line in panel.lines
        if any(result.get("leak_free") is False for result in line.row.results)
    ]


def _source(result: Result) -> dict[str, Any]:
    """Where one number comes from."""
    (line,) = lines_of([result])
    hashes = ("bank_sha256", "rows_sha256", "kept_sha256", "starting_weights")
    return {
        "backbone": line.row.backbone,
        "keep": texts.keep_words(line.row),
        "ratio": f"{line.row.ratio:g}",
        "what": texts.what(line.row),
        "seed": result["seed"],
        "mAP": f"{100 * result['mAP']:.2f}",
        "Rank-1": f"{100 * result['rank1']:.2f}",
        **{name.removesuffix("_sha256"): (result.get(name) or "-")[:8] for name in hashes},
        "leak-free": {True: "yes", False: "no", None: "not noted"}[result.get("leak_free")],
        "device": result.get("device") or "-",
    }


def versions_of(results: Iterable[Result]) -> list[tuple[str, int]]:
    """Versions in words, and how many results were made with them; the most frequent first."""
    words = (
        ", ".join(f"{name} {number}" for name, number in (r.get("versions") or {}).items())
        for r in results
    )
    return sorted(Counter(word or "not noted" for word in words).items(), key=_by_count)


def _by_count(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def _recipe(result: Result) -> str:
    return json.dumps({k: v for k, v in result["recipe"].items() if k not in MACHINE}, indent=1)
