"""The checks of the machine: what is right is ok, and every fault has a remedy."""

import errno
import os
from collections import namedtuple

import pytest
import torch

from reid_aug.runtime import bfloat16
from reid_aug.stages import doctor
from reid_aug.stages.doctor import Level, examine
from reid_aug.stages.recipe import load_recipe, parse_settings
from tests.pretend_cuda import pretend_cuda

SMALL = (
    "data.height=32", "data.width=16", "generator.width=4", "generator.blocks=1",
    "train_generator.batch=2", "train_generator.discriminator_width=4",
    "train_generator.identity_model=", "train_generator.bf16=false", "train_reid.batch=4",
    "train_reid.backbone=osnet_x0_25", "train_reid.height=32", "train_reid.width=16",
)  # fmt: skip
BFLOAT16_IS_RIGHT = "reid_aug.runtime.bfloat16._is_right"
CPU = torch.device("cpu")


def recipe(*more):
    return load_recipe("demo", parse_settings((*SMALL, *more)))


def of(findings, check):
    return next(finding for finding in findings if finding.check == check)


def test_every_check_of_a_whole_machine_is_made_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(BFLOAT16_IS_RIGHT, lambda layer, module: True)

    found = list(examine(recipe(), "cpu", tmp_path / "run"))

    assert {finding.level for finding in found} <= {Level.OK, Level.NOTE}
    assert [finding.check for finding in found] == [
        "processor", "device", "bfloat16 of train_reid", "bfloat16 of train_generator", "disk",
        "file locks", *doctor.EXTRAS,
    ]  # fmt: skip
    assert str(of(found, "file locks")) == "ok: file locks: work"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table", ["train_reid", "train_generator"])
@pytest.mark.parametrize(("is_wanted", "level"), [(False, Level.NOTE), (True, Level.ERROR)])
def test_wrong_bfloat16_is_an_error_only_for_a_recipe_that_uses_it(
    monkeypatch, table, is_wanted, level
):
    monkeypatch.setattr(BFLOAT16_IS_RIGHT, lambda layer, module: False)

    found = doctor.check_bfloat16(recipe(f"{table}.bf16={str(is_wanted).lower()}"), table, CPU)

    assert found.level is level
    assert found.text.startswith("not used by this recipe, and ") != is_wanted
    assert "set the environment variable ONEDNN_MAX_CPU_ISA" in found.text


@pytest.mark.parametrize("feature", ["amx_bf16", "avx512_bf16"])
def test_bfloat16_without_amx_may_be_slow(monkeypatch, feature):
    monkeypatch.setattr(BFLOAT16_IS_RIGHT, lambda layer, module: True)
    monkeypatch.setattr(bfloat16, "processor", lambda: {"features": ["avx2", feature]})

    wanted = doctor.check_bfloat16(recipe("train_generator.bf16=true"), "train_generator", CPU)
    unused = doctor.check_bfloat16(recipe("train_generator.bf16=false"), "train_generator", CPU)

    is_fast = feature == "amx_bf16"
    assert wanted.level is (Level.OK if is_fast else Level.WARNING)
    assert ("compare the seconds per step" in wanted.text) != is_fast
    assert unused.level is Level.OK
    assert "seconds per step" not in unused.text


def test_a_gpu_is_tried(tmp_path):
    with pretend_cuda():
        found = list(examine(recipe(), None, tmp_path))

    assert str(of(found, "device")) == "ok: device: cuda:0, Pretend GPU, 85.9 GB"
    assert of(found, "bfloat16 of train_reid").text == "supported by cuda"


def test_a_gpu_that_does_not_compute_is_an_error_where_it_is_chosen(monkeypatch):
    def fail(*_):
        raise RuntimeError("no kernel image is available\nmore")

    with pretend_cuda(), monkeypatch.context() as patch:  # undone inside of the pretended device
        patch.setattr(torch, "randn", lambda *_, **__: torch.eye(2).expand(2, 2, 2))
        patch.setattr(torch.Tensor, "to", fail)
        levels = {
            name: of(doctor.check_devices(torch.device(name)), "device") for name in ("cpu", "cuda")
        }

    assert levels["cpu"].level is Level.WARNING
    assert levels["cuda"].level is Level.ERROR
    assert "no kernel image is available; install the PyTorch build" in levels["cuda"].text


@pytest.mark.parametrize(
    ("built_for", "words"),
    [(None, "built without CUDA"), ("13.0", "update the driver, or check CUDA_VISIBLE_DEVICES")],
)
def test_a_driver_without_a_usable_gpu_has_a_remedy(monkeypatch, tmp_path, built_for, words):
    (tmp_path / "version").touch()
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(doctor, "cuda", lambda: {"devices": []})

    assert words in of(doctor.check_devices(CPU), "device").text


def test_a_full_disk_is_an_error(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 9, 1))

    found = of(doctor.check_folder(tmp_path), "disk")

    assert found.level is Level.ERROR
    assert "free some, or choose another disk with --out" in found.text


def test_a_folder_that_cannot_be_written_is_an_error(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)

    *_, found = doctor.check_folder(tmp_path / "run")

    assert found.level is Level.ERROR
    assert "cannot be written (Permission denied); choose another folder with --out" in found.text


def test_missing_locks_are_found(monkeypatch, tmp_path):
    monkeypatch.setattr("fcntl.flock", lambda descriptor, how: None)

    found = of(doctor.check_folder(tmp_path), "file locks")

    assert found.level is Level.WARNING
    assert "mount it with locks" in found.text


def test_too_many_threads_are_found(monkeypatch):
    about = {"cores": 2, "threads": 64, "vectors": "AVX2", "memory": None}
    monkeypatch.setattr(doctor, "processor", lambda: about)

    (found,) = doctor.check_processor()

    assert found.level is Level.WARNING
    assert "set OMP_NUM_THREADS to the number of cores" in found.text


def test_a_compiler_is_checked_only_where_the_recipe_compiles(monkeypatch):
    def fail(device):
        raise doctor.UserError("train_generator.compile needs a compiler")

    monkeypatch.setattr(doctor, "check_compiler", fail)

    assert len(list(doctor.check_extras(recipe(), CPU))) == len(doctor.EXTRAS)
    *_, found = doctor.check_extras(recipe("train_generator.compile=true"), CPU)
    assert found.level is Level.ERROR
