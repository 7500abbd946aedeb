"""Report: what the trainings of a run folder say, and whether it is more than noise.

The rooms: :mod:`results` reads and checks, :mod:`rows` groups trainings that differ in their seed
and finds what they are compared with, :mod:`gains` has the statistics, :mod:`texts` the text
formats, :mod:`published` what papers printed. :mod:`page` makes one HTML file of it all, with
:mod:`curves`, :mod:`identities`, :mod:`flips` and :mod:`banks`.

Trainings on different data or with different settings (steps, batch, input, schedule) never share a
table. Tables hold no times and no hosts.
"""

from collections.abc import Sequence

from reid_aug.runtime.errors import UserError
from reid_aug.study.report import texts
from reid_aug.study.report.published import published_beside
from reid_aug.study.report.results import Result, find_results, read_results, tables_of
from reid_aug.study.report.rows import gain, lines_of, rows_of
from reid_aug.study.report.texts import FOOTNOTE, HEADER

__all__ = [
    "FORMATS", "HEADER", "find_results", "gain", "read_results", "report", "rows_of", "table",
]  # fmt: skip

HTML = "html"  # not a text: reid_aug.study.report.page
FORMATS = ("terminal", "markdown", "csv", "latex")


def table(results: Sequence[Result]) -> list[list[str]]:
    """The cells of a table, one list a row, in the order of ``HEADER``."""
    return [texts.cells(line) for line in lines_of(results)]


def report(results: Sequence[Result], style: str) -> str:
    """All tables of some results as text, in one of ``FORMATS``.

    Under results on Market-1501 stand the published ones, apart; not in CSV.

    Raises:
        UserError: If there is no such format, or two results are of one row and one seed.
    """
    if style not in FORMATS:
        raise UserError(f"--format must be one of {', '.join((*FORMATS, HTML))}, got {style!r}")
    tables = {caption: lines_of(group) for caption, group in tables_of(results).items()}
    if style == "csv":
        return texts.comma_separated(tables)
    draw = {"terminal": texts.terminal, "markdown": texts.markdown, "latex": texts.latex}[style]
    parts = [draw(caption, lines) for caption, lines in tables.items()]
    if style != "latex":
        parts.append(texts.wrapped(FOOTNOTE) if style == "terminal" else FOOTNOTE)
    parts += [texts.published(one, style) for one in published_beside(results)]
    return "\n\n".join(parts)
