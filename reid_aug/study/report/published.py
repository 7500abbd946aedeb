"""Numbers that papers printed about Market-1501, always apart from the numbers measured here.

The numbers lie in ``published.toml``, with the source of each table. A report shows them only under
results on a data set that has the same numbers of queries and gallery images as Market-1501.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from reid_aug.study.report.results import Result

QUERIES, GALLERY = 3368, 15913  # of Market-1501, without junk
HEADING = "Published about Market-1501, not measured here"


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table of a paper. A row is the method, then one number per column, "" without one."""

    title: str
    columns: tuple[str, ...]
    source: str
    note: str
    rows: tuple[tuple[str, ...], ...]


def published_beside(results: Iterable[Result]) -> tuple[PublishedTable, ...]:
    """The published tables if any of the results is on Market-1501, else none."""
    is_market = any((result.queries, result.gallery) == (QUERIES, GALLERY) for result in results)
    return published_tables() if is_market else ()


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """All published tables; each was read at its source."""
    text = resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    return tuple(
        PublishedTable(
            one["title"],
            tuple(one["columns"]),
            one["source"],
            one["note"],
            tuple(_row(row, len(one["columns"])) for row in one["rows"]),
        )
        for one in tomllib.loads(text)["table"]
    )


def _row(row: list[str | float], columns: int) -> tuple[str, ...]:
    method, *numbers = row
    texts = [f"{number:.1f}" for number in numbers]
    return str(method), *texts, *[""] * (columns - len(texts))
