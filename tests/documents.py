"""The documents of the repository: their rendered parts, their commands and their Python blocks.

A rendered part stands between two markers, and is committed:

    <!-- table: results/demo -->              all tables of a folder of ``benchmarks/results``
    <!-- result: results/demo keep=0.2 ratio=0,2 -->  its rows in few columns; those with these keys
    <!-- end -->

The rest of the documentation is generated when the site is built (``docs/generated.py``).
"""

import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for "make documents"; pytest has it already

from docs.generated import result  # noqa: E402
from reid_aug.study.report import read_results, report  # noqa: E402

README = ROOT / "README.md"
RENDERED = [README, ROOT / "docs/index.md", ROOT / "benchmarks/README.md"]
PAGES = [README, *sorted(ROOT.glob("docs/**/*.md"))]
LINKED = [
    *ROOT.glob("*.md"),
    *ROOT.glob("benchmarks/*.md"),
    *PAGES[1:],
    *ROOT.glob("examples/**/*.md"),
    *ROOT.glob("reid_aug/**/*.md"),
    *ROOT.glob(".github/**/*.md"),
]
MARKED = re.compile(r"<!-- (table|result): (\S+)((?: \S+=\S+)*) -->\n(.*?)<!-- end -->", re.DOTALL)
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def rendered(document: Path) -> str:
    """The document with every marked part rendered again."""

    def render(match: re.Match[str]) -> str:
        kind, folder, keys, _ = match.groups()
        if kind == "result":
            text = result(f"{folder}{keys}")
        else:
            text = report(read_results(ROOT / "benchmarks" / folder), "markdown")
        return f"<!-- {kind}: {folder}{keys} -->\n{text}\n<!-- end -->"

    return MARKED.sub(render, document.read_text())


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for kind, text in FENCED.findall(document.read_text()) if kind == language]


def commands(document: Path) -> list[list[str]]:
    """The words of every command in the blocks of the shell, without comments and "> FILE"."""
    text = "\n".join(blocks(document, "sh")).replace("\\\n", " ")
    lines = (line.split(" > ")[0] for line in text.splitlines())
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def is_ours(words: list[str]) -> bool:
    """Whether a command is one of reid-aug, with or without torchrun."""
    return words[0] == "reid-aug" or "reid_aug" in words


def arguments(words: list[str]) -> list[str]:
    """The arguments of a command of reid-aug."""
    return words[1:] if words[0] == "reid-aug" else words[words.index("reid_aug") + 1 :]
