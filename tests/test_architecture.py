"""The shape of the package: who may import whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reid_aug

PACKAGE = Path(reid_aug.__file__).parent
NOUNS = [
    "errors", "files", "progress", "workers", "pages", "pictures", "weights", "ranks",
    "bfloat16", "shared_norm", "adam_state", "provenance", "dataset", "poses", "pair_lists",
    "people", "pose_estimators",
    "generator", "adversary", "generator_training", "bank", "mixing", "backbones", "reid_training",
    "evaluation", "image_quality",
]  # fmt: skip
VERBS = [
    "check", "estimate_poses", "train_generator", "evaluate_generator", "user_study", "synthesize",
    "verify_bank", "score_bank", "show_bank", "export_bank", "import_bank", "train_reid",
    "deepfashion", "evaluate_reid", "report",
]  # fmt: skip
FRONT = ["recipe", "stage", "study", "benchmark", "cli"]
RANK = {name: rank for rank, group in enumerate((NOUNS, VERBS)) for name in group}
RANK |= {name: len(RANK) + place for place, name in enumerate(FRONT)}
ONLY = {
    "torchreid": {"backbones", "train_reid"},
    "h5py": {"bank"},
    "click": {"cli"},
    "jinja2": {"pages"},
    "matplotlib": {"report"},
    "tqdm": {"progress"},
    "pickle": {"weights"},
    "ray": {"study"},
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__"))
FORBIDDEN = {"utils", "helpers", "common", "tools", "engine", "manager"}


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "reid_aug":
            names |= {f"reid_aug.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names - {"reid_aug.__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    own = module_of(path)
    assert own in RANK, f"{own} needs a place in this file's lists"
    others = {name.split(".")[1] for name in imported(path) if name.startswith("reid_aug.")} - {own}
    for other in others:
        assert RANK[other] < RANK[own] or (RANK[other], RANK[own]) == (0, 0), f"{own} -> {other}"


def test_nouns_do_not_import_each_other_in_a_circle():
    needs = {
        name: {
            other.split(".")[1]
            for path in FILES
            if module_of(path) == name
            for other in imported(path)
            if other.startswith("reid_aug.")
        }
        - {name}
        for name in NOUNS
    }
    while needs:
        free = [name for name, others in needs.items() if not others & needs.keys()]
        assert free, f"a circle among {sorted(needs)}"
        for name in free:
            del needs[name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_have_one_door(path):
    for name in imported(path):
        top = name.split(".")[0]
        assert module_of(path) in ONLY.get(top, {module_of(path)}), f"{path.name} imports {name}"


def test_every_module_has_a_docstring_and_a_name_that_says_something():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path
        assert path.stem not in FORBIDDEN, path


def test_help_imports_neither_torch_nor_torchreid():
    code = """
import sys
from click.testing import CliRunner
from reid_aug.cli import main
result = CliRunner().invoke(main, ["--help"])
heavy = {"torch", "torchreid", "h5py"} & set(sys.modules)
assert result.exit_code == 0 and not heavy, (result, heavy)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "folder", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda p: p.parent.name
)
def test_a_package_says_what_its_files_are(folder):
    text = ast.get_docstring(ast.parse(folder.read_text()))
    missing = [
        path.stem
        for path in sorted(folder.parent.glob("*.py"))
        if path.stem != "__init__" and not re.search(rf"\b{path.stem}\b", text)
    ]
    assert not missing


def test_the_map_of_the_package_names_every_module_once():
    topics = reid_aug.__doc__.split("\n- ")[1:]
    named = [name.strip() for topic in topics for name in topic.split(":")[1].split(",")]

    assert sorted(named) == sorted(RANK)
