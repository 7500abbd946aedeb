"""Target poses of a keypoint file or of the pose library, and the banks that have them."""

import json

import numpy as np
import pytest
import torch

from reid_aug.bank import Bank
from reid_aug.bank.plan import OF_NO_IMAGE
from reid_aug.data.dataset import DataConfig, kept, read_market1501
from reid_aug.data.keypoints import Pose, read_keypoints, write_keypoints
from reid_aug.people.pose_library import library_file, library_poses
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.stages.bank.export import prepare as export
from reid_aug.stages.bank.import_ import prepare as import_
from reid_aug.stages.bank.verify import verify_bank
from reid_aug.stages.stage import open_stage
from reid_aug.stages.synthesize import SynthesizeConfig, describe, plan_bank, synthesize
from reid_aug.stages.target_poses import read_target_poses

DATA = DataConfig(height=32, width=16)


@pytest.fixture
def dataset(people):
    return read_market1501(people)


def planned(people, dataset, poses, ratio=0.5, **changes):
    settings = {"method": "limb-warp", **changes}
    config = SynthesizeConfig(ratio=ratio, poses=str(poses), batch=8, **settings)
    return plan_bank(dataset, read_keypoints(people / "keypoints.csv"), None, config, DATA, 0)


def made(people, dataset, poses, folder, ratio=0.5):
    job = planned(people, dataset, poses, ratio)
    return Bank(synthesize(job, folder, torch.device("cpu")))


def standing(x: float) -> Pose:
    """A pose whose torso is 40 pixels long."""
    xy = np.full((18, 2), np.nan, np.float32)
    xy[[2, 5, 8, 11]] = [[x - 10, 20], [x + 10, 20], [x - 8, 60], [x + 8, 60]]
    xy[10] = [x - 8, 120]
    return Pose(xy)


def test_a_bank_of_the_library_names_its_poses_and_their_hash(people, dataset, tmp_path):
    bank = made(people, dataset, "library", tmp_path)

    digest = sha256(library_file())
    assert (bank.plan.poses, bank.plan.cameras) == ("library", "source")
    assert bank.plan.poses_sha256 == digest
    names = {name.removeprefix(OF_NO_IMAGE) for name in bank.rows.target.tolist()}
    assert names <= library_poses().keys()
    assert json.loads(bank.path.with_suffix(".json").read_text())["plan"]["poses_sha256"] == digest
    assert f"SHA-256 {digest}; balanced over 8 directions" in describe(
        planned(people, dataset, "library")
    )
    text, faults = verify_bank(bank, dataset)
    assert faults == []
    assert text[2] == (
        f"poses: library (SHA-256 {digest[:12]}); camera of the: source; background: generated; "
        f"seed 0"
    )


def test_given_poses_stand_where_the_source_stands(people, dataset, tmp_path):
    write_keypoints(tmp_path / "poses.csv", {"a.jpg": standing(500), "b.jpg": standing(30)})

    job = planned(people, dataset, tmp_path / "poses.csv")

    for row in job.rows[:8]:
        own, found = job.method.pose(row.source).xy, job.method.keypoints(row)
        if not np.isnan(own[[2, 5, 8, 11]]).any():
            torso = [2, 5, 8, 11]
            assert found[torso].mean(0) == pytest.approx(own[torso].mean(0), abs=0.01)


def test_extending_a_bank_of_given_poses_gives_the_same_bytes(people, dataset, tmp_path):
    made(people, dataset, "library", tmp_path / "grown", 0.2)

    grown = made(people, dataset, "library", tmp_path / "grown", 0.6)

    whole = made(people, dataset, "library", tmp_path / "at_once", 0.6)
    assert grown.path.read_bytes() == whole.path.read_bytes()


def test_the_poses_of_another_file_do_not_extend_a_bank(people, dataset, tmp_path):
    for name, x in (("one.csv", 30), ("two.csv", 31)):
        write_keypoints(tmp_path / name, {"a.jpg": standing(x)})
    made(people, dataset, tmp_path / "one.csv", tmp_path / "run")

    with pytest.raises(UserError, match="holds a bank of another plan"):
        made(people, dataset, tmp_path / "two.csv", tmp_path / "run", 1.0)


def test_poses_of_images_outside_the_kept_set_are_left_out(people, dataset):
    real = kept(dataset.train, 0.5)
    file = people / "keypoints.csv"

    found = read_target_poses(str(file), dataset, real)

    names = {pose.name.removeprefix(OF_NO_IMAGE) for pose in found.poses}
    everything = {i.name for i in (*dataset.train, *dataset.query, *dataset.gallery)}
    assert names
    assert names & everything <= {image.name for image in real}
    assert found.left_out == len(everything) - len(real)
    assert f"; {found.left_out} left out, which have the names of query, gallery" in (
        found.describe()
    )


def test_a_file_of_test_poses_only_is_refused(people, dataset, tmp_path):
    poses = read_keypoints(people / "keypoints.csv")
    file = tmp_path / "test.csv"
    write_keypoints(file, {image.name: poses[image.name] for image in dataset.query})

    with pytest.raises(UserError) as error:
        read_target_poses(str(file), dataset, dataset.train)

    assert str(error.value) == (
        f"{file}: must hold a pose with both shoulders and both hips, of no image outside the "
        f"kept set, got none among {len(dataset.query)}; choose another file with synthesize.poses"
    )


def test_a_missing_file_is_named(dataset):
    with pytest.raises(UserError) as error:
        read_target_poses("no/poses.csv", dataset, dataset.train)

    assert str(error.value) == (
        "no/poses.csv is missing; name a keypoint file with synthesize.poses, or library"
    )


def test_fractions_of_an_image_of_unknown_size_are_refused(dataset, tmp_path):
    landmark = {"x": 0.5, "y": 0.5, "visibility": 1.0}
    file = tmp_path / "poses.json"
    file.write_text(json.dumps({"a.jpg": {"pose_landmarks": [landmark] * 33}}))

    with pytest.raises(UserError, match=r"'a\.jpg' must be in pixels, got fractions of an image"):
        read_target_poses(str(file), dataset, dataset.train)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"poses": "libary"},
            "poses must be one of random, cross-camera, coverage, library, or a keypoint file, "
            "got 'libary'; did you mean library?",
        ),
        (
            {"poses": "library", "cameras": "target"},
            "cameras must be source for poses 'library', which belong to no camera, got 'target'; "
            "set synthesize.cameras to source, or poses to one of random, cross-camera, coverage",
        ),
        (
            {"poses": "library", "method": "copies"},
            "poses must be one of random, cross-camera, coverage for method copies, which keeps "
            "the pose, got 'library'",
        ),
        (
            {"poses": "mine.csv", "method": "renderer"},
            "poses must be one of random, cross-camera, coverage for method renderer, which needs "
            "the image of a pose, got 'mine.csv'",
        ),
    ],
)
def test_what_given_poses_do_not_allow_is_refused(settings, sentence):
    with pytest.raises(UserError) as error:
        SynthesizeConfig(**settings)

    assert str(error.value) == sentence


def test_an_exported_bank_of_given_poses_is_imported_without_their_names(people, tmp_path):
    sizes = ("data.height=32", "data.width=16")
    keys = ("synthesize.method=limb-warp", "synthesize.poses=library", *sizes)
    stage = open_stage(data=str(people), out=str(tmp_path / "run"), device="cpu", settings=keys)
    made(people, stage.dataset, "library", tmp_path / "run")
    folder = export(stage, tmp_path / "exported").run()
    other = open_stage(data=str(people), out=str(tmp_path / "o"), device="cpu", settings=sizes)

    bank = Bank(import_(other, folder / "bounding_box_train", folder / "provenance.csv").run())

    assert set(bank.rows.target.tolist()) == {""}
    assert bank.rows.source.tolist() == Bank(tmp_path / "run/bank.h5").rows.source.tolist()
