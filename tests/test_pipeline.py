"""The whole road, small: people, generator, bank, networks, table; and the demo grid."""

import json
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from reid_aug.bank import Bank
from reid_aug.cli import main
from reid_aug.data.dataset import read_market1501
from reid_aug.data.provenance import names_sha256
from reid_aug.generator import GeneratorConfig, load_with_metadata
from reid_aug.stages.train_generator import TrainGeneratorConfig

SMALL = """
seed = 0
[data]
height = 32
width = 16
[people]
identities = 4
test_identities = 4
[generator]
width = 4
blocks = 2
[train_generator]
steps = 4
batch = 2
discriminator_width = 4
save_every = 2
[synthesize]
batch = 8
[train_reid]
backbone = "osnet_x0_25"
steps = 3
batch = 4
height = 32
width = 16
"""
GRID = """
recipe = "small.toml"
backbone = ["osnet_x0_25"]
mode = ["supplement", "replace"]
ratio = [0.0, 0.5]
seed = [0]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def call(*words):
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_from_images_to_the_table(people, here, no_network):
    data = shutil.copytree(people, here / "data")
    common = ("--recipe", "small.toml", "--data", data)
    assert call("train-generator", *common) == ["runs/data/generator.safetensors"]
    assert call("synthesize", *common, "--ratio", 1) == ["runs/data/bank.h5"]
    scores = {}
    for ratio in (0, 1):
        path = call("train-reid", *common, "--ratio", ratio)[-1]
        scores[ratio] = json.loads((here / path).read_text())
    table = call("report", "runs/data", "--format", "markdown")
    assert len([line for line in table if line.startswith("| osnet_x0_25")]) == 2
    real = read_market1501(data).train
    bank = Bank(here / "runs/data/bank.h5")
    assert bank.attributes.kept_sha256 == names_sha256(real)
    assert bank.attributes.generator_data == "kept"
    assert (scores[0]["generated"], scores[1]["generated"]) == (0, len(real))
    assert scores[0]["classes"] == scores[1]["classes"]
    assert scores[1]["leak_free"] is True
    assert {"recipe.json", "bank.json", "contact_sheet.png"} <= {
        path.name for path in (here / "runs/data").iterdir()
    }


def test_without_data_the_commands_work_on_the_built_in_people(here, no_network):
    recipe = ("--recipe", "small.toml")
    assert call("synthesize", *recipe, "--ratio", 0.5) == ["runs/small/bank.h5"]
    path = call("train-reid", *recipe, "--backbone", "inception_v2")[-1]
    result = json.loads((here / path).read_text())
    assert result["ratio"] == 0.5
    assert result["generator_data"] == "external"
    assert result["generated"] == len(Bank(here / "runs/small/bank.h5"))
    assert len(list((here / "cache/reid-aug").iterdir())) == 1


def test_a_generator_of_left_out_images_is_called_a_leak(people, here):
    common = ("--recipe", "small.toml", "--data", people)
    call("train-generator", *common)
    call(
        "synthesize",
        *common,
        "--keep",
        0.5,
        "--out",
        "half",
        "--generator",
        "runs/people/generator.safetensors",
    )
    path = call("train-reid", *common, "--keep", 0.5, "--out", "half")[-1]
    result = json.loads((here / path).read_text())
    assert result["generator_data"] == "whole"
    assert result["leak_free"] is False


def test_a_grid_runs_once_and_prints_the_same_table_again(people, here):
    words = ("benchmark", "grid.toml", "--data", people, "--generator", "demo", "--workers", 2)
    first = call(*words)
    results = {path: path.stat().st_mtime_ns for path in (here / "runs/grid").rglob("result.json")}
    assert len(results) == 3
    assert call(*words) == first
    assert {path: path.stat().st_mtime_ns for path in results} == results
    lines = [line.split("  ")[0] for line in first if line[:1] == "0"]
    assert lines == ["0", "0.5", "0.5"]
    assert sum("replacing real images" in line for line in first) == 1
    assert (here / "runs/grid/bank.h5").exists()
    assert (here / "runs/grid/keep-0.5/bank.h5").exists()
    assert call("report", "runs/grid") == first


def test_the_shipped_generator_is_trained_on_other_people_as_its_document_says():
    from reid_aug.stages.recipe import load_recipe, parse_settings
    from reid_aug.stages.stage import demo_generator

    generator, notes = load_with_metadata(demo_generator())
    document = demo_generator().with_name("README.md").read_text()
    command = document[document.index("reid-aug train-generator") :]
    recipe = load_recipe("demo", parse_settings(tuple(re.findall(r"--set (\S+)", command))))
    assert generator.config == GeneratorConfig(**notes["config"]) == recipe.generator
    identity_model = Path(recipe.train_generator.identity_model).name
    noted = TrainGeneratorConfig(**notes["recipe"]["train_generator"])
    assert noted == replace(recipe.train_generator, identity_model=identity_model)
    assert notes["step"] == recipe.train_generator.steps
    assert len(notes["trained_on"]) % 12 == 0
    assert notes["trained_on"]
