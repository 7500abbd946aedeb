"""The command line as a new user meets it: options, repeated commands, and short answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused, run
from torchvision.datasets import ImageFolder

from reid_aug.bank import Bank
from reid_aug.cli import errors, main
from reid_aug.cli.options import STAGE_OPTIONS
from reid_aug.data.dataset import read_market1501

COPIES = ("--set", "synthesize.method=copies")
SMALL = (
    *("--set", "train_reid.steps=1", "--set", "train_reid.batch=2", "--ratio", 0),
    *("--set", "train_reid.height=32", "--set", "train_reid.width=16"),
)


ALL = set(STAGE_OPTIONS)
TAKEN = {
    "train-generator": ALL,
    "synthesize": ALL,
    "train-reid": ALL - {"keypoints"},
    "benchmark": ALL - {"recipe", "seed", "keep"},
    "bank verify": ALL - {"seed", "device", "keypoints", "dry_run"},
    "bank score": ALL - {"seed", "keypoints"},
    "bank show": ALL - {"seed", "device", "keypoints"},
    "bank export": ALL - {"seed", "device"},
    "bank import": ALL - {"seed", "device"},
    "generator attention": ALL - {"seed", "keep", "device"},
    "generator evaluate": ALL - {"seed", "keep"},
    "generator user-study": ALL - {"device", "keypoints"},
    "reid evaluate": ALL,
    "reid rank": ALL - {"seed", "keypoints"},
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_command_has_the_options_that_it_uses_and_no_other(name):
    command = main
    for word in name.split():
        command = command.commands[word]

    assert {param.name for param in command.params} & ALL == TAKEN[name]


def test_an_option_that_a_command_does_not_use_is_refused(here):
    assert "No such option '--seed'" in refused("bank", "verify", "--seed", 1)


def test_only_commands_that_the_recipe_governs_report_its_default(here):
    made = run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)
    shown = run("bank", "show", "--data", "data")

    assert "no --recipe: recipe demo" in made.stderr
    assert "no --recipe" not in shown.stderr


def test_a_kept_set_that_mode_replace_excludes_is_refused_before_a_missing_bank(here):
    line = refused(
        "train-reid", "--data", "data", "--keep", 0.5, "--mode", "replace", "--ratio", 0.5
    )

    assert "keep must be 1 in mode replace, which keeps 1 - ratio itself, got 0.5; leave" in line


def test_a_bank_of_another_method_is_called_that(here):
    run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)

    line = refused(
        "synthesize", "--data", "data", "--ratio", 0.5, "--set", "synthesize.method=limb-warp"
    )

    assert "holds a bank of another generator or method; choose another folder" in line


def test_a_bank_of_another_plan_names_what_differs(here):
    run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)

    line = refused("synthesize", "--data", "data", "--ratio", 0.5, *COPIES,
                   "--set", "data.width=32")  # fmt: skip

    assert "holds a bank of another plan (width 64, this one would have 32); choose" in line


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("bank", "verify", "data/bank.h5"), "--bank FILE, --recipe NAME|FILE, --data DIR|CSV"),
        (("train-reid", "data"), "--recipe NAME|FILE, --data DIR|CSV, --out DIR, --bank FILE"),
    ],
)
def test_a_file_without_its_option_is_refused_with_the_options_for_files(here, words, options):
    line = refused(*words)
    assert f"argument ({words[-1]}); name a file with its option: {options}" in line


def test_a_bank_of_another_kept_set_than_asked_for_is_refused(here):
    run("synthesize", "--data", "data", "--keep", 0.5, "--ratio", 0.5, *COPIES)
    run("bank", "verify", "--data", "data", "--keep", 0.5)

    for words in (("verify",), ("verify", "--bank", "runs/data/bank.h5"), ("score",), ("show",)):
        place = () if "--bank" in words else ("--data", "data")
        line = refused("bank", *words, *place, "--keep", 1)
        assert "must be a bank of keep 1, got one of keep 0.5" in line
        assert "--keep 0.5" in line


def test_a_bank_that_replaces_images_belongs_to_the_whole_set_too(here):
    run("synthesize", "--data", "data", "--mode", "replace", "--ratio", 0.5, *COPIES)

    run("bank", "verify", "--data", "data")
    run("bank", "verify", "--data", "data", "--keep", 1)
    assert "got one of keep 0.5" in refused("bank", "verify", "--data", "data", "--keep", 0.2)


def test_a_finished_command_says_that_it_is_done_already(here):
    small = ("generator.width=4", "generator.blocks=1", "train_generator.steps=1",
             "train_generator.batch=2", "train_generator.discriminator_start=1.0")  # fmt: skip
    generator = ("--recipe", "market1501", *(word for one in small for word in ("--set", one)))
    for words in (
        ("train-generator", "--data", "data", *generator),
        ("train-reid", "--data", "data", *SMALL),
        ("reid", "evaluate", "runs/data/reid/resnet18-baseline-keep1-seed0/model.safetensors",
         "--data", "data"),
        ("generator", "evaluate", "--data", "data", "--count", 2, "--recipe", "market1501"),
    ):  # fmt: skip
        assert "done already" not in run(*words).stderr
        assert "done already: " in run(*words).stderr, words


def test_a_network_is_evaluated_into_its_own_run(here):
    run("train-reid", "--data", "data", *SMALL, "--out", "mine")
    model = "mine/reid/resnet18-baseline-keep1-seed0/model.safetensors"

    scored = run("reid", "evaluate", model, "--data", "data").stdout.splitlines()[-1]
    shown = run("reid", "rank", model, "--data", "data", "--count", 1).stdout.splitlines()[-1]

    assert {Path(scored).parent, Path(shown).parent} == {Path("mine/evaluations")}
    assert not (here / "runs").exists()


def test_a_training_from_random_weights_says_so_before_it_starts(here):
    assert "no train_reid.weights: the network starts from random weights" in (
        run("train-reid", "--data", "data", *SMALL, "--dry-run").stderr
    )


def test_every_stage_can_be_costed_before_anything_exists(here):
    small = ("--recipe", "market1501", "--dry-run", "--data", "data",
             "--set", "generator.width=4", "--set", "generator.blocks=1",
             "--set", "train_reid.height=32", "--set", "train_reid.width=16")  # fmt: skip

    made = run("synthesize", *small, "--ratio", 1)
    trained = run("train-reid", *small, "--ratio", 1)

    count = len(read_market1501("data").train)
    assert "generator.safetensors does not exist yet: an untrained generator" in made.stderr
    assert f"{count} images of 4 identities" in made.stderr
    assert "trained on: kept" in made.stderr
    started = run("synthesize", *small, "--set", "train_generator.start=demo",
                  "--set", "generator.width=12", "--set", "generator.blocks=3",
                  "--set", "generator.cameras=6", "--set", "generator.limbs=true",
                  "--set", "generator.downsamplings=3", "--ratio", 1)  # fmt: skip
    assert "trained on: external" in started.stderr
    assert "would write runs/data/bank.h5: about " in made.stdout
    assert f"{count} real and {count} generated images" in trained.stderr
    assert "bank.h5 does not exist yet: a step on real images is measured" in trained.stderr
    assert "resnet50-supplement1-keep1-seed0/result.json: about " in trained.stdout
    assert not (here / "runs").exists()


def test_a_dry_run_prints_the_tables_that_the_command_uses(here):
    made = run("synthesize", "--data", "data", "--dry-run", *COPIES).stdout

    assert [*json.loads(made[: made.rindex("}") + 1])] == ["name", "seed", "data", "synthesize"]


def test_a_dry_run_of_finished_work_says_so(here):
    run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)

    made = run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES, "--dry-run").stdout

    assert "nothing to do: runs/data/bank.h5 exists" in made


def test_a_bank_is_exported_with_a_folder_per_identity(here):
    run("synthesize", "--data", "data", "--ratio", 0.5, *COPIES)
    folders = ("--data", "data", "--mix", "--layout", "folders")

    run("bank", "export", "made", *folders)
    found = ImageFolder("made/train")

    dataset = read_market1501("data")
    assert found.classes == sorted({f"{image.pid:04d}" for image in dataset.train})
    assert len(found) == len(dataset.train) + len(Bank("runs/data/bank.h5"))
    assert all(Path(path).name[:4] == found.classes[label] for path, label in found.samples)
    assert len(ImageFolder("made/query")) == len(dataset.query)
    run("bank", "import", "made/train", "--csv", "made/provenance.csv", "--data", "data",
        "--out", "again")  # fmt: skip
    assert "did you mean folders?" in refused("bank", "export", "x", "--layout", "folder")


def test_every_module_imports_without_the_functions_that_macos_lacks():
    code = """
import os, pkgutil, importlib
for name in ("sched_getaffinity", "sched_setaffinity", "posix_fadvise"):
    if hasattr(os, name):
        delattr(os, name)
import reid_aug
for module in pkgutil.walk_packages(reid_aug.__path__, "reid_aug."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from reid_aug.stages.train_reid import loaders
from reid_aug.stages.train_reid.settings import TrainReidConfig
assert loaders(TrainReidConfig(workers=2)) >= 1
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_system_without_locks_gets_a_sentence(here, monkeypatch):
    monkeypatch.setitem(errors.NEEDED, "fcntl", "no_such_function")

    assert "this system lacks fcntl.no_such_function" in refused("check", "data")


def test_parts_may_be_given_in_per_cent(here):
    run("synthesize", "--data", "data", "--keep", "50%", "--ratio", "50%", *COPIES)

    assert Bank("runs/data/bank.h5").attributes.keep == 0.5


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("train-reid", "--keep", "3"), "--keep must be above 0 and at most 1, got 3"),
        (("train-reid", "--keep", "half"), "must be a number, as 0.5 or 50%, got 'half'"),
        (("train-reid", "--device", "0"), "did you mean cuda:0?"),
        (("train-reid", "--recipe", "market-1501"), "did you mean market1501?"),
        (("benchmark", "lowdat"), "did you mean lowdata?"),
        (("train-reid", "--set", "train_reid.lr=0"), "--set: train_reid: lr must be above 0"),
        (("train-reid", "--preset", "srong"), "--preset must be one of plain, strong"),
        (("synthesize", "--ratio", "1", "--mode", "replac"), "--mode must be one of"),
        (("train-reid", "--backbone", "resnet5"), "did you mean resnet50?"),
        (("train-reid", "--min-score", "sharp"), "--min-score must be NAME=VALUE"),
        (("train-reid", "--min-score", "sharpnes=1"), "margin, novelty, pose, sharpness; did you "
         "mean sharpness?"),
        (("train-reid", "--ratio", "-1"), "--ratio must be 0 or a positive number"),
        (("report", "data", "--format", "htm"), "did you mean html?"),
        (("estimate-poses", "data", "--weights", "nowhere.json"), "nowhere.json is missing"),
        (("train-reid", "--ratio", "0", "--set", "train_reid.weights=nowhere.pth"),
         "nowhere.pth is missing"),
        (("train-reid", "--epochs", "10"), "the key of the recipe with --set train_reid.steps="),
        (("train-generator", "--lr", "1"), "--set train_generator.lr="),
        (("synthesize", "--device", "gpu"), "did you mean cuda?"),
        (("synthesize", "--generator", "data"), "data: must be a regular file, got a folder"),
        (("train-reid", "--ratio", "0", "--set", "train_reid.weights=data"),
         "data: must be a regular file, got a folder"),
        (("train-generator", "--set", "train_generator.vgg=data"),
         "data: must be a regular file, got a folder"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_found_before_a_missing_file_and_named_as_given(here, words, answer):
    place = ("--data", "data") if words[0] not in ("report", "estimate-poses") else ()

    assert answer in refused(*words, *place)
