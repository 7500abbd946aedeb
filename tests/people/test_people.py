import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_aug.data.keypoints import read_keypoints
from reid_aug.people import (
    RENDERER,
    People,
    PeopleConfig,
    cached_people,
    is_people,
    people_cache,
    read_people,
    write_people,
)
from reid_aug.people.dataset import GALLERY, QUERY, TRAIN
from reid_aug.runtime.errors import UserError

CONFIG = PeopleConfig(identities=2, test_identities=3, seed=7)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people") / "demo"
    write_people(folder, CONFIG)
    return folder


def images(root: Path) -> dict[str, Path]:
    return {path.name: path for path in root.glob("*/*.jpg")}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_file_names_have_the_form_of_market_and_are_unique(root):
    names = [path.name for path in root.glob("*/*.jpg")]

    assert len(names) == len(set(names))
    pattern = re.compile(r"(-1|\d{4})_c[1-6]s1_\d{6}_\d{2}\.jpg")
    assert all(pattern.fullmatch(name) for name in names)


def test_each_folder_contains_its_own_identities(root):
    def pids(folder: str) -> set[int]:
        return {int(path.name.split("_")[0]) for path in (root / folder).iterdir()}

    assert pids(TRAIN) == {1, 2}
    assert pids(QUERY) == {3, 4, 5}
    assert pids(GALLERY) == {-1, 0, 3, 4, 5}


def test_every_query_has_a_match_under_another_camera(root):
    gallery = {tuple(path.name.split("s1")[0].split("_")) for path in (root / GALLERY).iterdir()}
    queries = [path.name.split("s1")[0].split("_") for path in (root / QUERY).iterdir()]

    assert len({tuple(query) for query in queries}) == len(queries)
    for pid, camera in queries:
        assert any(other == pid and where != camera for other, where in gallery)


def test_every_image_is_128_by_64_and_has_keypoints_inside(root):
    poses, files = read_keypoints(root / "keypoints.csv"), images(root)

    assert poses.keys() == files.keys()
    for path in files.values():
        assert pixels(path).shape == (128, 64, 3)
    xy = np.concatenate([pose.xy[pose.seen] for pose in poses.values()])
    assert (xy >= 0).all()
    assert (xy < (64, 128)).all()


def test_the_csv_has_the_format_of_other_tools(root):
    with (root / "keypoints.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=":"))

    assert set(rows[0]) == {"name", "keypoints_y", "keypoints_x"}
    assert all(len(json.loads(row["keypoints_y"])) == 18 for row in rows)


def test_people_depend_on_seed_and_pid_only(root, tmp_path):
    write_people(tmp_path / "one", replace(CONFIG, identities=1, test_identities=1, first=2))

    few, many = images(tmp_path / "one"), images(root)
    common = [name for name in few if name[:4] == "0002"]
    assert common
    for name in common:
        assert np.array_equal(pixels(few[name]), pixels(many[name]))


def test_several_processes_write_the_same_files_as_one(root, tmp_path, monkeypatch):
    monkeypatch.setattr("reid_aug.people.folder.WORTH_A_POOL", 1)
    monkeypatch.setattr("reid_aug.people.folder.usable_cores", lambda: 2)

    write_people(tmp_path / "again", CONFIG)

    again, files = images(tmp_path / "again"), images(root)
    assert again.keys() == files.keys()
    assert all(again[name].read_bytes() == files[name].read_bytes() for name in files)
    assert (tmp_path / "again/keypoints.csv").read_bytes() == (root / "keypoints.csv").read_bytes()


def test_another_seed_gives_different_people():
    ours, theirs = (next(People(PeopleConfig(seed=seed)).files(1))[2] for seed in (0, 1))

    assert ours != theirs


def test_a_folder_that_is_not_empty_is_refused_and_unchanged(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")

    with pytest.raises(UserError, match="empty folder"):
        write_people(tmp_path, CONFIG)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failed_run_leaves_no_files(tmp_path):
    def fails(*_: object) -> list:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_people(tmp_path / "people", CONFIG, progress=fails)

    assert list(tmp_path.iterdir()) == []


def test_people_that_another_process_has_written_meanwhile_are_used(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def meanwhile(steps, _):
        shutil.copytree(root, people_cache(CONFIG))
        return steps

    assert is_people(cached_people(CONFIG, meanwhile))
    assert [path.name for path in people_cache(CONFIG).parent.iterdir()] == [
        people_cache(CONFIG).name
    ]


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(UserError, match="cannot be written, Not a directory; set XDG_CACHE_HOME"):
        cached_people(CONFIG)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)

    with pytest.raises(UserError, match="HOME is not set; set it or XDG_CACHE_HOME"):
        people_cache(CONFIG)


def test_progress_counts_every_person(tmp_path):
    lengths = []

    def watch(steps, length):
        lengths.append(length)
        return [lengths.append(1) or step for step in steps]

    write_people(tmp_path, PeopleConfig(identities=1, test_identities=1), progress=watch)

    assert lengths == [3, 1, 1, 1]  # two identities and a distractor


def test_a_written_folder_is_recognised_and_read(root, tmp_path):
    assert is_people(root)
    assert read_people(root).config == CONFIG
    assert not is_people(tmp_path)


def test_people_of_another_renderer_are_refused(tmp_path):
    (tmp_path / "people.json").write_text(json.dumps({"renderer": RENDERER + 1, "identities": 1,
        "test_identities": 1, "first": 1, "seed": 0, "difficulty": "easy"}))  # fmt: skip

    assert not is_people(tmp_path)
    with pytest.raises(UserError, match="renderer must be"):
        read_people(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"identities": 0},
        {"test_identities": 0},
        {"first": 0},
        {"seed": -1},
        {"difficulty": "hard"},
        {"difficulty": None},
        {"first": 9990, "identities": 6, "test_identities": 6},
    ],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(UserError, match="must be"):
        PeopleConfig(**wrong)


def test_the_folder_records_the_difficulty_and_the_cache_separates_both(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    few = PeopleConfig(identities=1, test_identities=1)

    roots = [cached_people(replace(few, difficulty=name)) for name in ("easy", "market")]

    assert roots[0] != roots[1]
    assert [read_people(root).config.difficulty for root in roots] == ["easy", "market"]
    assert all(json.loads((root / "people.json").read_text())["renderer"] == 2 for root in roots)


def test_the_shares_of_distractors_and_junk_are_those_of_market():
    people = People(PeopleConfig())
    everybody = (*people.config.pids, *people.config.distractors)
    names = [n for pid in everybody for folder, n, _ in people.files(pid) if folder == GALLERY]
    distractors, junk = (sum(n.startswith(mark) for n in names) for mark in ("0000", "-1"))
    wanted = len(names) - distractors - junk

    assert distractors / wanted == pytest.approx(2798 / 13115, rel=0.2)
    assert junk / wanted == pytest.approx(3819 / 13115, rel=0.2)


def test_an_unknown_image_is_refused():
    with pytest.raises(UserError, match=r"nobody\.jpg"):
        People(CONFIG).shot("nobody.jpg")
