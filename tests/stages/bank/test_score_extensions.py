"""Scores of installed packages: options, grids and advice follow from their entry points."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from click.testing import CliRunner

from reid_aug.bank import Bank
from reid_aug.bank.scores import SCORE_GROUP, scores_of_grid
from reid_aug.cli import main
from reid_aug.data.dataset import read_market1501
from reid_aug.mixing import Mix
from reid_aug.runtime.errors import UserError
from reid_aug.stages.bank.score import BankScore


@pytest.fixture
def made(people, tmp_path):
    """A bank, and its data set."""
    words = ["synthesize", "--data", people, "--out", tmp_path / "run", "--ratio", 1]
    sizes = ["--set", "data.height=64", "--set", "data.width=32"]
    result = call(*words, *sizes, "--set", "synthesize.method=copies")
    assert result.exit_code == 0, result.output
    return Bank(tmp_path / "run" / "bank.h5"), read_market1501(people)


class Brightness(BankScore):
    """A score of another package, without weights."""

    names = ("brightness",)

    def scores(self, batch):
        return batch.images.mean((1, 2, 3))[:, None] / 255


class Constant(BankScore):
    """A score of another package that reads its one value from its weights."""

    names, needs = ("constant",), "a text file with a number"

    def scores(self, batch):
        return np.full((len(batch.images), 1), float(self.weights.read_text()))


@pytest.fixture
def extensions(monkeypatch):
    """Declare scores as an installed package does."""

    def declare(**classes):
        entries = [
            EntryPoint(name, f"{__name__}:{kind}", SCORE_GROUP) for name, kind in classes.items()
        ]
        monkeypatch.setattr(
            "importlib.metadata.entry_points", lambda group: entries if group == SCORE_GROUP else []
        )

    return declare


def call(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_score_of_another_package_is_reached_without_a_change_of_the_command_line(
    extensions, made, people, tmp_path
):
    extensions(bright="Brightness", constant="Constant")
    bank, dataset = made
    (tmp_path / "number.txt").write_text("0.25")
    words = ("bank", "score", bank.path, "--data", people, "--out", tmp_path)

    result = call(*words, "--constant", tmp_path / "number.txt")

    assert result.exit_code == 0, result.output
    scored = Bank(bank.path)
    pixels = scored.images(0, len(scored))
    np.testing.assert_allclose(scored.scores["brightness"], pixels.mean((1, 2, 3)) / 255, rtol=1e-5)
    assert set(scored.scores["constant"]) == {np.float32(0.25)}
    assert scored.about_scores["brightness"] == {"data": "kept"}
    assert scored.about_scores["constant"]["data"] == "whole"
    mix = Mix(dataset.train, scored, 0.5, min_score={"constant": 0.2, "brightness": 0.0})
    assert mix.generated
    assert "--constant FILE" in call("bank", "score", "--help").stdout


def test_a_grid_and_the_advice_of_a_mix_know_the_scores_of_another_package(extensions, made):
    extensions(bright="Brightness", constant="Constant")
    bank, dataset = made

    assert scores_of_grid() == ("identity", "margin", "sharpness", "novelty", "brightness")
    with pytest.raises(UserError, match=r"bank score \S+ --constant FILE"):
        Mix(dataset.train, bank, 0.5, min_score={"constant": 0.2})


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("scorer", "Brightness", "its name must differ from those of other classes"),
        ("seed", "Brightness", "its name must not be that of another option of the command"),
        ("no name", "Brightness", "its name must be lower-case letters, digits and dashes"),
        ("gone", "Gone", "must be a class that can be imported"),
        ("call", "call", "must be the names of what it computes, got none"),
    ],
)
def test_a_score_that_cannot_be_an_option_is_one_sentence(
    extensions, made, people, tmp_path, name, kind, message
):
    extensions(**{name: kind})

    result = call("bank", "score", made[0].path, "--data", people, "--out", tmp_path)

    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]


def test_weights_for_a_score_that_needs_none_are_refused(extensions, made, people, tmp_path):
    extensions(bright="Brightness")
    words = ("bank", "score", made[0].path, "--data", people, "--out", tmp_path)

    result = call(*words, "--bright", "x")

    assert result.exit_code == 2
    assert "--bright must not be given" in result.stderr
