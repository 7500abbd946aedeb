"""Files that were edited by hand, and commands that are given twice."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from some_results import result

from reid_aug.cli import main
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import read_tensors, write_tensors
from reid_aug.stages.train_generator.folder import TrainingFolder
from reid_aug.study.report import find_results, report

HUGE, REMOVED = 10**30, object()
ODD = (None, True, -1, HUGE, 1e308, "", "x", "\ud800", [], [[]], {}, {"a": {}})
COPIES = ("--ratio", "0.5", "--set", "synthesize.method=copies")
DATA = ("--data", "data")
TWICE = {
    "people": ("people", "few", "--identities", "1", "--test-identities", "1"),
    "convert": ("convert", "data", "converted"),
    "check --fix": ("check", "data", "--fix", "usable.csv"),
    "estimate-poses --from": (
        "estimate-poses", "data", "--from", "data/keypoints.csv", "--keypoints", "k.csv",
    ),
    "bank import": ("bank", "import", "data/bounding_box_train", *DATA, "--out", "imported"),
    "synthesize": ("synthesize", *DATA, "--out", "run", *COPIES),
    "bank score": ("bank", "score", *DATA, "--out", "run"),
    "bank show": ("bank", "show", *DATA, "--out", "run"),
    "bank export": ("bank", "export", "exported", *DATA, "--out", "run"),
    "user study": (
        "generator", "user-study", *DATA, "--out", "run", "--count", "1", "--practice", "0",
    ),
}  # fmt: skip


def contents(top: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def once(people, tmp_path_factory):
    """A folder in which every command ran once."""
    here = tmp_path_factory.mktemp("once")
    shutil.copytree(people, here / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for words in TWICE.values():
            found = CliRunner().invoke(main, words)
            assert found.exit_code == 0, (words, found.output, found.exception)
    return here


@pytest.mark.parametrize("name", TWICE)
def test_a_command_given_twice_changes_nothing(once, monkeypatch, name):
    monkeypatch.chdir(once)
    before = contents(once)

    found = CliRunner().invoke(main, TWICE[name])

    assert found.exit_code == 0, (found.output, found.exception)
    assert contents(once) == before


@pytest.mark.parametrize("key", result(0.5, 0, 0.5))
def test_an_edited_result_is_shown_or_left_out_with_its_reason(tmp_path, key):
    baseline, whole = tmp_path / "a" / "result.json", tmp_path / "b" / "result.json"
    for path in (baseline, whole):
        path.parent.mkdir()
    baseline.write_text(json.dumps(result(0.0, 0, 0.5)))
    for odd in (*ODD, REMOVED):
        values = {**result(0.5, 0, 0.5), key: odd}
        whole.write_text(json.dumps({k: v for k, v in values.items() if v is not REMOVED}))

        results, faults = find_results(tmp_path)

        assert len(results) + len(faults) == 2, odd
        for style in ("terminal", "csv"):
            report(results, style)


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("key", ["format", "step", "notes", "processes", "tensors_sha256"])
def test_an_edited_state_of_a_training_is_one_sentence(tmp_path, key, odd):
    torch = pytest.importorskip("torch")
    folder = TrainingFolder(tmp_path, {"seed": 0})
    folder.save_state({"a": torch.zeros(2)}, 4)
    path = tmp_path / "training" / "00000004.safetensors"
    tensors, head = read_tensors(path)
    head[key] = odd
    write_tensors(path, tensors, head)

    with pytest.raises(UserError, match=r"00000004|training"):
        folder.newest_state()
