"""The documents of the repository: their rendered parts, their commands and their Python blocks.

A rendered part stands between two markers, and is committed:

    <!-- table: results/demo -->              all tables of a folder of ``benchmarks/results``
    <!-- result: results/demo keep=0.2 -->    its rows in few columns; only those with these keys
    <!-- end -->

The rest of the documentation is generated when the site is built (``docs/generated.py``).
"""

import re
import shlex
from pathlib import Path

from reid_aug.study.report import captioned_lines, read_results, report, texts
from reid_aug.study.report.rows import Line

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RENDERED = [README, ROOT / "benchmarks/README.md"]
PAGES = [README, *sorted(ROOT.glob("docs/**/*.md"))]
LINKED = [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *PAGES[1:], *ROOT.glob("examples/*.md")]
MARKED = re.compile(r"<!-- (table|result): (\S+)((?: \S+=\S+)*) -->\n(.*?)<!-- end -->", re.DOTALL)
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = ("images", "what", "mAP %", "Rank-1 %", "gain in mAP", "bootstrap", "verdict")


def rendered(document: Path) -> str:
    """The document with every marked part rendered again."""

    def render(match: re.Match[str]) -> str:
        kind, folder, keys, _ = match.groups()
        results = read_results(ROOT / "benchmarks" / folder)
        text = report(results, "markdown") if kind == "table" else result_table(results, keys)
        return f"<!-- {kind}: {folder}{keys} -->\n{text}\n<!-- end -->"

    return MARKED.sub(render, document.read_text())


def result_table(results, keys: str) -> str:
    """The rows of all tables in the columns of ``SHOWN``, as Markdown.

    Args:
        keys: fields of a row's key that a row must have to be shown, as "keep=0.2 mode=supplement".
            A row without generated images has no mode and is always shown.
    """
    wanted = dict(part.split("=") for part in keys.split())
    lines = [line for _, table in captioned_lines(results) for line in table]
    lines = [line for line in lines if _fits(line, wanted)]
    places = [texts.SHORT.index(name) for name in SHOWN]
    parts = []
    for title, group in texts.sections(lines):
        seeds = {len(line.row.results) for line in group}
        rows = [[texts.short_cells(line)[place] for place in places] for line in group]
        table = [SHOWN, ["---"] * len(SHOWN), *rows]
        body = "\n".join(f"| {' | '.join(row)} |" for row in table)
        parts.append(f"{title}, {'/'.join(map(str, sorted(seeds)))} seeds:\n\n{body}")
    return "\n\n".join(parts)


def _fits(line: Line, wanted: dict[str, str]) -> bool:
    own = {name: str(getattr(line.row.key, name)) for name in wanted}
    return all(own[name] in ("", value) for name, value in wanted.items())


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for kind, text in FENCED.findall(document.read_text()) if kind == language]


def commands(document: Path) -> list[list[str]]:
    """The words of every command in the blocks of the shell, without comments."""
    text = "\n".join(blocks(document, "sh")).replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def is_ours(words: list[str]) -> bool:
    """Whether a command is one of reid-aug, with or without torchrun."""
    return words[0] == "reid-aug" or "reid_aug" in words


def arguments(words: list[str]) -> list[str]:
    """The arguments of a command of reid-aug."""
    return words[1:] if words[0] == "reid-aug" else words[words.index("reid_aug") + 1 :]
