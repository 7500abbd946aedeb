import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_aug.errors import UserError
from reid_aug.people import RENDERER, People, PeopleConfig, is_people, read_people, write_people
from reid_aug.people.dataset import GALLERY, QUERY, TRAIN
from reid_aug.poses import read_keypoints

CONFIG = PeopleConfig(identities=2, test_identities=3, seed=7)
FACE = [0, 14, 15]
# Share of Market-1501's pictures in which OpenPose found the joint.
MARKET = {
    "nose": ([0], 0.59), "eyes": ([14, 15], 0.49), "ears": ([16, 17], 0.53),
    "elbows": ([3, 6], 0.76), "wrists": ([4, 7], 0.57),
    "knees": ([9, 12], 0.89), "ankles": ([10, 13], 0.76),
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people") / "demo"
    write_people(folder, CONFIG)
    return folder


def pictures(root: Path) -> dict[str, Path]:
    return {path.name: path for path in root.glob("*/*.jpg")}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def shots(people: People, pids: range) -> list:
    return [shot for pid in pids for _, _, shot in people.files(pid)]


def test_names_are_those_of_market_and_unique(root):
    names = [path.name for path in root.glob("*/*.jpg")]

    assert len(names) == len(set(names))
    pattern = re.compile(r"(-1|\d{4})_c[1-6]s1_\d{6}_\d{2}\.jpg")
    assert all(pattern.fullmatch(name) for name in names)


def test_each_folder_holds_its_own_identities(root):
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


def test_every_picture_is_128_by_64_and_has_key_points_inside_it(root):
    poses, files = read_keypoints(root / "keypoints.csv"), pictures(root)

    assert poses.keys() == files.keys()
    for path in files.values():
        assert pixels(path).shape == (128, 64, 3)
    xy = np.concatenate([pose.xy[pose.seen] for pose in poses.values()])
    assert (xy >= 0).all()
    assert (xy < (64, 128)).all()


def test_the_csv_reads_with_the_tools_of_others(root):
    with (root / "keypoints.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=":"))

    assert set(rows[0]) == {"name", "keypoints_y", "keypoints_x"}
    assert all(len(json.loads(row["keypoints_y"])) == 18 for row in rows)


def test_people_depend_on_seed_and_pid_only(root, tmp_path):
    write_people(tmp_path / "one", replace(CONFIG, identities=1, test_identities=1, first=2))

    few, many = pictures(tmp_path / "one"), pictures(root)
    common = [name for name in few if name[:4] == "0002"]
    assert common
    for name in common:
        assert np.array_equal(pixels(few[name]), pixels(many[name]))


def test_processes_draw_what_one_process_draws(root, tmp_path, monkeypatch):
    monkeypatch.setattr("reid_aug.people.folder.WORTH_A_POOL", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    write_people(tmp_path / "again", CONFIG)

    again, files = pictures(tmp_path / "again"), pictures(root)
    assert again.keys() == files.keys()
    assert all(again[name].read_bytes() == files[name].read_bytes() for name in files)
    assert (tmp_path / "again/keypoints.csv").read_bytes() == (root / "keypoints.csv").read_bytes()


def test_another_seed_gives_other_people():
    ours, theirs = (next(People(PeopleConfig(seed=seed)).files(1))[2] for seed in (0, 1))

    assert ours != theirs


def test_backs_have_no_face():
    people = People(CONFIG)
    backs = [shot for shot in shots(people, range(1, 40)) if np.cos(shot.yaw) < -0.95][:5]

    assert len(backs) == 5
    for shot in backs:
        xy = people.draw(shot).xy
        assert np.isnan(xy[FACE]).all()
        assert not np.isnan(xy[[2, 5]]).all()
        assert not xy[2, 0] < xy[5, 0]  # the right shoulder is on the right


def test_joints_are_missing_about_as_often_as_in_market():
    people = People(PeopleConfig(seed=3))
    xy = np.array([people.draw(shot).xy for shot in shots(people, range(1, 13))])
    is_seen = ~np.isnan(xy[..., 0])

    for name, (joints, share) in MARKET.items():
        assert abs(is_seen[:, joints].mean() - share) < 0.2, name


def test_seen_joints_lie_on_the_person():
    people = People(CONFIG)
    for shot in shots(people, CONFIG.pids)[::6]:
        picture = people.draw(shot)
        x, y = np.rint(picture.xy[[1, 2, 5, 8, 11]]).T
        seen = ~np.isnan(x)
        assert picture.mask[y[seen].astype(int), x[seen].astype(int)].mean() >= 0.8


def test_truth_in_the_own_pose_is_the_picture(root):
    people, files = read_people(root), pictures(root)
    alone = [name for name in files if people.shot(name).bystander is None][:8]

    for name in alone:
        picture = pixels(files[name]).astype(float)
        assert np.abs(people.truth(name, name) - picture).mean() < 6  # what JPEG costs


def test_truth_takes_the_pose_of_the_target_and_the_look_of_the_source(root):
    people = read_people(root)
    names = [name for name in pictures(root) if name[0] != "-" and name[:4] != "0000"]
    names = [name for name in names if people.shot(name).bystander is None]
    sources = [name for name in names if name[:4] == "0001"][:4]
    targets = [name for name in names if name[:4] == "0004"][-4:]

    for source, target in zip(sources, targets, strict=True):
        ours, theirs = people.shot(source), people.shot(target)
        drawn = people.draw(replace(ours, yaw=theirs.yaw, posture=theirs.posture, crop=theirs.crop))
        assert np.array_equal(people.truth(source, target), drawn.image)
        wanted, old = people.draw(theirs), people.draw(ours)
        assert overlap(drawn.mask, wanted.mask) > max(0.7, overlap(old.mask, wanted.mask))
        assert colour_gap(drawn, old) < colour_gap(drawn, wanted)


def overlap(mask: np.ndarray, other: np.ndarray) -> float:
    return (mask & other).sum() / (mask | other).sum()


def colour_gap(picture, other) -> float:
    means = [each.image[each.mask].mean(axis=0) for each in (picture, other)]
    return float(np.abs(means[0] - means[1]).mean())


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")

    with pytest.raises(UserError, match="empty folder"):
        write_people(tmp_path, CONFIG)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_remains_of_a_failed_run(tmp_path):
    def fails(*_: object) -> list:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_people(tmp_path / "people", CONFIG, progress=fails)

    assert list(tmp_path.iterdir()) == []


def test_progress_sees_every_person(tmp_path):
    lengths = []

    def watch(steps, length):
        lengths.append(length)
        return [lengths.append(1) or step for step in steps]

    write_people(tmp_path, PeopleConfig(identities=1, test_identities=1), progress=watch)

    assert lengths == [3, 1, 1, 1]  # two identities and a stranger


def test_a_folder_knows_its_people(root, tmp_path):
    assert is_people(root)
    assert read_people(root).config == CONFIG
    assert not is_people(tmp_path)


def test_people_of_another_renderer_are_refused(tmp_path):
    (tmp_path / "people.json").write_text(json.dumps({"renderer": RENDERER + 1, "identities": 1,
        "test_identities": 1, "first": 1, "seed": 0}))  # fmt: skip

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
        {"first": 9990, "identities": 6, "test_identities": 6},
    ],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(UserError, match="must be"):
        PeopleConfig(**wrong)


def test_an_unknown_picture_is_refused():
    with pytest.raises(UserError, match=r"nobody\.jpg"):
        People(CONFIG).shot("nobody.jpg")
