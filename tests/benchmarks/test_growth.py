"""The growth script: links as a data set, each measurement once, the factor per tenfold size."""

import json

import pytest

from benchmarks import growth
from reid_aug.data.dataset import read_market1501


@pytest.fixture
def folder(people, tmp_path):
    (tmp_path / "people").symlink_to(people)
    return tmp_path


def test_the_data_set_has_the_given_number_of_images_and_a_pose_for_each(folder):
    root, poses = growth.data_set(folder, 200)

    dataset = read_market1501(root)
    lists = dataset.train, dataset.query, dataset.gallery
    assert [len(images) for images in lists] == [120, 20, 60]
    assert {image.name for images in lists for image in images} == set(poses)
    assert not {i.pid for i in dataset.train} & {i.pid for i in dataset.query}


@pytest.mark.parametrize("stage", ["plan", "ranking", "report", "bank"])
def test_a_stage_is_measured_without_its_preparation(folder, stage):
    found = growth.measure(stage, folder, 100)

    assert found["seconds"] > 0
    assert found["memory"] > 1e6


def test_what_is_measured_is_not_measured_again_and_growth_is_per_tenfold_size(tmp_path):
    place = tmp_path / "growth"
    place.mkdir()
    for count, seconds in ((10, 1.0), (1000, 100.0)):
        file = place / f"bank-{count}.json"
        file.write_text(json.dumps({"seconds": seconds, "memory": 2e6}))

    lines = list(growth.table(tmp_path, ["bank"], [10, 1000]))

    assert lines[2:] == ["| bank | 10 | 1 |  | 2 |", "| bank | 1000 | 100 | 10.0 | 2 |"]
    growth.plot(tmp_path, ["bank"], [10, 1000], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"
