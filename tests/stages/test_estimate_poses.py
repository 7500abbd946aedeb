import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tfjs_graphs import write_movenet

from reid_aug.cli import main
from reid_aug.data.formats import read_listing
from reid_aug.data.keypoints import JOINTS, read_keypoints
from reid_aug.runtime.errors import UserError
from reid_aug.stages import estimate_poses as verb
from reid_aug.stages.estimate_poses import EstimatePosesConfig, images_of, prepare

JOINTS_SEEN = np.column_stack([
    np.linspace(0.1, 0.9, 17), np.linspace(0.4, 0.6, 17), np.linspace(0.15, 0.95, 17)
])  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> EstimatePosesConfig:
    return EstimatePosesConfig(weights=str(write_movenet(tmp_path / "m.json", JOINTS_SEEN)))


def estimate_poses(data, config, path, workers=1, progress=None):
    """Estimate as the command does; the poses in the file that it writes."""
    job = prepare(data, path, config.estimator, config.weights, None, config.threshold, workers)
    assert job.run(progress) == path
    return read_keypoints(path)


def names(people: Path) -> list[str]:
    return [file.name for file in images_of(read_listing(people))]


def test_every_image_gets_a_row(people, config, tmp_path):
    path = tmp_path / "k.csv"

    poses = estimate_poses(people, config, path, workers=1)

    assert read_keypoints(path).keys() == set(names(people)) == poses.keys()
    card = json.loads(path.with_suffix(".json").read_text())
    assert (card["estimator"], card["threshold"]) == ("movenet", 0.2)
    assert not path.with_suffix(".journal").exists()


def test_a_person_seen_from_behind_has_no_face(people, tmp_path):
    joints = JOINTS_SEEN.copy()
    joints[:, 2] = 0.9
    joints[5, 1], joints[6, 1] = 0.4, 0.6  # left and right shoulder
    weights = str(write_movenet(tmp_path / "m.json", joints))

    estimate_poses(people, EstimatePosesConfig(weights=weights), tmp_path / "k.csv", workers=1)

    pose = read_keypoints(tmp_path / "k.csv")[names(people)[0]]
    unseen = [JOINTS[joint] for joint in np.flatnonzero(~pose.seen)]
    assert unseen == ["nose", "right_eye", "left_eye"]


def test_the_threshold_decides_what_is_seen(people, config, tmp_path):
    for threshold in (0.0, 0.5):
        some = EstimatePosesConfig(weights=config.weights, threshold=threshold)
        poses = estimate_poses(people, some, tmp_path / f"{threshold}.csv", workers=1)
        seen = poses[names(people)[0]].seen
        coco = {
            name: JOINTS_SEEN[place, 2] for place, name in ((16, "right_ankle"), (3, "left_ear"))
        }
        for name, score in coco.items():
            assert seen[JOINTS.index(name)] == (score >= threshold)


def test_the_file_does_not_depend_on_the_number_of_processes(people, config, tmp_path):
    for workers in (1, 2):
        estimate_poses(people, config, tmp_path / f"{workers}.csv", workers)

    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def stopped(items, after):
    for count, item in enumerate(items):
        if count == after:
            raise KeyboardInterrupt
        yield item


def counted(monkeypatch) -> list[str]:
    """The names of the images that are estimated from now on."""
    estimated: list[str] = []
    estimate = verb._estimate

    def watch(config, files):
        estimated.extend(file.name for file in files)
        return estimate(config, files)

    monkeypatch.setattr(verb, "_estimate", watch)
    return estimated


def test_a_stopped_run_goes_on(people, config, tmp_path, monkeypatch):
    whole, path = tmp_path / "whole.csv", tmp_path / "k.csv"
    estimate_poses(people, config, whole, workers=1)
    with pytest.raises(KeyboardInterrupt):
        estimate_poses(people, config, path, 1, lambda items, *_: stopped(items, 20))
    assert not path.exists()
    with path.with_suffix(".journal").open("a") as file:
        file.write('["half a li')
    estimated = counted(monkeypatch)

    estimate_poses(people, config, path, workers=1)

    assert len(estimated) == len(names(people)) - 2 * verb.IMAGES_PER_TASK
    assert path.read_bytes() == whole.read_bytes()


def test_the_same_command_again_does_nothing(people, config, tmp_path, monkeypatch):
    estimate_poses(people, config, tmp_path / "k.csv", workers=1)
    before = (tmp_path / "k.csv").read_bytes()
    estimated = counted(monkeypatch)

    estimate_poses(people, config, tmp_path / "k.csv", workers=1)

    assert estimated == []
    assert (tmp_path / "k.csv").read_bytes() == before


def test_added_images_are_added(people, config, tmp_path, monkeypatch):
    data = shutil.copytree(people, tmp_path / "data")
    estimate_poses(data, config, tmp_path / "k.csv", workers=1)
    first = images_of(read_listing(data))[0].path
    shutil.copy(first, first.with_name("0999_c1s1_000001_01.jpg"))
    estimated = counted(monkeypatch)

    estimate_poses(data, config, tmp_path / "k.csv", workers=1)

    assert estimated == ["0999_c1s1_000001_01.jpg"]
    assert "0999_c1s1_000001_01.jpg" in read_keypoints(tmp_path / "k.csv")


def test_keypoints_of_another_tool_are_not_overwritten(people, config, tmp_path):
    path = Path(shutil.copy(people / "keypoints.csv", tmp_path / "k.csv"))
    before = path.read_bytes()

    with pytest.raises(UserError, match=r"k.csv: holds keypoints that these settings did not make"):
        estimate_poses(people, config, path, workers=1)
    assert path.read_bytes() == before


def test_other_settings_do_not_overwrite(people, config, tmp_path):
    estimate_poses(people, config, tmp_path / "k.csv", workers=1)
    other = EstimatePosesConfig(weights=config.weights, threshold=0.4)

    with pytest.raises(UserError, match="these settings did not make"):
        estimate_poses(people, other, tmp_path / "k.csv", workers=1)


def test_a_journal_of_other_settings_is_refused(people, config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        estimate_poses(people, config, tmp_path / "k.csv", 1, lambda i, *_: stopped(i, 20))
    other = EstimatePosesConfig(weights=config.weights, threshold=0.4)

    with pytest.raises(UserError, match=r"k.journal: was begun with other settings"):
        estimate_poses(people, other, tmp_path / "k.csv", workers=1)


@pytest.mark.parametrize("left", ["", '{"format": "reid_aug.key'])
def test_the_journal_of_a_run_killed_at_once_counts_as_none(people, config, tmp_path, left):
    (tmp_path / "k.journal").write_text(left)

    with pytest.raises(KeyboardInterrupt):
        estimate_poses(people, config, tmp_path / "k.csv", 1, lambda i, *_: stopped(i, 20))
    poses = estimate_poses(people, config, tmp_path / "k.csv", workers=1)

    assert poses.keys() == set(names(people))


def test_the_settings_are_on_the_disk_before_the_first_row(people, config, tmp_path):
    journal = verb.Journal(tmp_path / "k.csv", {"threshold": 0.2})

    def no_rows():
        assert journal.file.read_text() == '{"threshold": 0.2}\n'
        yield []

    assert list(journal.kept(no_rows())) == [[]]


def test_an_unreadable_image_is_one_sentence(people, config, tmp_path):
    data = shutil.copytree(people, tmp_path / "data")
    images_of(read_listing(data))[3].path.write_bytes(b"x")

    with pytest.raises(
        UserError, match=f"{images_of(read_listing(data))[3].name}: must be an image"
    ):
        estimate_poses(data, config, tmp_path / "k.csv", workers=1)
    assert not (tmp_path / "k.csv").exists()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(UserError, match=r"threshold must be in 0\.\.1"):
        EstimatePosesConfig(threshold=threshold)


def command(*words: object):
    return CliRunner().invoke(main, ["estimate-poses", *map(str, words)])


def test_the_command_ends_with_the_path(people, config, tmp_path):
    path = tmp_path / "k.csv"

    result = command(people, "--keypoints", path, "--weights", config.weights, "--workers", 1)

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}\n"
    assert len(read_keypoints(path)) == len(names(people))


def test_the_command_imports(people, tmp_path):
    stem = Path(names(people)[0]).stem
    numbers = [5.0, 6.0, 0.9] * 25
    for name in (stem, "unknown"):
        (tmp_path / f"{name}_keypoints.json").write_text(
            json.dumps({"people": [{"pose_keypoints_2d": numbers}]})
        )
    path = tmp_path / "out" / "k.csv"

    result = command(people, "--from", tmp_path, "--keypoints", path)

    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert "1 keypoints" in result.stderr
    poses = read_keypoints(path)
    assert list(poses) == [names(people)[0]]
    assert poses[names(people)[0]].xy.tolist() == [[5, 6]] * 18
    assert command(people, "--from", tmp_path, "--keypoints", path).exit_code == 0


@pytest.mark.parametrize("extends", [False, True])
@pytest.mark.parametrize("writes", range(1, 4))
def test_an_import_that_is_killed_between_its_files_goes_on(
    people, tmp_path, monkeypatch, writes, extends
):
    def importing(folder):
        return verb.prepare(people, folder / "k.csv", source=people / "keypoints.csv")

    whole, folder = tmp_path / "whole", tmp_path / "killed"
    importing(whole).run()
    folder.mkdir()
    if extends:  # an older, smaller file of the same settings
        poses = dict(list(read_keypoints(whole / "k.csv").items())[:3])
        journal = verb.Journal(folder / "k.csv", card_of(whole))
        journal.close(poses)

    left = iter(range(writes))
    commit = verb.committed

    def killed(path):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return commit(path)

    with monkeypatch.context() as patch:
        patch.setattr(verb, "committed", killed)
        patch.setattr(verb, "write_json", lambda path, value: written(killed, path, value))
        with contextlib.suppress(KeyboardInterrupt):
            importing(folder).run()
    importing(folder).run()

    for name in ("k.csv", "k.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def card_of(folder):
    card = json.loads((folder / "k.json").read_text())
    del card["keypoints_sha256"]
    return card


def written(commit, path, value):
    with commit(path) as part:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def test_an_import_that_fits_no_image_is_one_sentence(people, tmp_path):
    (tmp_path / "a_keypoints.json").write_text('{"people": []}')

    result = command(people, "--from", tmp_path, "--keypoints", tmp_path / "k.csv")

    assert result.exit_code == 2
    assert "must hold keypoints of images of the data set" in result.stderr
    assert not (tmp_path / "k.csv").exists()


def test_weights_must_be_named(people):
    result = command(people)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: --weights must name the estimator's weights")
    assert len(result.stderr.splitlines()) == 1


def test_an_import_takes_no_weights(people, tmp_path):
    result = command(people, "--from", people / "keypoints.csv", "--weights", "x")

    assert result.exit_code == 2
    assert "--weights must not be given with --from" in result.stderr


def test_a_job_describes_itself_and_its_cost_and_writes_nothing(people, config, tmp_path):
    path = tmp_path / "k.csv"
    count = len(names(people))

    job = prepare(people, path, weights=config.weights, workers=1)

    assert job.describe() == (
        f"keypoints of {count} images by movenet, from a confidence of 0.2; processes: 1"
    )
    cost = job.cost(torch.device("cpu"))
    assert cost.seconds > 0
    assert cost.bytes > 100 * count
    assert not path.exists()
