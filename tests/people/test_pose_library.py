"""The pose library is what the code computes, and its names are true."""

from collections import Counter

import numpy as np

from reid_aug.data.keypoints import DIRECTIONS, keypoints_text
from reid_aug.people.pose_library import (
    LIBRARY_SIZE,
    computed_library,
    library_file,
    library_poses,
    walking_pose,
)


def test_the_file_in_the_package_is_what_the_code_computes():
    assert keypoints_text(computed_library()).encode() == library_file().read_bytes()


def test_every_activity_has_eight_postures_in_eight_directions():
    names = [name.split("/") for name in library_poses()]

    activities = Counter(activity for activity, _, _ in names)
    assert activities == dict.fromkeys(("walk", "hurry", "stand", "cycle", "carry"), 64)
    assert Counter(number for _, number, _ in names) == dict.fromkeys("01234567", 40)
    assert Counter(direction for _, _, direction in names) == dict.fromkeys(DIRECTIONS, 40)


def test_the_direction_in_a_name_is_that_of_the_pose():
    poses = library_poses()

    assert all(pose.has_torso for pose in poses.values())
    assert {name: pose.direction for name, pose in poses.items()} == {
        name: name.split("/")[2] for name in poses
    }


def test_a_walk_is_smooth_and_closes():
    frames = [walking_pose(part, 5 * part).xy for part in np.arange(64) / 64]

    steps = np.array([b - a for a, b in zip(frames, frames[1:] + frames[:1], strict=True)])
    assert np.nanmax(np.abs(steps)) < LIBRARY_SIZE[0] / 12  # the ankle of a swinging leg
    assert np.nanmedian(np.abs(steps)) < LIBRARY_SIZE[0] / 200
