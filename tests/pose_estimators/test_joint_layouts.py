import numpy as np
import pytest

from reid_aug.data.keypoints import JOINTS, Pose
from reid_aug.pose_estimators.joint_layouts import (
    JOINT_LAYOUTS,
    from_body_25,
    from_coco,
    pose_of,
    without_face,
)

COCO = [
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
]  # fmt: skip
BODY_25 = [
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
    "left_elbow", "left_wrist", "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip",
    "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe",
    "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
]  # fmt: skip


def numbered(names: list[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Joint i at (i, 2 i) with confidence 1, and the index of each name."""
    places = np.arange(len(names))
    return np.column_stack([places, 2 * places, np.ones(len(names))]), {
        name: place for place, name in enumerate(names)
    }


@pytest.mark.parametrize(("names", "convert"), [(COCO, from_coco), (BODY_25, from_body_25)])
def test_every_joint_keeps_its_name(names, convert):
    joints, place = numbered(names)

    scored = convert(joints)

    assert scored.shape == (18, 3)
    for joint, name in enumerate(JOINTS):
        if name in place:
            np.testing.assert_array_equal(scored[joint], joints[place[name]])


def test_the_neck_is_between_the_shoulders_and_has_the_lower_confidence():
    joints, place = numbered(COCO)
    joints[place["left_shoulder"]] = 10, 20, 0.9
    joints[place["right_shoulder"]] = 30, 24, 0.4

    assert from_coco(joints)[1].tolist() == pytest.approx([20, 22, 0.4])


def test_without_a_shoulder_there_is_no_neck():
    joints, place = numbered(COCO)
    joints[place["left_shoulder"], 2] = 0

    assert from_coco(joints)[1, 2] == 0


def test_the_number_of_joints_selects_the_layout():
    for joints, convert in JOINT_LAYOUTS.items():
        assert convert(np.ones((joints, 3))).shape == (18, 3)


def test_a_joint_below_the_threshold_is_missing():
    scored = np.column_stack([np.full((18, 2), 5.0), np.linspace(0, 1, 18)])

    assert pose_of(scored, 0.5).seen.tolist() == [c >= 0.5 for c in np.linspace(0, 1, 18)]


def test_a_joint_with_confidence_0_is_missing_even_at_threshold_0():
    scored = np.column_stack([np.full((18, 2), 5.0), np.zeros(18)])
    scored[3, 2] = 1e-6

    assert np.flatnonzero(pose_of(scored, 0.0).seen).tolist() == [3]


def test_a_joint_outside_the_image_is_missing():
    scored = np.column_stack([np.full((18, 2), 5.0), np.ones(18)])
    scored[:4, :2] = (-0.6, 5), (-0.4, 5), (63.4, 5), (63.6, 5)
    scored[4:6, :2] = (5, 127.4), (5, 127.6)

    assert np.flatnonzero(~pose_of(scored, 0.5, (128, 64)).seen).tolist() == [0, 3, 5]


def shoulders(right: float, left: float) -> Pose:
    xy = np.full((18, 2), 7.0, np.float32)
    xy[2, 0], xy[5, 0] = right, left
    return Pose(xy)


def test_a_person_seen_from_behind_has_no_nose_and_no_eyes():
    pose = without_face(shoulders(right=40, left=20))

    assert [JOINTS[joint] for joint in np.flatnonzero(~pose.seen)] == [
        "nose", "right_eye", "left_eye",
    ]  # fmt: skip


@pytest.mark.parametrize(("right", "left"), [(20, 40), (30, 30), (np.nan, 20), (40, np.nan)])
def test_other_people_keep_nose_and_eyes(right, left):
    pose = shoulders(right, left)

    np.testing.assert_array_equal(without_face(pose).xy, pose.xy)
