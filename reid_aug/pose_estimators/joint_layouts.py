"""Joints as other tools count them, and how their estimates become one of our poses.

Estimates are (18, 3) float32 in OpenPose-18 order: x, y in pixels of the picture, and how sure the
estimator is, in [0, 1]. A joint it did not look for, or did not find, has confidence 0.

Two rules make an estimator's joints like OpenPose's, with which the published key points were made:
the neck lies half-way between the shoulders, and who is seen from behind, which shows in the right
shoulder being right of the left one, has no nose and no eyes.
"""

from collections.abc import Callable

import numpy as np

from reid_aug.data.keypoints import JOINTS, Pose

NECK, RIGHT_SHOULDER, LEFT_SHOULDER = 1, 2, 5
FACE = (0, 14, 15)  # nose and eyes, which nobody has at the back of the head

# Where OpenPose-18 joint i stands in the other layout; -1 where there is none.
FROM_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
FROM_BODY_25 = (*range(8), *range(9, 19))  # less the middle of the hips, and the feet


def from_coco(joints: np.ndarray) -> np.ndarray:
    """COCO's 17 joints (17, 3) as estimates (18, 3); the neck lies between the shoulders."""
    scored = joints[list(FROM_COCO)].astype(np.float32)
    scored[NECK] = 0
    shoulders = scored[[RIGHT_SHOULDER, LEFT_SHOULDER]]
    if shoulders[:, 2].min() > 0:
        scored[NECK] = *shoulders[:, :2].mean(0), shoulders[:, 2].min()
    return scored


def from_body_25(joints: np.ndarray) -> np.ndarray:
    """OpenPose's BODY_25 (25, 3) as estimates (18, 3)."""
    return joints[list(FROM_BODY_25)].astype(np.float32)


def from_openpose(joints: np.ndarray) -> np.ndarray:
    """OpenPose's COCO model (18, 3), which is our order already."""
    return joints.astype(np.float32)


LAYOUTS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    17: from_coco,
    18: from_openpose,
    25: from_body_25,
}


def pose_of(scored: np.ndarray, threshold: float, size: tuple[int, int] | None = None) -> Pose:
    """The pose of estimates (18, 3): joints less sure than ``threshold`` are unseen.

    Args:
        scored: x, y, confidence.
        threshold: least confidence; one of 0 is unseen in any case.
        size: (height, width) of the picture; joints outside it are unseen, where it is given.
    """
    xy = scored[:, :2].astype(np.float32)
    unseen = (scored[:, 2] <= 0) | (scored[:, 2] < threshold) | ~np.isfinite(xy).all(1)
    if size is not None:
        nearest = np.rint(xy)  # what a key-point file holds
        unseen |= ((nearest < 0) | (nearest >= size[::-1])).any(1)
    xy[unseen] = np.nan
    return Pose(xy)


def without_face(pose: Pose) -> Pose:
    """The pose less nose and eyes, if the person is seen from behind."""
    right, left = pose.xy[[RIGHT_SHOULDER, LEFT_SHOULDER], 0]
    if not right > left:  # NaN too
        return pose
    xy = pose.xy.copy()
    xy[list(FACE)] = np.nan
    return Pose(xy)


assert len(FROM_COCO) == len(FROM_BODY_25) == len(JOINTS)
