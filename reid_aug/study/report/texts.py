"""Tables as text, for the terminal, Markdown, LaTeX and CSV.

Markdown has every column. Terminal and LaTeX have the width of a page: the backbone and the kept
set stand above the rows that share them, and one column holds what a row adds to plain training or
changes in it. CSV is for programs: one line per row, one number per cell, fractions in [0, 1] as in
``result.json``, and every setting. No format holds times or hosts.
"""

import csv
import io
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from reid_aug.bank.methods import find_method
from reid_aug.bank.methods.renderer import RendererMethod
from reid_aug.stages.train_reid.settings import PLAIN
from reid_aug.study.report import labels
from reid_aug.study.report.gains import Gain
from reid_aug.study.report.published import HEADING, PublishedTable
from reid_aug.study.report.results import SCORES, Result
from reid_aug.study.report.rows import Line

TABLE_HEADER = (
    "backbone", "keep", "mode", "ratio", "real", "generated", "images from", "training", "seeds",
    "mAP %", "Rank-1 %", "gain in mAP", "bootstrap", "verdict",
)  # fmt: skip
SHORT = ("ratio", "images", "what", "seeds", *TABLE_HEADER[9:])
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters of a text that a spreadsheet computes
MINUS = re.compile(r"(?<!\w)-(?=\d)")
TERMINAL_WIDTH = 100  # columns of a terminal
LEAST_WHAT = 16  # columns of what a row adds, which takes the room that the others leave
OMITTED_SETTINGS = (
    "backbone",
    "workers",
    "weights",
)  # settings that have a column, or belong to a machine


def footnote(lines: Sequence[Line]) -> str:
    """What the numbers of these lines mean; nothing about what they do not contain."""
    keys = [line.row.key for line in lines]
    methods = {key.images.method for key in keys if key.images}
    has_strong = any(key.training.preset != PLAIN for key in keys)
    strong = " (of a strong row: strong training)" if has_strong else ""
    parts = [
        f"Mean and standard deviation over seeds. Gain: mAP minus that of plain training{strong} "
        f"on the real images only, same backbone, kept set and seeds, before rounding; ± the half "
        f"width of its 95 % interval over seeds (paired t). Bootstrap: its 95 % interval over "
        f"queries and seeds, resampled together. Within noise: one of the two intervals holds 0."
    ]
    if any(len(line.row.results) == 1 for line in lines):
        parts.append(
            "One seed: the bootstrap is over queries only, and the noise of training is unknown."
        )
    if any(line.lacks_baseline for line in lines):
        parts.append(
            "No baseline: there is no plain training on the real images only with the kept set, "
            "settings and a seed of the row; make it by train-reid --ratio 0 with the same options."
        )
    are_replicates = [key.keep_seed is None for key in keys]
    if all(are_replicates):
        parts.append("Replicates: kept set, generator, bank and training vary together.")
    else:
        rest = ", except in rows of replicates, where all four vary" * any(are_replicates)
        parts.append(
            f"The seeds of a grid are those of its trainings; one generator, one bank and one kept "
            f"set serve them all, and their own noise is in no interval{rest}."
        )
    if any(method.needs_checkpoint for name in methods if (method := find_method(name))):
        parts.append(
            "Where nothing else is said, a generator was trained on external data, with or without "
            "the kept set."
        )
    if RendererMethod.name in methods:
        parts.append(
            "True renders show the right person in the right pose, which no generator can promise."
        )
    return " ".join(parts)


def cells(line: Line) -> list[str]:
    """The cells of one line, in the order of ``TABLE_HEADER``."""
    row, key, first = line.row, line.row.key, line.row.results[0]
    return [
        key.backbone,
        labels.keep(key),
        key.mode or labels.NONE,
        f"{key.ratio:g}",
        str(first.real),
        str(first.generated),
        labels.images(key.images),
        labels.row_training(key),
        str(len(row.results)),
        spread(row.scores("mAP").values()),
        spread(row.scores("rank1").values()),
        gain_words(line.gain),
        bootstrap_words(line.gain),
        line.verdict,
    ]


def short_cells(line: Line) -> list[str]:
    """The cells of one line, in the order of ``SHORT``."""
    key, first = line.row.key, line.row.results[0]
    images = f"{first.real} + {first.generated}" if key.ratio else str(first.real)
    return [f"{key.ratio:g}", images, line.what, *cells(line)[8:]]


def spread(scores: Iterable[float]) -> str:
    """Mean and standard deviation of fractions, in per cent."""
    mean, deviation = moments(scores)
    if deviation is None:
        return f"{100 * mean:.1f} (one seed)"
    return f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def moments(scores: Iterable[float]) -> tuple[float, float | None]:
    """Mean and standard deviation; the latter is None for one score."""
    values = np.array(list(scores))
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def gain_words(gain: Gain | None) -> str:
    """A gain and the half width of its interval over seeds, in points."""
    if gain is None:
        return "-"
    width = f" ± {100 * (gain.over_seeds.high - gain.mean):.1f}" if gain.over_seeds else ""
    return f"{100 * gain.mean:+.1f}{width}"


def bootstrap_words(gain: Gain | None) -> str:
    """The interval over queries and seeds, in points."""
    if gain is None or gain.over_queries is None:
        return "-"
    return f"{100 * gain.over_queries.low:+.1f} to {100 * gain.over_queries.high:+.1f}"


ANSWERS = {
    "better": "Yes",
    "worse": "No",
    "one seed": "Not sure",
    "within noise": "No clear effect",
}


def answer(line: Line) -> tuple[str, str]:
    """Whether a row with generated images helps: in a word or two, and in a sentence.

    Args:
        line: a row with a gain.
    """
    gain, row, baseline = line.gain, line.row, line.baseline
    assert gain is not None
    assert baseline is not None
    common = row.scores("mAP").keys() & baseline.scores("mAP").keys()
    before, after = (
        100 * moments(score for seed, score in one.scores("mAP").items() if seed in common)[0]
        for one in (baseline, row)
    )
    change = f"{'raise' if gain.mean >= 0 else 'lower'} mAP by {abs(100 * gain.mean):.1f} points"
    ends = [f"{100 * one.low:+.1f} to {100 * one.high:+.1f} over {what}"
            for one, what in ((gain.over_seeds, "seeds"), (gain.over_queries, "queries"))
            if one]  # fmt: skip
    sure = f" (95 % intervals: {', '.join(ends)})" if ends else ""
    real = baseline.results[0].real
    noise = "; this is within the noise" if line.verdict.startswith("within") else ""
    seeds = "one seed" if gain.seeds == 1 else f"{gain.seeds} seeds"
    return ANSWERS[line.verdict.partition(" (")[0]], (
        f"Generated images ({line.what_at_ratio}) {change}, from {before:.1f} to {after:.1f} %"
        f"{sure}, against training on the {real} real images only, {seeds}{noise}."
    )


SCORE_HEADER = ("ratio", "what", "mAP %", "Rank-1 %", "Rank-5 %", "Rank-10 %", "mINP %")


def score_cells(line: Line) -> list[str]:
    """The scores of one line, in the order of ``SCORE_HEADER``."""
    scores = []
    for name in SCORES:
        values = [score for score in line.row.scores(name).values() if score is not None]
        scores.append(spread(values) if len(values) == len(line.row.results) else "-")
    return [f"{line.row.key.ratio:g}", line.what, *scores]


def sections(lines: Sequence[Line]) -> Iterator[tuple[str, list[Line]]]:
    """A title, and the lines below it, for every backbone, kept set and preset."""
    for _, group in groupby(lines, lambda line: line.row.key.section):
        found = list(group)
        yield found[0].section, found


def _short_table(lines: Sequence[Line]) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """The header, and titles with the cells below them.

    The number of seeds moves from its column into the titles where it is the same in all rows.
    """
    counts = {len(line.row.results) for line in lines}
    shown = [i for i, name in enumerate(SHORT) if name != "seeds" or len(counts) > 1]
    seeds = f", {counts.pop()} seeds" if len(counts) == 1 and counts != {1} else ""
    body = [
        (title + seeds, [[short_cells(line)[i] for i in shown] for line in group])
        for title, group in sections(lines)
    ]
    return [SHORT[i] for i in shown], body


def terminal(caption: str, lines: Sequence[Line]) -> str:
    """A table of aligned columns that fits a page.

    The numbers of images stand in the titles, as those of the real ones: a ratio gives the others.
    """
    header, body = _short_table(lines)
    images, what = header.index("images"), header.index("what")
    rows = [row for _, group in body for row in group]
    others = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    room = TERMINAL_WIDTH - sum(others) + others[images] + others[what] - 2 * (len(header) - 2)

    def fitted(row: Sequence[str]) -> list[list[str]]:
        """The lines of a row: what it adds takes several where it is long."""
        parts = textwrap.wrap(row[what], max(room, LEAST_WHAT)) or [""]
        first = [parts[0] if i == what else cell for i, cell in enumerate(row) if i != images]
        after = [[""] * (what - 1) + [part] + [""] * (len(row) - what - 1) for part in parts[1:]]
        return [first, *after]

    head, *shown = [fitted(row) for row in [header, *rows]]
    draw = _aligner([*head, *(line for row in shown for line in row)])
    text, left = [wrapped(caption), "", draw(head[0]), draw(None)], iter(shown)
    for title, group in body:
        real = max(int(row[images].split()[0]) for row in group)
        text.append(f"{title}, {real} real images")
        text += [draw(line) for _ in group for line in next(left)]
    return "\n".join(text)


def _aligner(rows: Sequence[Sequence[str]]) -> Callable[[Sequence[str] | None], str]:
    """A function that formats a row with the column widths of all ``rows``, and None as a rule."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def draw(row: Sequence[str] | None) -> str:
        cells = row or ["-" * width for width in widths]
        return "  ".join(c.ljust(width) for c, width in zip(cells, widths, strict=True)).rstrip()

    return draw


def wrapped(text: str) -> str:
    """Text broken into lines of at most ``TERMINAL_WIDTH`` characters."""
    return textwrap.fill(text, TERMINAL_WIDTH, break_long_words=False, break_on_hyphens=False)


def markdown(caption: str, lines: Sequence[Line]) -> str:
    """A table in GitHub's Markdown, with all columns."""
    rows = [TABLE_HEADER, ["---"] * len(TABLE_HEADER), *map(cells, lines)]
    return "\n".join([f"{caption}:", "", *(f"| {' | '.join(row)} |" for row in rows)])


def latex(caption: str, lines: Sequence[Line], notes: Sequence[str] = ()) -> str:
    r"""A ``tabular`` for booktabs, with the footnote and the notes in its last line."""
    header, body = _short_table(lines)
    span = len(header)

    def wide(form: str, text: str) -> str:
        return rf"\multicolumn{{{span}}}{{{form}}}{{{text}}} \\"

    def draw(row: Sequence[str]) -> str:
        return " & ".join(MINUS.sub("$-$", escaped(cell)) for cell in row) + r" \\"

    text = [f"% {caption}", rf"\begin{{tabular}}{{{'l' * span}}}", r"\toprule", draw(header)]
    for title, group in body:
        text += [r"\midrule", wide("l", rf"\textit{{{escaped(title)}}}"), *map(draw, group)]
    note = wide(
        r"p{0.95\linewidth}", rf"\footnotesize {escaped(' '.join([footnote(lines), *notes]))}"
    )
    return "\n".join([*text, r"\bottomrule", note, r"\end{tabular}"])


def published(one: PublishedTable, style: str) -> str:
    """A published table with its source, in the style terminal, markdown or latex."""
    header, rows = ["method", *one.columns], [[cell or "-" for cell in row] for row in one.rows]
    title, source = f"{HEADING}: {one.title}", f"Source: {one.source}. {one.note}"
    if style == "terminal":
        draw = _aligner([header, *rows])
        lines = [wrapped(title), "", draw(header), draw(None), *map(draw, rows)]
        return "\n".join([*lines, "", wrapped(source)])
    if style == "markdown":
        lines = [f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]]
        return "\n".join([f"{title}:", "", *lines, "", source])
    span = len(header)
    body = [" & ".join(map(escaped, row)) + r" \\" for row in [header, *rows]]
    note = rf"\multicolumn{{{span}}}{{p{{0.95\linewidth}}}}{{\footnotesize {escaped(source)}}} \\"
    top = [f"% {title}", rf"\begin{{tabular}}{{{'l' * span}}}", r"\toprule", body[0], r"\midrule"]
    return "\n".join([*top, *body[1:], r"\bottomrule", note, r"\end{tabular}"])


def escaped(text: str) -> str:
    r"""Text with the special characters of LaTeX escaped.

    >>> print(escaped("50 % ± 2_a"))
    50 \% $\pm$ 2\_a
    """
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {sign: "\\" + sign for sign in "%_#&${}"} | {"±": r"$\pm$"}
    special |= {"<": r"$<$", ">": r"$>$"}
    return "".join(special.get(sign, sign) for sign in text)


def comma_separated(lines: Iterable[Line]) -> str:
    """The lines of all tables as one table with one header."""
    records = [{name: no_formula(v) for name, v in record(line).items()} for line in lines]
    names = list(dict.fromkeys(name for one in records for name in one))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")


def no_formula(value: object) -> object:
    """The value; a text that a spreadsheet would compute gets an apostrophe, which prevents it.

    >>> no_formula("=1+1"), no_formula("resnet50"), no_formula(-0.5)
    ("'=1+1", 'resnet50', -0.5)
    """
    is_formula = isinstance(value, str) and value.startswith(FORMULA)
    return f"'{value}" if is_formula else value


def record(line: Line) -> dict[str, Any]:
    """Every value of a line by its name, "" without one. Scores are fractions."""
    row, key, first = line.row, line.row.key, line.row.results[0]
    gain = line.gain
    return {
        "backbone": key.backbone,
        "keep": key.keep,
        "keep_seed": "" if key.keep_seed is None else key.keep_seed,
        "mode": key.mode,
        "ratio": key.ratio,
        "real": first.real,
        "generated": first.generated,
        "images_from": labels.images(key.images) if key.images else "",
        "training": labels.training(key.training),
        "has_cameras": key.has_cameras,
        "n": len(row.results),
        "seeds": " ".join(str(seed) for seed in row.scores("mAP")),
        **{key: value for name in SCORES for key, value in _moments(name, row.results).items()},
        "gain": _number(gain.mean if gain else None),
        "gain_n": gain.seeds if gain else "",
        **_ends("seeds", gain.over_seeds if gain else None),
        **_ends("bootstrap", gain.over_queries if gain else None),
        "verdict": line.verdict,
        "leak_free": _common(result.leak_free for result in row.results),
        "generator_data": first.generator_leak_status or "",
        "bank_sha256": _common(result.bank_sha256 for result in row.results),
        "dataset_sha256": first.dataset_sha256,
        "starting_weights": _common(result.starting_weights for result in row.results),
        **{key: value for key, value in first.recipe.items() if key not in OMITTED_SETTINGS},
    }


def _moments(name: str, results: Sequence[Result]) -> dict[str, Any]:
    values = [score for result in results if (score := getattr(result, name)) is not None]
    if len(values) < len(results):
        return {name: "", f"{name}_sd": ""}
    mean, deviation = moments(values)
    return {name: _number(mean), f"{name}_sd": _number(deviation)}


def _ends(name: str, interval: Any) -> dict[str, Any]:
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {f"{name}_low": _number(low), f"{name}_high": _number(high)}


def _number(value: float | None) -> float | str:
    return "" if value is None or math.isnan(value) else round(value, 6)


def _common(values: Iterable[Any]) -> str:
    """The values of all results, joined by "; " where they differ; None is ""."""
    return "; ".join(dict.fromkeys("" if value is None else str(value) for value in values))
