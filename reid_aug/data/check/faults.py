"""Faults of a data set, one line each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

NAMED = 5  # number of names that are printed of a longer list
VALUES = re.compile(r"'[^']*'|\d+")


@dataclass(frozen=True, slots=True)
class Fault:
    """One error or warning of ``reid-aug check``."""

    is_error: bool
    text: str
    kind: str = ""
    """A short name of what is wrong, for programs."""
    files: tuple[Path, ...] = ()
    """The image files that a manifest must leave out, so that this fault is mended."""

    def __str__(self) -> str:
        return f"{'error' if self.is_error else 'warning'}: {self.text}"


def grouped(faults: Sequence[Fault]) -> list[Fault]:
    """Faults with at most :data:`NAMED` lines of a kind.

    More faults whose texts differ only in the file, numbers and quoted values become one, which has
    the files of all.
    """
    groups: dict[tuple[object, ...], list[Fault]] = {}
    for fault in faults:
        name = fault.files[0] if fault.files else ""
        rest = VALUES.sub("", fault.text.replace(str(name), ""))
        groups.setdefault((fault.is_error, fault.kind, rest), []).append(fault)
    return [
        fault
        for group in groups.values()
        for fault in (group if len(group) <= NAMED else [_as_one(group)])
    ]


def _as_one(group: Sequence[Fault]) -> Fault:
    text = group[0].text + like_it(len(group) - 1, "such fault")
    return replace(group[0], text=text, files=tuple(file for f in group for file in f.files))


def some(names: Sequence[object]) -> str:
    """The first names of a list, as text.

    >>> some([1, 2]), some([1, 2, 3, 4, 5, 6, 7])
    ('1, 2', '1, 2, 3, 4, 5 and 2 more')
    """
    shown = ", ".join(str(name) for name in names[:NAMED])
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def like_it(others: int, noun: str = "row") -> str:
    """The number of further faults of the same kind, as the end of a message.

    >>> like_it(0), like_it(1), like_it(7)
    ('', ' (and 1 more row)', ' (and 7 more rows)')
    """
    return f" (and {others} more {noun}{'s' * (others > 1)})" if others else ""
