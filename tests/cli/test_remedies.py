"""Every command that an error advises runs as printed, and mends the error."""

import ast
import json
import re
import shlex
from pathlib import Path

import numpy as np
import torch
from command_line import call, run
from PIL import Image
from tfjs_graphs import write_movenet

import reid_aug
from reid_aug.cli import main
from reid_aug.data.dataset import read_market1501
from reid_aug.data.keypoints import HEADER
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from tests.generator.test_generator import random_official

COPIES = ("--set", "synthesize.method=copies")
TINY = (
    *("--recipe", "market1501", "--set", "generator.width=4", "--set", "generator.blocks=1"),
    *("--set", "train_generator.steps=1", "--set", "train_generator.batch=2"),
    *("--set", "train_generator.discriminator_start=1.0"),
)
PLACEHOLDERS = {"FILE": "weights.json", "DIR": "converted"}
VIEWS = {"train": ("1front", "2side"), "test": ("3back", "4full")}


def advised(*words) -> list[str]:
    """The words of the command that a refused command advises."""
    result = call(*words)
    assert result.exit_code == 2, (words, result.output, result.exception)
    line = result.stderr.splitlines()[-1]
    assert "reid-aug " in line, line
    command = line.rsplit("with: reid-aug ", 1)[1].split(", or ")[0]
    return [PLACEHOLDERS.get(word, word) for word in shlex.split(command)]


def test_a_missing_bank(here):
    export = ("bank", "export", "made", "--data", "data", "--ratio", 0.5, *COPIES)

    run(*advised(*export))

    run(*export)


def test_a_bank_that_is_too_small_is_extended_as_it_was_made(here):
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), "other.safetensors")
    for name, made in {
        "copies": (*COPIES, "--seed", 3),
        "demo": ("--generator", "demo", "--keep", 0.2, "--set", "synthesize.cameras=target"),
        "other": ("--generator", "other.safetensors", "--set", "synthesize.jitter=0.1"),
    }.items():
        keep = made[2:4] if "--keep" in made else ()
        run("synthesize", "--data", "data", "--ratio", 0.1, "--out", name, *made)
        export = ("bank", "export", f"{name}-made", "--data", "data", "--out", name, *keep)

        run(*advised(*export, "--ratio", 0.5))

        run(*export, "--ratio", 0.5)


def test_a_bank_of_another_kept_set(here):
    run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)
    export = ("bank", "export", "made", "--data", "data", "--ratio", 1, "--keep", 0.5, *COPIES)

    command = advised(*export)

    assert command[-2:] == ["--out", "runs/data-2"]
    run(*command)
    run(*export, "--out", "runs/data-2")


def test_a_bank_of_another_data_set(here):
    run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)
    next((here / "data/bounding_box_test").glob("0000_*")).unlink()
    export = ("bank", "export", "made", "--data", "data", "--ratio", 0.5, *COPIES)

    run(*advised(*export))

    run(*export, "--out", "runs/data-2")


def test_a_score_that_is_missing_or_passed_by_no_row(here):
    run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)
    export = ("bank", "export", "made", "--data", "data", "--ratio", 0.5)

    command = advised(*export, "--min-score", "sharpness=0")
    assert command == advised("bank", "show", "--data", "data", "--by", "sharpness")
    run(*command)
    run(*export, "--min-score", "sharpness=0")

    run(*advised(*export, "--min-score", "sharpness=99"))


def test_new_rows_of_a_scored_bank(here):
    synthesize = ("synthesize", "--data", "data", *COPIES)
    run(*synthesize, "--ratio", 0.2)
    run("bank", "score", "--data", "data")

    line = run(*synthesize, "--ratio", 0.5).stderr.splitlines()[-1]

    assert "new rows have no scores yet; make them with: reid-aug bank score" in line
    run(*shlex.split(line.rpartition("reid-aug ")[2]))
    assert "no scores yet" not in run(*synthesize, "--ratio", 0.5).stderr


def test_a_missing_generator(here):
    synthesize = ("synthesize", "--data", "data", "--ratio", 0.5, *TINY)

    run(*advised(*synthesize))

    run(*synthesize)


def test_released_weights_as_a_start(here):
    torch.save(random_official(GeneratorConfig(width=4, blocks=1)), "G.pth")
    train = ("train-generator", "--data", "data", *TINY)

    command = advised(*train, "--set", "train_generator.start=G.pth")

    start = run(*command).stdout.strip()
    run(*train, "--set", f"train_generator.start={start}")


def test_missing_keypoints(here):
    Path("data/keypoints.csv").unlink()
    write_movenet(here / "weights.json", np.full((17, 3), 0.5))

    limbs = ("--set", "synthesize.method=limb-warp")
    run(*advised("synthesize", "--data", "data", "--ratio", 0.5, *limbs))

    assert Path("data/keypoints.csv").is_file()


def test_a_data_set_that_only_convert_reads(here):
    Path("fashion").mkdir()
    name = "fashionMENDenimid0000008001_{}.jpg"
    for part in ("train", "test"):
        rows = [f"{name.format(view)}: {[40] * 18}: {[88] * 18}" for view in VIEWS[part]]
        Path(f"fashion/fasion-resize-annotation-{part}.csv").write_text("\n".join([HEADER, *rows]))
        pair = ",".join(name.format(view) for view in VIEWS[part])
        Path(f"fashion/fasion-resize-pairs-{part}.csv").write_text(f"from,to\n{pair}\n")
    for view in (*VIEWS["train"], *VIEWS["test"]):
        Image.new("RGB", (176, 256)).save(Path("fashion") / name.format(view))

    run(*advised("train-reid", "--data", "fashion", "--ratio", 0))

    assert len(read_market1501("converted").train) == len(VIEWS["train"])


def test_a_study_that_does_not_exist(here):
    run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)
    study = ("generator", "user-study", "--data", "data", "--count", 2, "--practice", 0)

    command = advised(*study, "--answers", "answers.json")

    run(*command, "--count", 2, "--practice", 0)


def test_data_that_cannot_be_evaluated_is_checked(here):
    for image in read_market1501("data").query:
        image.path.rename(image.path.with_name(image.name.replace(f"{image.pid:04}", "0999")))

    command = advised("train-reid", "--data", "data", "--ratio", 0)

    assert command == ["check", "data"]
    assert "no query" in call(*command).output


def test_a_report_of_nothing(here):
    Path("empty").mkdir()
    for folder in ("nowhere", "empty"):
        name, *words = advised("report", folder)

        context = main.commands[name].make_context(name, words)  # too slow to run here
        assert context.params["out"] == folder


def test_a_report_of_a_result(here):
    Path("run/reid/cell").mkdir(parents=True)
    Path("run/reid/cell/result.json").write_text(json.dumps({}))

    assert advised("report", "run/reid/cell/result.json") == ["report", "run"]


def test_every_advised_command_is_in_this_file():
    package = Path(reid_aug.__file__).parent
    calls = [
        node
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Remedy"
    ]
    words = [
        [word.value for word in one.args[0].elts if isinstance(word, ast.Constant)] for one in calls
    ]

    found = {re.sub(" (DATA|FILE).*", "", " ".join(one)) for one in words}

    assert found == {
        "synthesize", "bank score", "bank show", "train-generator", "generator import",
        "generator user-study", "estimate-poses", "check", "demo", "train-reid", "report",
        "convert DIR",
    }  # fmt: skip
