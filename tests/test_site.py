"""The documentation site: it builds without a warning, and has everything that the code has."""

import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from urllib.parse import unquote

import pytest
from documents import ROOT, blocks

import reid_aug as ra
from docs.generated import command_names
from reid_aug.cli import main
from reid_aug.stages.recipe import Recipe, recipe_names, shipped

LIBRARY = ROOT / "docs/reference/library.md"
STAGES = {name for name in ra.__all__ if type(getattr(ra, name)).__name__ == "module"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site").resolve()
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    done = subprocess.run([*sphinx, ROOT / "docs", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_reference_has_every_command_key_recipe_grid_and_name(site):
    commands = (site / "reference/commands.html").read_text()
    for words in command_names(main, ("reid-aug",)):
        assert f'id="{"-".join(words)}"' in commands, words

    keys = (site / "reference/recipe.html").read_text()
    for table in fields(Recipe):
        if is_dataclass(table.default_factory):
            for key in fields(table.default_factory):
                assert f'<span class="pre">{key.name}</span>' in keys, f"{table.name}.{key.name}"

    files = (site / "reference/recipes.html").read_text()
    for name in (*recipe_names(), *shipped("grids")):
        assert re.search(rf"<h2>(Recipe|Grid) {name}<", files), name

    library = (site / "reference/library.html").read_text()
    for name in set(ra.__all__) - STAGES - {"__version__"}:
        assert f'id="reid_aug.{name}"' in library, name
    for name in STAGES:
        assert f'id="reid_aug.stages.{name}.prepare"' in library, name


def test_every_page_can_be_reached_and_searched(site):
    index = (site / "searchindex.js").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        name = str(page.relative_to(ROOT / "docs").with_suffix(""))
        assert (site / f"{name}.html").is_file()
        assert f'"{name}"' in index


def test_every_internal_link_has_a_target(site):
    pages = {page: page.read_text() for page in site.rglob("*.html")}
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    for page, text in pages.items():
        for link in re.findall(r'(?:href|src)="(?![a-z]+:|//)([^"]+)"', text):
            file, _, anchor = unquote(link).partition("#")
            target = (page.parent / file.split("?")[0]).resolve() if file else page
            assert target.exists(), f"{page}: {link}"
            assert not anchor or anchor in anchors[target], f"{page}: {link}"


@pytest.mark.parametrize("name", sorted(set(ra.__all__) - {"__version__"}))
def test_every_public_name_has_an_example_that_runs(name):
    """``test_documents.py`` runs the examples."""
    assert re.search(rf"\bra\.{name}\b", "\n".join(blocks(LIBRARY, "python")))


def test_the_version_stands_in_one_place():
    files = ("setup.cfg", "pyproject.toml", "CITATION.cff", "README.md", "docs/conf.py")

    assert not [file for file in files if ra.__version__ in (ROOT / file).read_text()]
    first = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(ra.__version__)} - \d{{4}}-\d\d-\d\d", first[1])
