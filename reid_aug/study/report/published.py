"""What papers printed about Market-1501, beside what was measured here, and never mixed with it.

The numbers lie in ``published.toml`` with the place where each table was read. They are shown only
under results on a data set that has Market-1501's counts of queries and gallery images.
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
    """One table of a paper. ``rows`` are the method, then a number a column, "" where none is."""

    title: str
    columns: tuple[str, ...]
    source: str
    note: str
    rows: tuple[tuple[str, ...], ...]


def published_beside(results: Iterable[Result]) -> tuple[PublishedTable, ...]:
    """The published tables, if any of the results is on Market-1501; else none."""
    market = any(
        (result.get("queries"), result.get("gallery")) == (QUERIES, GALLERY) for result in results
    )
    return published_tables() if market else ()


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """All published tables that we vouch for having read."""
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
