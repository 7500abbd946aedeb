"""Ranked lists: what is shown is what is scored."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from reid_aug.cli import main
from reid_aug.data.dataset import read_image, read_market1501
from reid_aug.data.pictures import INK, TITLE
from reid_aug.evaluation import Matches, evaluate
from reid_aug.evaluation.features import columns
from reid_aug.evaluation.ranked_lists import (
    FRAME_WIDTH,
    HIT,
    LISTED_SIZE,
    MISS,
    check_choice,
    choose_queries,
    ranked,
    ranked_picture,
)
from reid_aug.runtime.errors import UserError
from tests.stages.test_evaluate_reid import small_backbone, write_network

HEIGHT, WIDTH = LISTED_SIZE
AP = np.array([0.4, np.nan, 0.1, 0.9, 0.1])


@pytest.mark.parametrize(
    ("which", "count", "chosen"),
    [
        ("worst", 2, [2, 4]),
        ("best", 2, [3, 0]),
        ("spread", 3, [2, 0, 3]),
        ("worst", 9, [2, 4, 0, 3]),
        ("best", 9, [3, 0, 4, 2]),
    ],
)
def test_which_queries_are_shown(which, count, chosen):
    found = choose_queries(AP, which, count)

    assert sorted(AP[found]) == sorted(AP[chosen])
    assert found == chosen


def test_no_such_choice():
    with pytest.raises(UserError, match="worst, best, spread"):
        check_choice("middle")


def test_misses_come_first_among_equals_and_the_ignored_not_at_all():
    row = np.array([0.3, 0.1, 0.3, 0.2, 0.05])

    found = ranked(row, matches=np.array([0, 3]), ignored=np.array([4]), top=9)

    assert found == [(1, False), (3, True), (2, False), (0, True)]
    assert ranked(row, np.array([0, 3]), np.array([4]), top=2) == found[:2]


def test_the_average_precision_can_be_read_off_the_list(people):
    dataset = read_market1501(people)
    size = len(dataset.query), len(dataset.gallery)
    distances = np.random.default_rng(0).integers(0, 9, size).astype(float)
    scores = evaluate(distances, *columns(dataset))
    answers = Matches(*columns(dataset))

    for query, row in enumerate(distances):
        hits = [is_hit for _, is_hit in ranked(row, *answers.of(query), top=size[1])]
        ranks = np.flatnonzero(hits) + 1
        assert scores.ap[query] == pytest.approx(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def test_frames_and_crops_of_the_picture(people):
    dataset = read_market1501(people)
    distances = np.random.default_rng(1).random((len(dataset.query), len(dataset.gallery)))
    answers, ap = Matches(*columns(dataset)), evaluate(distances, *columns(dataset)).ap

    picture = np.asarray(ranked_picture(dataset, distances, ap, [3, 1], top=4))

    assert picture.shape == (TITLE + 2 * HEIGHT, 6 * WIDTH, 3)
    for line, query in enumerate((3, 1)):
        top = TITLE + line * HEIGHT
        crops = picture[top : top + HEIGHT].reshape(HEIGHT, 6, WIDTH, 3).swapaxes(0, 1)
        assert tuple(crops[1][0, 0]) == INK
        for crop, (place, is_hit) in zip(
            crops[2:], ranked(distances[query], *answers.of(query), 4), strict=True
        ):
            assert tuple(crop[0, 0]) == (HIT if is_hit else MISS)
            inside = slice(FRAME_WIDTH, -FRAME_WIDTH)
            wanted = read_image(dataset.gallery[place].path, *LISTED_SIZE)
            np.testing.assert_array_equal(crop[inside, inside], wanted[inside, inside])


def test_the_command_writes_one_picture_and_the_same_one_again(people, tmp_path, monkeypatch):
    monkeypatch.setattr("reid_aug.backbones.checkpoint.build_backbone", small_backbone)
    model = write_network(tmp_path / "cell" / "model.safetensors")
    words = ["reid", "rank", str(model), "--data", str(people), "--out", str(tmp_path / "run")]
    few = ["--count", "3", "--top", "5"]

    result = CliRunner().invoke(main, [*words, *few])

    assert result.exit_code == 0, result.output
    path = tmp_path / "run/evaluations/cell-on-people-worst.png"
    assert result.stdout == f"{path}\n"
    before = path.read_bytes()
    with Image.open(path) as picture:
        assert picture.size == (7 * WIDTH, TITLE + 3 * HEIGHT)
    assert CliRunner().invoke(main, [*words, *few]).exit_code == 0
    assert path.read_bytes() == before
    refused = CliRunner().invoke(main, [*words, "--queries", "middle"])
    assert refused.exit_code == 2
    assert "queries must be one of worst, best, spread" in refused.stderr
