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
LONGEST_VALUE = 80  # characters of a value in a message


FINITE = "{place} must be a finite number, got {found}"
WHOLE = "{place} must be an integer of 64 bits, got a larger one"
TEXTUAL = "{place} must be text in UTF-8 without NUL, got {found}"
TOO_DEEP = f"must have at most {DEEPEST} levels of nesting, got more"


class NoTomlError(UserError):
    """A text is no TOML."""


class _RefusedError(ValueError):
    """A value breaks a rule of this module; the message names the rule and the value."""


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
            raise _RefusedError(f"must have at most {TOML} characters, got {len(text)}")
        if longest := DOTTED.search(text):
            line = text.count("\n", 0, longest.start()) + 1
            raise _RefusedError(f"line {line} must have at most {MOST_DOTS} dots, got more")
        tables = tomllib.loads(text)
        check_value(tables)
    except tomllib.TOMLDecodeError as error:
        raise NoTomlError(f"{where}: must be TOML, got {error}") from None
    except (ValueError, RecursionError) as error:
        raise _error(where, "TOML", error, "") from None
    return tables


def _error(where: str, what: str, error: Exception, remedy: Remedy | str) -> UserError:
    if isinstance(error, RecursionError):
        error = _RefusedError(TOO_DEEP)
    elif "integer string" in str(error):  # of more digits than Python converts
        error = _RefusedError(WHOLE.format(place="a value"))
    if isinstance(error, _RefusedError):
        text = f"{where}: {error}"
    else:
        found = f"{error}" if what == JSON else f"no {JSON} that can be read: {error}"
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
            elif rule := _broken_rule(one):
                raise _RefusedError(
                    rule.format(place=_place(value, one), found=repr(one)[:LONGEST_VALUE])
                )
        if not below:
            return
        level = below
    raise _RefusedError(TOO_DEEP)


def _broken_rule(value: Any) -> str:
    """The rule that a scalar breaks, as the end of a message; "" for none."""
    if isinstance(value, str):
        return "" if "\0" not in value and (value.isascii() or is_utf8(value)) else TEXTUAL
    if isinstance(value, float):
        return "" if math.isfinite(value) else FINITE
    return "" if not isinstance(value, int) or LEAST <= value <= MOST else WHOLE


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8; undecodable bytes of file names cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(value: Any, wanted: object) -> str:
    """The keys that lead to the object ``wanted``, each with a dot; "a value" at the top."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        place, one = waiting.pop()
        if one is wanted:
            break
        if isinstance(one, dict):
            if any(key is wanted for key in one):
                return f"a key of {place or 'the table'}"
            waiting += [(f"{place}.{key}" if place else key, each) for key, each in one.items()]
        elif isinstance(one, list):
            waiting += [(f"{place}[{index}]", each) for index, each in enumerate(one)]
    return place or "a value"
