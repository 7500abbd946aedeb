import json

import numpy as np
import pytest

from reid_aug.data.keypoints import Pose, write_keypoints
from reid_aug.pose_estimators.files import read_pose_files
from reid_aug.pose_estimators.joint_layouts import from_body_25, from_coco
from reid_aug.runtime.errors import UserError

RNG = np.random.default_rng(0)


def joints(count: int, confidence: float = 0.5) -> np.ndarray:
    return np.column_stack([RNG.integers(2, 60, (count, 2)), np.full(count, confidence)])


def openpose(folder, name: str, *people: np.ndarray, key: str = "pose_keypoints_2d"):
    entries = [{key: person.ravel().tolist()} for person in people]
    path = folder / f"{name}_keypoints.json"
    path.write_text(json.dumps({"version": 1.3, "people": entries}))
    return path


def test_openpose_body_25(tmp_path):
    person = joints(25)
    openpose(tmp_path, "a", person)

    found = read_pose_files(tmp_path)

    assert list(found) == ["a"]
    np.testing.assert_array_equal(found["a"], from_body_25(person))


@pytest.mark.parametrize("key", ["pose_keypoints_2d", "pose_keypoints"])
def test_openpose_coco(tmp_path, key):
    person = joints(18)
    openpose(tmp_path, "a", person, key=key)

    np.testing.assert_array_equal(read_pose_files(tmp_path)["a"], person)


def test_the_most_confident_of_several_people_is_used(tmp_path):
    confident = joints(18, 0.6)
    openpose(tmp_path, "a", joints(18, 0.5), confident, joints(18, 0.1))

    np.testing.assert_allclose(read_pose_files(tmp_path)["a"], confident, rtol=1e-6)


def test_an_image_without_people_has_no_joints(tmp_path):
    openpose(tmp_path, "a")

    assert not read_pose_files(tmp_path)["a"].any()


def test_a_file_of_another_openpose_model_is_refused(tmp_path):
    path = openpose(tmp_path, "a", joints(18), joints(17))

    with pytest.raises(UserError) as caught:
        read_pose_files(tmp_path)

    text = f"{path}: people[1].pose_keypoints_2d must contain 54 or 75 numbers, got 51"
    assert str(caught.value) == text


def test_openpose_files_in_fractions_of_the_image_are_refused(tmp_path):
    person = joints(25)
    person[:, :2] /= 64
    openpose(tmp_path, "a", person)

    with pytest.raises(UserError, match=r"must be in pixels, .* --keypoint_scale 0"):
        read_pose_files(tmp_path)


@pytest.mark.parametrize("person", [3, "x", [1], None])
def test_a_malformed_person_is_refused(tmp_path, person):
    (tmp_path / "a_keypoints.json").write_text(json.dumps({"people": [person]}))

    with pytest.raises(UserError, match=r"people\[0\] must be an object with 'pose_keypoints_2d'"):
        read_pose_files(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"must contain OpenPose's files NAME_keypoints.json or .*, got none"
    ):
        read_pose_files(tmp_path)


def write(tmp_path, content):
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    return path


def annotation(image, marks, **more):
    person = joints(17)
    person[:, 2] = marks
    return {"image_id": image, "keypoints": person.ravel().tolist(), **more}, person


def test_coco_annotations(tmp_path):
    marks = [0, 1, 2] + [2] * 14
    entry, person = annotation(7, marks)
    images = [{"id": 7, "file_name": "train/a.jpg"}, {"id": 8, "file_name": "b.jpg"}]

    found = read_pose_files(write(tmp_path, {"images": images, "annotations": [entry]}))

    person[:, 2] = [mark > 0 for mark in marks]
    np.testing.assert_array_equal(found["a.jpg"], from_coco(person))
    assert not found["b.jpg"].any()


def test_coco_results_by_file_name(tmp_path):
    weak, _ = annotation("a.jpg", 0.9, score=0.2)
    strong, person = annotation("a.jpg", 0.3, score=0.8)

    found = read_pose_files(write(tmp_path, [weak, strong]))

    np.testing.assert_array_equal(found["a.jpg"], from_coco(person))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "coco.json: images must be a list, got no such key"),
        ({"images": [3]}, r"images\[0\] must be an object with 'id', got '3'"),
        ({"images": [{"id": 1}]}, r"images\[0\]: file_name must be a text, got no such key"),
        (
            {"images": [], "annotations": [{}]},
            r"annotations\[0\]: image_id must be a whole number or text",
        ),
        ([{"image_id": 3, "keypoints": [0] * 51}], r"\[0\].image_id must be the id of an image"),
        (
            [{"image_id": "a", "keypoints": [0] * 50}],
            r"keypoints must contain 51 or 78 or 399 or 408 numbers, got 50",
        ),
        ([{"image_id": "a", "keypoints": ["x"] * 51}], r"keypoints must contain numbers only"),
        (
            [{"image_id": "a", "keypoints": [1e999] * 51}],
            r"keypoints.\d+. must be a finite number",
        ),
    ],
)
def test_malformed_coco_files_are_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_pose_files(write(tmp_path, content))


def test_a_file_that_is_not_json_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{")

    with pytest.raises(UserError, match=r"a.json: must be JSON"):
        read_pose_files(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a.json is missing"):
        read_pose_files(tmp_path / "a.json")


def test_the_published_csv_is_read(tmp_path):
    xy = RNG.integers(0, 60, (18, 2)).astype(np.float32)
    xy[3] = np.nan
    write_keypoints(tmp_path / "k.csv", {"a.jpg": Pose(xy)})

    found = read_pose_files(tmp_path / "k.csv")["a.jpg"]

    assert found[3].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(np.delete(found, 3, 0)[:, :2], np.delete(xy, 3, 0))
    assert (np.delete(found, 3, 0)[:, 2] == 1).all()
