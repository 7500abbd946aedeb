"""Report: the scores of the trainings of a run folder, their gains, and the noise of both.

    results             reads and checks every result.json: the record Result
    keys                what trainings of one row share, as fields: RowKey
    labels              every word about a row or a table, made from its key
    rows                groups trainings that differ in their seed, finds the baseline of each row
    gains               the statistics
    texts               the text formats
    published           numbers that papers printed
    growth              the gain over the number of real images per identity
    costs               hours per point of mAP
    page                one HTML file, with curves, identities, flips and banks

Trainings on different data sets or with different settings (steps, batch, input, schedule) never
share a table. Tables hold no times and no hosts.
"""

from collections.abc import Sequence

from reid_aug.runtime.errors import UserError, nearest
from reid_aug.study.report import labels, texts
from reid_aug.study.report.published import published_beside
from reid_aug.study.report.results import Result, find_results, read_results, tables_of
from reid_aug.study.report.rows import Line, gain, lines_of, rows_of
from reid_aug.study.report.texts import TABLE_HEADER

__all__ = [
    "HTML",
    "TABLE_FORMATS",
    "TABLE_HEADER",
    "captioned_lines",
    "check_format",
    "find_results",
    "gain",
    "read_results",
    "report",
    "rows_of",
    "table",
]  # fmt: skip

HTML = "html"  # a page, not text: reid_aug.study.report.page
TABLE_FORMATS = ("terminal", "markdown", "csv", "latex")


def table(results: Sequence[Result]) -> list[list[str]]:
    """The cells of a table: one list per row, in the order of ``TABLE_HEADER``."""
    return [texts.cells(line) for line in lines_of(results)]


def captioned_lines(results: Sequence[Result]) -> list[tuple[str, list[Line]]]:
    """The caption and the lines of every table, sorted by caption."""
    tables = tables_of(results)
    captions = labels.captions(tables)
    return sorted(
        ((captions[key], lines_of(group)) for key, group in tables.items()), key=lambda one: one[0]
    )


def check_format(style: str, known: Sequence[str] = (*TABLE_FORMATS, HTML)) -> None:
    """Raise a UserError unless there is such a format."""
    if style not in known:
        listed = ", ".join((*TABLE_FORMATS, HTML))
        raise UserError(f"--format must be one of {listed}, got {style!r}{nearest(style, known)}")


def report(results: Sequence[Result], style: str) -> str:
    """All tables of some results as text, in one of ``TABLE_FORMATS``.

    Except in CSV, published results follow those on Market-1501 in tables of their own.

    Raises:
        UserError: If there is no such format, or if two results belong to one row and one seed but
            to different experiments.
    """
    check_format(style, TABLE_FORMATS)
    tables = captioned_lines(results)
    if style == "csv":
        return texts.comma_separated([line for _, lines in tables for line in lines])
    notes = labels.notes(results)
    if style == "latex":
        parts = [texts.latex(caption, lines, notes) for caption, lines in tables]
    else:
        draw = {"terminal": texts.terminal, "markdown": texts.markdown}[style]
        fit = texts.wrapped if style == "terminal" else str
        parts = [draw(caption, lines) for caption, lines in tables]
        shown = [line for _, lines in tables for line in lines]
        parts += map(fit, (texts.footnote(shown), *notes))
    parts += [texts.published(one, style) for one in published_beside(results)]
    return "\n\n".join(parts)
