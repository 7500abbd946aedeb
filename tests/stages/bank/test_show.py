"""The page of a bank: sorted by a score, self-contained, and safe whatever names say."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from reid_aug.bank import Bank
from reid_aug.cli import main
from reid_aug.data.dataset import DataConfig, kept, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.runtime.errors import UserError
from reid_aug.stages.bank.score import score_bank
from reid_aug.stages.bank.show import write_bank_page
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize


@pytest.fixture(scope="module")
def scored(people, tmp_path_factory):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    settings = SynthesizeConfig(ratio=1.0, method="copies")
    job = plan_bank(dataset, poses, None, settings, DataConfig(32, 16), 0)
    bank = Bank(synthesize(job, tmp_path_factory.mktemp("bank"), torch.device("cpu")))
    score_bank(bank, dataset, {}, torch.device("cpu"))
    return Bank(bank.path)


def rows_shown(text):
    return [int(row) for row in re.findall(r"<small>row (\d+):", text)]


def test_the_best_come_first_and_then_the_worst(people, scored, tmp_path):
    path = tmp_path / "bank.html"

    by = write_bank_page(scored, read_market1501(people).train, path, "sharpness")

    assert by == "sharpness"
    best, worst = path.read_text().split("<h2>")[1:]
    values, order = scored.scores["sharpness"], np.argsort(-scored.scores["sharpness"])
    shown = rows_shown(best)
    assert (values[shown] == values[order][: len(shown)]).all()
    low = rows_shown(worst)
    assert (values[low] == np.sort(values)[: len(low)]).all()
    assert not set(shown) & set(low)


def test_the_page_contains_every_picture_and_loads_nothing(people, scored, tmp_path):
    path = tmp_path / "bank.html"
    write_bank_page(scored, read_market1501(people).train, path)
    text = path.read_text()

    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)

    assert len(pictures) == 3 * len(rows_shown(text)) > 0
    assert all(Image.open(io.BytesIO(base64.b64decode(p))).size == (16, 32) for p in pictures)
    assert "://" not in text
    assert text.count("src=") == len(pictures)
    assert "<script" not in text


def test_a_score_that_is_not_there_and_another_data_set_are_refused(people, scored, tmp_path):
    real = read_market1501(people).train

    with pytest.raises(UserError, match=r"must be a score of the bank \(novelty, sharpness\)"):
        write_bank_page(scored, real, tmp_path / "bank.html", "beauty")
    with pytest.raises(UserError, match="must be an image of the kept set"):
        write_bank_page(scored, kept(real, 0.2), tmp_path / "bank.html")
    assert not list(tmp_path.iterdir())


def test_without_scores_rows_are_spread(people, tmp_path):
    words = ("--data", str(people), "--out", str(tmp_path / "run"))
    small = (
        "--set",
        "data.height=32",
        "--set",
        "data.width=16",
        "--set",
        "synthesize.method=copies",
    )
    assert CliRunner().invoke(main, ["synthesize", *words, *small]).exit_code == 0

    result = CliRunner().invoke(main, ["bank", "show", *words])

    assert result.exit_code == 0, result.output
    assert "no scores; make them with: reid-aug bank score" in result.stderr
    assert rows_shown((tmp_path / "run/bank.html").read_text())[0] == 0
