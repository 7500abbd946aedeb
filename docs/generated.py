"""The parts of the documentation that are made from code and results.

A part stands where the source of a page has its marker, ``<!-- generated: NAME ARGUMENT -->``:

    commands            the help text of every command
    keys                every key of a recipe, from the configs and their docstrings
    file MODULE         the indented description of a file at the top of a module's docstring
    result FOLDER KEYS  the results in a folder of ``benchmarks``, in few columns
    source PATH         a TOML file of the repository
    document PATH       a Markdown file of the repository, with its links rewritten

The parts are made when the site is built. What stands between ``<!-- in a clone -->`` and
``<!-- end -->`` is for readers of the source, and left out of the site.

The README, ``docs/index.md`` and ``benchmarks/README.md`` are read without a build, so their tables
are committed; ``make documents`` renders them (``tests/test_documents.py``).
"""

import inspect
import os
import re
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
from click.testing import CliRunner

from reid_aug.cli import main
from reid_aug.stages.recipe import Recipe
from reid_aug.stages.recipe_listing import meanings
from reid_aug.study.report import captioned_lines, read_results, texts
from reid_aug.study.report.rows import Line

ROOT = Path(__file__).parents[1]
IN_A_CLONE = re.compile(r"<!-- in a clone -->\n.*?<!-- end -->\n", re.DOTALL)
MARKER = re.compile(r"<!-- generated: (\w+) ?(.*?) -->")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]+)?\)")
INCLUDED = {  # files of the repository that are pages of the site
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "measurements.md",
    "examples/README.md": "notebooks.md",
}
SHOWN = ("images", "what", "mAP %", "Rank-1 %", "gain in mAP", "bootstrap", "verdict")
ROLE = re.compile(r":\w+:`~?([^`]+)`")


def with_generated_parts(text: str, page: str) -> str:
    """A page of the site: with its generated parts, and with links to other pages of the site.

    Args:
        text: its source.
        page: its name, as "how-to/index".
    """
    folder = (ROOT / "docs" / page).parent

    def linked(match: re.Match[str]) -> str:
        place = Path(os.path.relpath(folder / match[1], ROOT)).as_posix()
        if place not in INCLUDED:
            return match[0]
        target = Path(os.path.relpath(ROOT / "docs" / INCLUDED[place], folder)).as_posix()
        return f"]({target}{match[2] or ''})"

    here = LINK.sub(linked, IN_A_CLONE.sub("", text))
    return MARKER.sub(lambda match: PARTS[match[1]](match[2]), here)


def commands(_: str = "") -> str:
    """A heading and the help text of every command, groups before their commands."""
    return "\n\n".join(
        f"{'#' * (1 + len(words))} {' '.join(words)}\n\n```text\n{help_of(words)}\n```"
        for words in command_names(main, ("reid-aug",))
    )


def command_names(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The words that call a command, and those of all commands below it."""
    yield words
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from command_names(command.commands[name], (*words, name))


def help_of(words: tuple[str, ...]) -> str:
    """The help text of a command, 80 columns wide."""
    arguments = [*words[1:], "--help"]
    result = CliRunner().invoke(main, arguments, prog_name=words[0], terminal_width=80)
    return result.output.rstrip()


def keys(_: str = "") -> str:
    """A table of the keys for every table of a recipe."""
    found = [f for f in fields(Recipe) if is_dataclass(f.default_factory)]
    return "\n\n".join(table_of_keys(field.name, field.default_factory) for field in found)


def table_of_keys(name: str, config: type) -> str:
    """The heading, the description and the keys of one table of a recipe."""
    about = meanings(config)
    rows = [
        f"| `{field.name}` | {_value(field)} | {about[field.name].replace('|', '&#124;')} |"
        for field in fields(config)
    ]
    head = f"## [{name}]\n\n{markdown(config.__doc__ or '')}\n\n"
    return head + "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows])


def markdown(text: str) -> str:
    """The text of a docstring as Markdown, in one line: roles become plain code."""
    return ROLE.sub(r"`\1`", " ".join(text.split())).replace("``", "`")


def _value(field: Field[Any]) -> str:
    assert field.default is not MISSING, f"{field.name} has no default"
    value = field.default
    text = str(value).lower() if isinstance(value, bool) else value
    return f'`"{text}"`' if isinstance(value, str) else f"`{text}`"


def file(module: str) -> str:
    """The first indented block of a module's docstring: the tree or an example of its file."""
    text = inspect.getdoc(import_module(module)) or ""
    block = re.search(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, re.MULTILINE)
    assert block, f"{module}: its docstring describes no file"
    return f"```text\n{dedent(block[0]).strip()}\n```"


def result(folder_and_keys: str) -> str:
    """The rows of all tables of some results in the columns of ``SHOWN``, a table per section.

    Args:
        folder_and_keys: a folder of ``benchmarks``, and fields of a row's key that a row must have
            to be shown: "results/demo keep=0.2 ratio=0,2", with commas between several values. A
            row without generated images has no mode, and is shown with any.
    """
    folder, *keys = folder_and_keys.split()
    wanted = {name: values.split(",") for name, values in (key.split("=") for key in keys)}
    results = read_results(ROOT / "benchmarks" / folder)
    lines = [line for _, table in captioned_lines(results) for line in table]
    shown = [line for line in lines if _fits(line, wanted)]
    return "\n\n".join(_section(title, group) for title, group in texts.sections(shown))


def _fits(line: Line, wanted: dict[str, list[str]]) -> bool:
    own = {name: getattr(line.row.key, name) for name in wanted}
    shown = {name: f"{v:g}" if isinstance(v, float) else str(v) for name, v in own.items()}
    return all(shown[name] in ("", *values) for name, values in wanted.items())


def _section(title: str, lines: list[Line]) -> str:
    seeds = sorted({len(line.row.results) for line in lines})
    places = [texts.SHORT.index(name) for name in SHOWN]
    rows = [[texts.short_cells(line)[place] for place in places] for line in lines]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [SHOWN, ["---"] * len(SHOWN), *rows])
    return f"{title}, {'/'.join(map(str, seeds))} seeds:\n\n{table}"


def source(path: str) -> str:
    """A TOML file of the repository."""
    return f"```toml\n{(ROOT / path).read_text(encoding='utf-8').rstrip()}\n```"


def document(path: str) -> str:
    """A Markdown file of the repository, for a page in ``docs`` itself.

    Links to pages and pictures are those of the site; links to other files go to the repository.
    """
    folder = (ROOT / path).parent

    def rewritten(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        place = Path(os.path.relpath(folder / target, ROOT)).as_posix()
        if place in INCLUDED:
            return f"]({INCLUDED[place]}{anchor})"
        if place.startswith("docs/"):
            return f"]({place.removeprefix('docs/')}{anchor})"
        if place.endswith(".png"):
            return f"](../{place})"
        return f"]({repository()}/blob/main/{place}{anchor})"

    return LINK.sub(rewritten, (ROOT / path).read_text(encoding="utf-8"))


def repository() -> str:
    """The address of the repository, from the metadata of the package."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    urls = settings["metadata"]["project_urls"].strip().splitlines()
    return dict(line.split(" = ") for line in urls)["Source"]


PARTS = {
    "commands": commands, "document": document, "file": file, "keys": keys, "result": result,
    "source": source,
}  # fmt: skip
