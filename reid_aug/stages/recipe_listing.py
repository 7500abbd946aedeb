"""A recipe as text: every key with its value, its default and its meaning.

The text is a recipe file itself: read again, it is the same recipe. The meaning of a key is the
docstring below its field.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from reid_aug.stages.recipe import Recipe

LISTING_WIDTH = 100  # columns
MARKUP = re.compile(r":\w+:`~?([^`]+)`|``([^`]+)``")
HIDDEN = ("name", "given")


def listing(recipe: Recipe) -> str:
    """The text of a recipe: its tables, with one paragraph per key."""
    parts = [f"# Recipe {recipe.name}: every key, with its default where it differs"]
    tables = [name for name in recipe.table() if is_dataclass(getattr(recipe, name))]
    parts += _paragraphs(recipe, [*HIDDEN, *tables])
    for name in tables:
        config = getattr(recipe, name)
        parts += [f"[{name}]\n{_comment(_first_line(type(config)))}", *_paragraphs(config)]
    return "\n\n".join(parts)


def _paragraphs(config: Any, left_out: Any = ()) -> Iterator[str]:
    about = meanings(type(config))
    for one in fields(config):
        if one.name in left_out:
            continue
        value = getattr(config, one.name)
        differs = f"  # default {_toml(one.default)}" if value != one.default else ""
        yield f"{_comment(about[one.name])}\n{one.name} = {_toml(value)}{differs}"


def meanings(kind: type[Any]) -> dict[str, str]:
    """The meaning of every field of a config, as one line of plain text."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = _plain(str(text.value.value))
    return found


def _first_line(kind: type) -> str:
    return _plain((kind.__doc__ or "").split("\n\n")[0])


def _plain(text: str) -> str:
    """The text of a docstring in one line, without its markup."""
    return " ".join(MARKUP.sub(lambda match: match[1] or f'"{match[2]}"', text).split())


def _comment(text: str) -> str:
    return textwrap.fill(text, LISTING_WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    """A value of a recipe in TOML.

    >>> _toml("a"), _toml(True), _toml(0.25)
    ('"a"', 'true', '0.25')
    """
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)
