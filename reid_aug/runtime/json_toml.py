"""Reading JSON and TOML: the one parser of every such file and text.

What is read has at most 64 levels of nesting, integers of 64 bits, finite numbers, and text that
can be written as UTF-8. Code that gets such a value can copy, compare, print and store it without
an error. What the keys mean is checked by :mod:`reid_aug.runtime.records`.
"""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.regular_files import TEXT, read_text

JSON = "JSON"
DEEPEST = 64  # levels of nesting
LEAST, MOST = -(2**63), 2**63 - 1  # the integers of HDF5, numpy and torch
TOML = 256 * 2**10  # bytes of a recipe or grid; ours have at most 4 kB
MOST_DOTS = 256  # per line of TOML; the time for a dotted key grows with the square of its parts
DOTTED = re.compile(rf"^(?:[^.\n]*\.){{{MOST_DOTS + 1}}}", re.MULTILINE)
SHOWN = 80  # characters of a value in a message


class _RefusedError(ValueError):
    """A value that breaks a rule of this module; the message names the rule and the value."""


def read_json(
    path: Path | str, what: str = JSON, remedy: Remedy | str = "", largest: int = TEXT
) -> Any:
    """The value in a JSON file.

    Args:
        what: the kind of the file, for errors, as "a result of train-reid".
        remedy: what to do if the file is missing or wrong.
        largest: the most bytes that the file may have.

    Raises:
        UserError: If the file is missing, no regular file, too large, or no valid JSON.
    """
    return parse_json(read_text(path, largest, remedy), str(path), what, remedy)


def parse_json(text: str, where: str, what: str = JSON, remedy: Remedy | str = "") -> Any:
    """The value of a JSON text; ``where`` names its place in an error.

    >>> parse_json('{"a": [1, 2.5, null]}', "a.json")
    {'a': [1, 2.5, None]}

    Raises:
        UserError: If the text is no JSON, or a value in it is refused.
    """
    try:
        value = json.loads(text)
        check_value(value)
    except (ValueError, RecursionError) as error:
        raise _error(where, what, error, remedy) from None
    return value


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text; ``where`` names its place in an error.

    Raises:
        UserError: If the text is no TOML, too long, or a value in it is refused.
    """
    try:
        if len(text) > TOML:
            raise _RefusedError(f"a text of {len(text)} characters, more than {TOML}")
        if longest := DOTTED.search(text):
            line = text.count("\n", 0, longest.start()) + 1
            raise _RefusedError(f"more than {MOST_DOTS} dots in line {line}")
        tables = tomllib.loads(text)
        check_value(tables)
    except (ValueError, RecursionError) as error:
        raise _error(where, "TOML", error, "") from None
    return tables


def _error(where: str, what: str, error: Exception, remedy: Remedy | str) -> UserError:
    found = f"nesting deeper than {DEEPEST}" if isinstance(error, RecursionError) else str(error)
    if not isinstance(error, (_RefusedError, RecursionError)) and "integer string" in found:
        found = "an integer beyond 64 bits"  # one of more digits than Python converts
    found = found if what in (JSON, "TOML") else f"no {JSON} that can be read: {found}"
    text = f"{where}: must be {what}, got {found[:200]}"
    if isinstance(remedy, Remedy):
        return UserError(text, remedy)
    return UserError(f"{text}; {remedy}" if remedy else text)


def check_value(value: Any) -> None:
    """Raise a ValueError unless a value of JSON or TOML keeps the rules of this module."""
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.keys()
                below += one.values()
            elif isinstance(one, list):
                below += one
            else:
                _check_scalar(one)
        if not below:
            return
        level = below
    raise _RefusedError(f"nesting deeper than {DEEPEST}")


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise _RefusedError(f"text with a NUL character, {value[:SHOWN]!a}")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _RefusedError(f"text that is not UTF-8, {value[:SHOWN]!a}") from None
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _RefusedError(f"{value}, which is not a finite number")
    elif isinstance(value, int) and not LEAST <= value <= MOST:
        raise _RefusedError("an integer beyond 64 bits")
