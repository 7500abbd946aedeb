"""Every command with every kind of wrong file and option.

A row of the table is a command with one input made wrong. The command must end with exit code 2 and
one sentence that names the place, and no file may be new or changed.
"""

import os
import re
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from tfjs_graphs import write_movenet

from reid_aug.cli import main
from reid_aug.data.keypoints import HEADER
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.stages.user_study import UserStudyConfig, write_user_study

RECIPE = "[data]\nheight = 32\nwidth = 16\n"
GRID = 'recipe = "demo"\nbackbone = ["osnet_x0_25"]\nratio = [0.0]\n'


@pytest.fixture(scope="module")
def whole(people, tmp_path_factory):
    """Valid inputs of all commands."""
    here = tmp_path_factory.mktemp("whole")
    shutil.copytree(people, here / "data")
    (here / "r.toml").write_text(RECIPE)
    (here / "g.toml").write_text(GRID)
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), here / "g.safetensors", {})
    write_movenet(here / "model.json", np.full((17, 3), 0.5))
    copies = ["--set", "synthesize.method=copies", "--ratio", "0.5", "--recipe", here / "r.toml"]
    call("synthesize", "--data", here / "data", "--out", here / "run", *copies)
    crops = [np.full((8, 4, 3), 9 * i, np.uint8) for i in range(3)]
    write_user_study(crops, crops, UserStudyConfig(count=2, practice=1), here / "run", 0)
    (here / "fashion").mkdir()
    (here / "run" / "report").mkdir()
    for name in ("train", "test"):
        (here / "fashion" / f"fasion-resize-annotation-{name}.csv").write_text(f"{HEADER}\n")
        (here / "fashion" / f"fasion-resize-pairs-{name}.csv").write_text("from,to\n")
    (here / "run" / "report" / "result.json").write_text("{}")
    (here / "m.csv").write_text("path,pid,camid,split\n")
    for name in ("a.json", "p.csv", "w.pth", "model.safetensors", "coco.json", "table.csv"):
        (here / name).write_text("{}")
    return here


@pytest.fixture
def here(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "in")
    monkeypatch.chdir(tmp_path / "in")
    return tmp_path / "in"


def call(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


COMMON = ("--data", "data", "--out", "run")
# the file that is made wrong -> the commands that read it
READERS = {
    "r.toml": [
        ("train-generator", *COMMON, "--recipe", "r.toml"),
        ("synthesize", *COMMON, "--recipe", "r.toml"),
        ("train-reid", *COMMON, "--recipe", "r.toml"),
        ("bank", "verify", *COMMON, "--recipe", "r.toml"),
        ("recipe", "r.toml"),
        ("doctor", "--recipe", "r.toml"),
    ],
    "m.csv": [
        ("convert", "m.csv", "new"),
        ("check", "m.csv", "--fix", "usable.csv"),
    ],
    "fashion/fasion-resize-annotation-train.csv": [("deepfashion", "fashion", "new")],
    "run/report/result.json": [("report", "run/report")],
    "g.toml": [("benchmark", "g.toml", "--out", "grid", "--dry-run")],
    "data/keypoints.csv": [
        ("synthesize", *COMMON),
        ("train-generator", *COMMON),
        ("estimate-poses", "data", "--from", "data/keypoints.csv", "--keypoints", "k.csv"),
    ],
    "run/bank.h5": [
        ("bank", "verify", *COMMON),
        ("bank", "score", *COMMON),
        ("bank", "show", *COMMON),
        ("bank", "export", "out", *COMMON),
        ("train-reid", *COMMON),
        ("generator", "user-study", *COMMON, "--count", "1", "--practice", "0"),
    ],
    "g.safetensors": [
        ("synthesize", "--data", "data", "--out", "new", "--generator", "g.safetensors"),
        ("generator", "attention", "a.jpg", "b.jpg", *COMMON, "--generator", "g.safetensors"),
        ("generator", "evaluate", *COMMON, "--generator", "g.safetensors", "--count", "1"),
        ("generator", "pose", "a.jpg", "walk/0/front", *COMMON, "--generator", "g.safetensors"),
        ("generator", "walk", "a.jpg", *COMMON, "--generator", "g.safetensors"),
    ],
    "w.pth": [
        ("generator", "import", "w.pth", "--out", "official"),
        ("train-reid", *COMMON, "--ratio", "0", "--set", "train_reid.weights=w.pth"),
    ],
    "model.safetensors": [
        ("reid", "evaluate", "model.safetensors", *COMMON),
        ("reid", "rank", "model.safetensors", *COMMON),
        ("reid", "features", "model.safetensors", "data", "--to", "f.npz"),
        ("reid", "export", "model.safetensors", "--onnx", "m.onnx"),
        ("bank", "score", *COMMON, "--scorer", "model.safetensors"),
    ],
    "model.json": [
        ("estimate-poses", "data", "--weights", "model.json", "--keypoints", "k.csv"),
        ("bank", "score", *COMMON, "--movenet", "model.json"),
    ],
    "coco.json": [("estimate-poses", "data", "--from", "coco.json", "--keypoints", "k.csv")],
    "p.csv": [("generator", "evaluate", *COMMON, "--generator", "demo", "--pairs", "p.csv")],
    "table.csv": [("bank", "import", "data/query", "--csv", "table.csv", *COMMON)],
    "a.json": [("generator", "user-study", *COMMON, "--answers", "a.json")],
    "run/user_study.json": [("generator", "user-study", *COMMON, "--answers", "a.json")],
}


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def nothing(path: Path) -> None:
    path.unlink()


WRONG = {
    "missing": nothing,
    "a pipe": pipe,
    "a device": device,
    "a folder": folder,
    "no text": lambda path: path.write_bytes(b"\x93\xff\x00\xfe" * 999),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "a long number": lambda path: path.write_bytes(b'{"a": ' + b"9" * 5000 + b"}"),
    "huge": lambda path: os.truncate(path, 2**41),
}
ROWS = [
    pytest.param(file, wrong, words, id=f"{file}: {wrong}: {' '.join(words[:2])}")
    for file, commands in READERS.items()
    for wrong in WRONG
    for words in commands[: None if wrong in ("a pipe", "no text") else 1]
    if (file, wrong) not in {("r.toml", "a folder"), ("coco.json", "a folder")}
]


def snapshot(top: Path) -> dict[str, object]:
    return {
        str(path.relative_to(top)): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in sorted(top.rglob("*"))
    }


@pytest.mark.parametrize(("file", "wrong", "words"), ROWS)
def test_a_wrong_file_is_one_sentence_and_nothing_is_written(here, file, wrong, words):
    WRONG[wrong](here / file)
    before = snapshot(here)

    result = call(*words)

    refused_in_one_sentence(result)
    assert snapshot(here) == before


def refused_in_one_sentence(result) -> str:
    assert result.exit_code == 2, (result.output, result.exception)
    errors = [line for line in result.output.splitlines() if "error:" in line]
    assert len(errors) == 1, result.output
    assert "Traceback" not in result.output
    return errors[0]


ARGUMENTS = {  # wrong arguments of commands that read no file that could be wrong
    ("people", "data"): "must be missing or an empty folder",
    ("people", "new", "--identities", "0"): "identities must be",
    ("demo", "--device", "quantum"): "--device must be cpu, cuda or cuda:N",
    ("demo", "--out", "r.toml"): "--out must be a folder, got a file",
}


@pytest.mark.parametrize("words", ARGUMENTS, ids=" ".join)
def test_a_wrong_argument_is_one_sentence(here, words):
    before = snapshot(here)

    assert ARGUMENTS[words] in refused_in_one_sentence(call(*words))
    assert snapshot(here) == before


def test_every_command_is_in_a_table():
    rows = [*ARGUMENTS, *(words for commands in READERS.values() for words in commands)]
    known = {words[:2] for words in rows} | {words[:1] for words in rows}

    assert [words for words in leaves(main) if words not in known] == []


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command below one."""
    if not isinstance(command, click.Group):
        return [words]
    return [leaf for name, one in command.commands.items() for leaf in leaves(one, (*words, name))]


LIMITS = {
    "--ratio=1e300": "ratio must be at most 1,000,000",
    "--ratio=1e6": "of disk space, got|of memory, got",
    "--ratio=nan": "ratio must be",
    "--seed=99999999999999999999": "seed must be",
    "--set=data.keep_seed=99999999999999999999": "integer of 64 bits",
    "--set=train_reid.height=100000": "height must be in 16..2048 pixels, got 100000",
    "--set=train_generator.discriminator_blocks=100000": "discriminator_blocks must be 256 or less",
    "--set=data.keep=1e999": "must be a finite number, got inf",
    "--set=train_generator.steps=" + "9" * 5000: "must be an integer of 64 bits",
    "--set=data.height=" + "[" * 2000 + "]" * 2000: "at most 64 levels of nesting",
    "--data=": "--data must not be empty",
    "--out=": "--out must not be empty",
    "--device=quantum": "--device must be cpu, cuda or cuda:N",
}


@pytest.mark.parametrize("option", LIMITS, ids=lambda text: text[:40])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry-run"])
def test_a_value_beyond_its_limits_is_one_sentence(here, option, dry):
    before = snapshot(here)

    result = call("synthesize", "--data", "data", "--out", "new", *dry, option)

    assert_matches(LIMITS[option], refused_in_one_sentence(result))
    assert snapshot(here) == before


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


@pytest.mark.parametrize(
    "option",
    [
        "train_generator.batch=1000000000",
        "generator.width=1000000",
        "train_generator.pool=99999999",
    ],
)
def test_a_generator_that_memory_cannot_hold_is_refused_with_its_bytes(here, option):
    result = call("train-generator", "--data", "data", "--out", "new", "--set", option)

    assert_matches(r"need [\d.e+]+ [TPE]B of memory, got", refused_in_one_sentence(result))
    assert not (here / "new").exists()


@pytest.mark.parametrize("words", [("check", ""), ("--data", ""), ("synthesize", "--out", "")])
def test_an_empty_argument_is_not_taken_as_none(here, words):
    assert "must not be empty" in refused_in_one_sentence(call(*words))


def test_a_name_that_is_not_utf_8_is_one_sentence(here):
    (here / "data" / "query" / os.fsdecode(b"0001_c1\xff.jpg")).touch()

    text = refused_in_one_sentence(call("synthesize", "--data", "data", "--out", "new"))

    assert r"names of images must be UTF-8, got '0001_c1\udcff.jpg'" in text
