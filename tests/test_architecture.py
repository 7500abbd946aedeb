"""The shape of the package: who may import whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reid_aug

PACKAGE = Path(reid_aug.__file__).parent
FLOORS = [
    "runtime", "data", "people", "pose_estimators", "generator", "backbones", "image_quality",
    "bank", "evaluation", "mixing", "stages", "study", "cli",
]  # fmt: skip
RANK = {name: rank for rank, name in enumerate(FLOORS)}
ONLY = {
    "torchreid": ("backbones", "stages.train_reid"),
    "h5py": ("bank", "data.formats.cuhk03_mat"),
    "click": ("cli",),
    "jinja2": ("runtime.pages",),
    "matplotlib": ("study.report",),
    "tqdm": ("runtime.progress",),
    "pickle": ("runtime.weights",),
    "ray": ("study",),
    "timm": ("backbones.timm_networks",),
    "onnx": ("stages.export_reid",),
    "onnxruntime": ("stages.export_reid",),
    "pyarrow": ("stages.extract_features",),
}
FILES = sorted(path for path in PACKAGE.glob("[!a]*/**/*.py"))
FILES = [PACKAGE / "mixing.py", *FILES]
FORBIDDEN = {"utils", "helpers", "common", "tools", "engine", "manager"}


def dotted(path: Path) -> str:
    """The name of a module inside the package, as "stages.train_reid.trainer"."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def room_of(path: Path) -> str:
    return dotted(path).split(".")[0]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names - {"reid_aug.__version__"}


def rooms_needed(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imported(path) if name.startswith("reid_aug.")}
    return names - {room_of(path)}


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_imports_run_one_way(path):
    own = room_of(path)
    assert own in RANK, f"{own} needs a place in this file's list"
    for other in rooms_needed(path):
        assert RANK[other] < RANK[own], f"{own} -> {other}"


def test_the_package_has_few_entries_and_few_arrows():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    arrows = {(room_of(path), other) for path in FILES for other in rooms_needed(path)}

    assert len(entries) <= 18
    assert len(arrows) <= 68


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_heavy_packages_have_one_door(path):
    own = dotted(path)
    for name in imported(path):
        doors = ONLY.get(name.split(".")[0], (own,))
        assert any(f"{own}.".startswith(f"{door}.") for door in doors), f"{own} imports {name}"


def test_every_module_has_a_docstring_and_a_name_that_says_something():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path
        assert path.stem not in FORBIDDEN, path


# Every module of data.formats may have these; T is the usual name of a type variable.
SHARED_CONSTANTS = {"NAME", "LOOKS_LIKE", "FOLDERS", "T"}


def constants_of(path: Path) -> set[str]:
    """The names in capitals that a module assigns."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        names |= {t.id for t in targets if isinstance(t, ast.Name) and t.id.isupper()}
    return names


def test_constants_of_two_modules_differ_in_name():
    owners: dict[str, list[str]] = {}
    for path in FILES:
        for name in constants_of(path) - SHARED_CONSTANTS:
            owners.setdefault(name, []).append(dotted(path))

    assert {"MODES", "JOINTS"} <= owners.keys()
    assert {name: modules for name, modules in owners.items() if len(modules) > 1} == {}


BODY = 15  # lines


def commands_of(path: Path) -> list[ast.FunctionDef]:
    """The functions of a file that click decorates as commands."""
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    return [
        function
        for function in functions
        if any(
            isinstance(mark, ast.Call)
            and isinstance(mark.func, ast.Attribute)
            and mark.func.attr == "command"
            for mark in function.decorator_list
        )
    ]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("cli/*.py")), ids=dotted)
def test_the_body_of_a_command_is_short(path):
    lengths = {}
    for command in commands_of(path):
        body = command.body[ast.get_docstring(command) is not None :]
        lengths[command.name] = body[-1].end_lineno - body[0].lineno + 1

    assert {name: length for name, length in lengths.items() if length > BODY} == {}


def test_the_commands_are_found():
    names = {command.name for path in PACKAGE.glob("cli/*.py") for command in commands_of(path)}

    assert {"train_generator", "synthesize", "train_reid", "report", "import_"} <= names


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


@pytest.mark.parametrize("folder", sorted(PACKAGE.glob("*/**/__init__.py")), ids=dotted)
def test_a_package_says_what_its_files_are(folder):
    text = ast.get_docstring(ast.parse(folder.read_text()))
    missing = [
        path.stem
        for path in (
            *folder.parent.glob("*.py"),
            *(p.parent for p in folder.parent.glob("*/__init__.py")),
        )
        if path.stem != "__init__" and not re.search(rf"\b{path.stem}\b", text)
    ]
    assert not missing


def test_the_map_of_the_package_names_every_room_in_order_of_dependency():
    topics = reid_aug.__doc__.split("\n- ")[1:]

    assert [topic.split(":")[0] for topic in topics] == FLOORS


def test_the_library_loads_neither_torch_nor_torchreid():
    code = "import sys, reid_aug; assert not {'torch', 'torchreid', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
