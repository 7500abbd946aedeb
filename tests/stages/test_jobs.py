"""Every stage has one shape: prepare, describe, cost, run; only run writes."""

import importlib
import inspect
import json
import pkgutil

import pytest
import torch

from reid_aug import stages
from reid_aug.bank import Bank
from reid_aug.runtime import bfloat16, machine
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.progress import track
from reid_aug.stages import synthesize, train_generator, train_reid
from reid_aug.stages.job import Job
from reid_aug.stages.mix import resolve_mix
from reid_aug.stages.stage import open_stage

CPU = torch.device("cpu")
SMALL = (
    "data.height=32", "data.width=16", "generator.width=4", "generator.blocks=1",
    "train_generator.steps=2", "train_generator.batch=2", "train_generator.discriminator_width=4",
    "synthesize.method=copies", "train_reid.backbone=osnet_x0_25", "train_reid.steps=2",
    "train_reid.batch=4", "train_reid.height=32", "train_reid.width=16",
)  # fmt: skip


JOBS = sorted(
    {
        kind
        for module in pkgutil.walk_packages(stages.__path__, "reid_aug.stages.")
        for kind in vars(importlib.import_module(module.name)).values()
        if isinstance(kind, type) and issubclass(kind, Job) and kind is not Job
    },
    key=lambda kind: kind.__name__,
)


def test_every_job_has_the_same_methods():
    names = {kind.__name__ for kind in JOBS}
    assert names >= {
        "EstimatePosesJob", "EvaluateGeneratorJob", "EvaluateReidJob", "ExportBankJob",
        "ExportReidJob", "ExtractFeaturesJob", "ImportBankJob", "PoseJob", "RankJob",
        "ScoreBankJob", "ShowBankJob", "SynthesizeJob", "TrainGeneratorJob", "TrainReidJob",
        "UserStudyJob", "WalkJob",
    }  # fmt: skip
    for kind in JOBS:
        for name in ("describe", "cost", "run", "is_done", "outcome"):
            own, shape = (inspect.signature(getattr(one, name)) for one in (kind, Job))
            assert own == shape, (kind, name)
        assert isinstance(kind.path, property), kind


@pytest.fixture
def stage(people, tmp_path):
    return open_stage(data=str(people), out=str(tmp_path / "run"), device="cpu", settings=SMALL)


@pytest.fixture
def bank(stage):
    return Bank(synthesize.prepare(stage, ratio=0.5, mode="replace").run())


@pytest.mark.parametrize(
    ("prepare", "file"),
    [
        (train_generator.prepare, "generator.safetensors"),
        (synthesize.prepare, "bank.h5"),
        (lambda stage: train_reid.prepare(stage, ratio=0), "result.json"),
    ],
    ids=["train_generator", "synthesize", "train_reid"],
)
def test_only_run_writes_and_a_second_run_does_nothing(stage, prepare, file):
    job = prepare(stage)
    description, cost = job.describe(), job.cost(CPU)
    assert description
    assert cost.seconds > 0
    assert cost.bytes > 1000
    assert not stage.run.path.exists()

    path = job.run()

    assert path == job.path
    assert path.name == file
    assert json.loads(stage.run.recipe.read_text()) == job.stage.recipe.table()
    written = path.stat().st_mtime_ns
    stage.run.recipe.unlink()  # as if the run was killed before it wrote the recipe
    again = prepare(stage)
    assert again.run() == path
    assert path.stat().st_mtime_ns == written
    assert json.loads(stage.run.recipe.read_text()) == job.stage.recipe.table()
    assert f"done already: {path}" in again.describe()


@pytest.mark.parametrize("features", [["avx2"], ["amx_bf16"]])
@pytest.mark.parametrize("is_wanted", [False, True])
@pytest.mark.parametrize("table", ["train_generator", "train_reid"])
def test_a_training_says_before_it_starts_that_bfloat16_may_be_slow(
    stage, monkeypatch, table, is_wanted, features
):
    monkeypatch.setattr(bfloat16, "processor", lambda: {"features": features})
    stage = stage.with_options({f"{table}.bf16": is_wanted})
    prepare = {"train_generator": train_generator.prepare, "train_reid": plain}[table]

    note = f"{table}.bf16=true on a processor without AMX, where single precision is usually faster"
    assert (note in prepare(stage).describe()) == (is_wanted and features == ["avx2"])


def plain(stage):
    """The baseline."""
    return train_reid.prepare(stage, ratio=0)


def test_the_progress_of_a_job_is_shown_by_the_function_that_is_given(stage):
    titles = []

    def noted(items, what, total=None, start=0):
        titles.append(what)
        return track(items, what, total, start)

    train_generator.prepare(stage).run(noted)
    synthesize.prepare(stage).run(noted)
    train_reid.prepare(stage).run(noted)

    assert titles == ["train generator", "synthesize", "train osnet_x0_25"]


def test_without_a_ratio_the_mix_is_that_of_the_bank(stage, bank):
    mix = resolve_mix(stage)

    assert (mix.ratio, mix.mode, mix.generated) == (0.5, "replace", len(bank))


def test_with_a_ratio_the_mode_is_that_of_the_recipe(stage, bank):
    with pytest.raises(UserError, match="got a bank of another kept set"):
        resolve_mix(stage, ratio=0.5)

    assert resolve_mix(stage, 0.5, "replace").mode == "replace"


def test_ratio_zero_needs_no_bank(stage):
    assert resolve_mix(stage, ratio=0).generated == 0
    with pytest.raises(UserError, match=r"bank\.h5 is missing; make it with: reid-aug synthesize"):
        resolve_mix(stage)


def test_the_ratio_of_a_training_is_recorded_in_its_recipe(stage, bank):
    job = train_reid.prepare(stage, ratio=0.25, mode="replace", bank=make_bank(stage, 0.25))

    assert (job.stage.recipe.synthesize.ratio, job.stage.recipe.synthesize.mode) == (
        0.25,
        "replace",
    )
    assert job.folder.name == "osnet_x0_25-replace0.25-keep1-seed0"


def make_bank(stage, ratio):
    other = open_stage(
        data=str(stage.root), out=str(stage.run.path / "other"), device="cpu", settings=SMALL
    )
    return synthesize.prepare(other, ratio, "replace").run()


@pytest.mark.parametrize(
    ("prepare", "settings", "sentence"),
    [
        (train_reid.prepare, ("train_reid.batch=1000",), "takes 1000 images at once"),
        (
            train_reid.prepare,
            ("train_reid.backbone=resnet5",),
            "did you mean resnet50?",
        ),
        (train_generator.prepare, ("train_generator.vgg=gone.pth",), "gone.pth is missing"),
        (train_generator.prepare, ("generator.cameras=1",), "generator.cameras must be 0"),
    ],
)
def test_what_cannot_be_done_is_refused_when_it_is_prepared(
    people, tmp_path, prepare, settings, sentence
):
    stage = open_stage(
        data=str(people), out=str(tmp_path / "run"), device="cpu", settings=(*SMALL, *settings)
    )
    options = {"ratio": 0} if prepare is train_reid.prepare else {}

    with pytest.raises(UserError, match=sentence):
        prepare(stage, **options)

    assert not stage.run.path.exists()


def test_a_gallery_that_cannot_fit_is_refused_before_work_starts(stage, monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: 100)

    with pytest.raises(UserError, match=r"the distances of \d+ queries to \d+ gallery images need"):
        train_reid.prepare(stage, ratio=0)

    assert not stage.run.path.exists()
