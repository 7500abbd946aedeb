"""``--version --json`` and ``doctor``."""

import json

import pytest
from click.testing import CliRunner

from reid_aug import __version__
from reid_aug.cli import main
from reid_aug.stages.doctor import Finding, Level


def call(*words):
    return CliRunner().invoke(main, words, prog_name="reid-aug")


def test_the_version_is_one_line():
    assert call("--version").stdout == f"reid-aug, version {__version__}\n"


@pytest.mark.parametrize("words", [("--version", "--json"), ("--json", "--version")])
def test_the_version_as_json_describes_the_machine(words):
    found = json.loads(call(*words).stdout)

    assert found["reid_aug"] == __version__
    assert {"python", "packages", "processor", "cuda", "environment"} <= found.keys()


def test_json_alone_is_refused():
    result = call("--json", "check", "DIR")

    assert result.exit_code == 2
    assert result.stderr == "error: --json must be given with --version; see reid-aug --help\n"


@pytest.mark.parametrize(("level", "code"), [(Level.WARNING, 0), (Level.ERROR, 2)])
def test_doctor_prints_findings_and_fails_for_an_error(monkeypatch, tmp_path, level, code):
    given = []

    def examine(recipe, device, out):
        given.append((recipe.name, device, out))
        yield Finding(level, "disk", "1 GB free")
        yield Finding(Level.OK, "file locks", "work")

    monkeypatch.setattr("reid_aug.stages.doctor.examine", examine)

    result = call("doctor", "--out", str(tmp_path), "--device", "cpu")

    assert result.stdout == f"{level}: disk: 1 GB free\nok: file locks: work\n"
    assert result.exit_code == code
    assert given == [("demo", "cpu", tmp_path)]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        ImportError("libtorch_cpu.so: undefined symbol: _ZN5torch3jit", name="torch._C"),
        ModuleNotFoundError("No module named 'torchreid'", name="torchreid"),
    ],
)
def test_packages_that_do_not_fit_together_are_a_sentence(monkeypatch, error):
    def examine(*given):
        raise error

    monkeypatch.setattr("reid_aug.stages.doctor.examine", examine)

    result = call("doctor")

    remedy = "install reid-aug again, with torch and torchvision from one source"
    assert (result.exit_code, result.stderr) == (2, f"error: {error}; {remedy}\n")


def test_another_missing_package_is_a_fault_of_ours(monkeypatch):
    def examine(*given):
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    monkeypatch.setattr("reid_aug.stages.doctor.examine", examine)

    assert isinstance(call("doctor").exception, ModuleNotFoundError)
