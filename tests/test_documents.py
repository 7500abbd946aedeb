"""The documents are current: their commands run, their help texts and tables are up to date.

``python tests/test_documents.py`` (``make documents``) rewrites the parts between markers:

    <!-- help: reid-aug synthesize -->    the output of --help
    <!-- table: results/demo -->          the table of the results in that folder of benchmarks/
    <!-- end -->
"""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tfjs_graphs import write_movenet

from reid_aug.cli import main
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.stages.recipe import load_recipe, recipe_names, shipped
from reid_aug.study.grid import load_grid
from reid_aug.study.report import read_results, report

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "benchmarks/README.md"]
MARKED = re.compile(r"<!-- (help|table): (.+?) -->\n(.*?)<!-- end -->", re.DOTALL)
FENCED = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
FEW = ("--set", "people.identities=4", "--set", "people.test_identities=4")
TINY = ("--set", "train_reid.height=64", "--set", "train_reid.width=32")
EXTRA = {  # options that make a command of the README small enough for a test
    "train-generator": ("--dry-run", "--out", "trained", "--set", "train_generator.batch=1", *FEW),
    "synthesize": FEW,
    "bank": (),
    "train-reid": ("--set", "train_reid.steps=1", "--set", "train_reid.batch=8", *TINY, *FEW),
    "benchmark": ("--dry-run", *FEW),
    "demo": ("--dry-run",),
    "reid": ("--set", "data.height=32", "--set", "data.width=16", *FEW),
    "generator": ("--count", "8", *FEW),
}


def rendered(document: Path) -> str:
    """The document with every marked part rendered again."""

    def render(match: re.Match) -> str:
        kind, what, _ = match.groups()
        if kind == "help":
            words = [*what.split()[1:], "--help"]
            result = CliRunner().invoke(main, words, prog_name="reid-aug", terminal_width=80)
            text = f"```text\n{result.output.rstrip()}\n```"
        else:
            text = report(read_results(ROOT / "benchmarks" / what), "markdown")
        return f"<!-- {kind}: {what} -->\n{text}\n<!-- end -->"

    return MARKED.sub(render, document.read_text())


def blocks(document: Path, language: str) -> list[str]:
    return [text for kind, text in FENCED.findall(document.read_text()) if kind == language]


def commands(document: Path) -> list[str]:
    lines = [
        line.split(" #")[0].strip() for text in blocks(document, "sh") for line in text.splitlines()
    ]
    return [line for line in lines if line]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_texts_and_tables_are_current(document):
    assert document.read_text() == rendered(document), "run: make documents"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_has_a_target(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_command_of_the_readme_runs(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for folder, cameras in (("runs/market1501", 0), ("runs/replaced", 0), ("runs/cameras", 6)):
        generator = Generator(GeneratorConfig(width=4, blocks=1, cameras=cameras))
        save_generator(generator, tmp_path / folder / "generator.safetensors")
    data = tmp_path / "market1501"
    data.symlink_to(people)
    write_movenet(tmp_path / "movenet-thunder.json", np.full((17, 3), 0.5))
    ran = set()
    for line in commands(ROOT / "README.md"):
        program, *words = shlex.split(line.replace("DIR", str(data)))
        if program == "make":
            assert f"\n{words[0]}:" in (ROOT / "Makefile").read_text()
            continue
        result = CliRunner().invoke(main, [*words, *EXTRA.get(words[0], ())])
        assert (program, result.exit_code) == ("reid-aug", 0), (
            f"{line}: {result.output} {result.exception!r}"
        )
        ran.add(words[0])
    assert ran >= {
        "check",
        "estimate-poses",
        "generator",
        "train-generator",
        "synthesize",
        "train-reid",
        "reid",
        "report",
    }
    for text in blocks(ROOT / "README.md", "python"):
        exec(compile(text.replace("DIR", str(data)), "README.md", "exec"), {})


def test_every_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    for name in main.commands:
        assert re.search(rf"^  {name} ", text, re.MULTILINE), name


def test_every_recipe_and_grid_loads_and_names_its_command():
    assert {"demo", "market1501"} <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).name == name
        assert f"reid-aug synthesize      --recipe {name}" in _head(f"recipes/{name}.toml") or (
            name == "demo" and "reid-aug demo" in _head("recipes/demo.toml")
        )
    for name in shipped("grids"):
        assert load_grid(name).cells()
        assert f"reid-aug benchmark {name}" in _head(f"benchmarks/grids/{name}.toml")


def _head(path: str) -> str:
    return "\n".join(line for line in (ROOT / path).read_text().splitlines() if line[:1] == "#")


if __name__ == "__main__":
    for path in DOCUMENTS:
        path.write_text(rendered(path))
        print(path, file=sys.stderr)
