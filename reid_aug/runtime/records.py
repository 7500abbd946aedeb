"""Records: the checked values of a table that JSON or TOML holds, by key.

:class:`Table` is the one way to take values out of a file: each has a key, a type and a range, and
a value that breaks its rule is a UserError with the file, the key, the rule, the value and the
remedy. :func:`build` makes a config, which is a dataclass whose fields have the names of the keys.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, get_type_hints

from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.json_toml import LONGEST_VALUE, parse_json
from reid_aug.runtime.regular_files import TEXT, read_text

T = TypeVar("T")
REMOVE = "remove the file"


class Table:
    """A table, whose values are read by key and checked.

    A key that is allowed to be missing counts as null.

    Args:
        content: the table.
        file: its file, for errors.
        prefix: the keys of the tables around it, each with a dot.
        remedy: the end of errors.
    """

    def __init__(
        self, content: Mapping[str, Any], file: str, prefix: str = "", remedy: str = REMOVE
    ) -> None:
        self.content, self.file, self.prefix, self.remedy = content, file, prefix, remedy

    def refused(self, key: str, rule: str) -> UserError:
        """The error of a key that breaks its rule."""
        found = "got no such key"
        if key in self.content:
            found = f"got {repr(self.content[key])[:LONGEST_VALUE]}"
        return UserError(f"{self.file}: {self.prefix}{key} must be {rule}, {found}; {self.remedy}")

    def text(self, key: str, choices: Collection[str] = ()) -> str:
        """Text, one of ``choices`` if there are any."""
        value = self.content.get(key)
        if not isinstance(value, str) or (choices and value not in choices):
            raise self.refused(key, f"one of {', '.join(choices)}" if choices else "text")
        return value

    def whole(self, key: str, least: float = -math.inf, most: float = math.inf) -> int:
        """A whole number in [least, most]."""
        value = self.content.get(key)
        if type(value) is not int or not least <= value <= most:
            raise self.refused(key, f"a whole number{_bounds(least, most)}")
        return value

    def number(self, key: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number in [least, most]."""
        value = self.content.get(key)
        if not is_number(value) or not least <= value <= most:
            is_fraction = (least, most) == (0.0, 1.0)
            rule = (
                "a fraction in [0, 1]" if is_fraction else f"a finite number{_bounds(least, most)}"
            )
            raise self.refused(key, rule)
        return value

    def fraction(self, key: str) -> float:
        """A number in [0, 1]."""
        return self.number(key, 0.0, 1.0)

    def truth(self, key: str) -> bool:
        """True or false."""
        value = self.content.get(key)
        if not isinstance(value, bool):
            raise self.refused(key, "true or false")
        return value

    def table(self, key: str) -> "Table":
        """A table in the table."""
        return self.nested(self.content.get(key), key)

    def nested(self, value: Any, key: str) -> "Table":
        """A value in the table, which must be a table; ``key`` says where it is."""
        if not isinstance(value, Mapping):
            raise self.refused(key, "a table")
        return Table(value, self.file, f"{self.prefix}{key}.", self.remedy)

    def entries(self, key: str, rule: str, fits: Callable[[Any], bool]) -> list[Any]:
        """The entries of a list, which all keep a rule."""
        value = self.content.get(key)
        if not isinstance(value, list) or not all(map(fits, value)):
            raise self.refused(key, rule)
        return value

    def tables(self, key: str) -> "list[Table]":
        """A list of tables."""
        values = self.entries(key, "a list of tables", lambda one: isinstance(one, Mapping))
        return [self.nested(one, f"{key}[{place}]") for place, one in enumerate(values)]

    def has(self, key: str) -> bool:
        """Whether the key is there and does not hold null."""
        return self.content.get(key) is not None

    def optional_text(self, key: str, choices: Collection[str] = ()) -> str | None:
        """Text, or None."""
        return self.text(key, choices) if self.has(key) else None

    def optional_count(self, key: str) -> int | None:
        """A whole number of at least 0, or None."""
        return self.whole(key, 0) if self.has(key) else None

    def optional_fraction(self, key: str) -> float | None:
        """A number in [0, 1], or None."""
        return self.fraction(key) if self.has(key) else None

    def nullable_text(self, key: str, choices: Collection[str] = ()) -> str | None:
        """The text of a key that must be there and may hold null."""
        is_null = key in self.content and self.content[key] is None
        return None if is_null else self.text(key, choices)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number; a boolean is none."""
    return type(value) in (int, float) and math.isfinite(value)


def _bounds(least: float, most: float) -> str:
    if least == -math.inf and most == math.inf:
        return ""
    if most == math.inf:
        return f" of at least {least:g}"
    return f" in [{least:g}, {most:g}]" if least > -math.inf else f" of at most {most:g}"


def read_table(
    path: Path | str,
    what: str,
    remedy: str = REMOVE,
    format_: str | None = None,
    largest: int = TEXT,
) -> Table:
    """The table in a JSON file.

    Args:
        what: the kind of the file, for errors, as "a result of train-reid".
        remedy: what to do if the file is wrong.
        format_: the text that its key ``format`` must hold; None for a file without that key.
        largest: the most bytes that the file may have.

    Raises:
        UserError: If the file is missing, no regular file, no JSON table, or of another format.
    """
    table = parse_table(read_text(path, largest, remedy), str(path), what, remedy)
    content = table.content
    if format_ and content.get("format") != format_:
        raise table.refused("format", f"{format_} ({what})")
    return table


def parse_table(text: str, where: str, what: str, remedy: str = REMOVE) -> Table:
    """The table in a JSON text; ``where`` names its place in an error.

    Raises:
        UserError: If the text is no JSON table.
    """
    content = parse_json(text, where, what, remedy)
    if not isinstance(content, dict):
        raise UserError(f"{where}: must be {what}, got {repr(content)[:LONGEST_VALUE]}; {remedy}")
    return Table(content, where, remedy=remedy)


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A config of ``kind`` from a table; every name, type and value is checked.

    Args:
        where: the beginning of errors; "" for only the key.

    Raises:
        UserError: If a key is unknown, or a value has another type or is out of its range.
    """
    at = f"{where}: " if where else ""
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        if key not in known:
            raise UserError(f"{at}unknown key {key!r}{nearest(key, known)}")
        values[key] = _checked(value, hints[key], where, key)
    try:
        return kind(**values)
    except UserError as error:
        raise UserError(f"{at}{error}") from None


def _checked(value: Any, wanted: type, where: str, key: str) -> Any:
    place = f"{where}: {key}" if where else key
    if is_dataclass(wanted):
        if not isinstance(value, Mapping):
            raise UserError(f"{place} must be a table, got {repr(value)[:LONGEST_VALUE]}")
        return build(wanted, value, place if where else "")
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise UserError(
            f"{place} must be of type {wanted.__name__}, got {repr(value)[:LONGEST_VALUE]}"
        )
    return value
