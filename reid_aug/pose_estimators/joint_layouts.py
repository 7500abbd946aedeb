"""Conversion of the joint layouts of other tools to OpenPose-18 poses.

Estimates are (18, 3) float32 in OpenPose-18 order: x and y in pixels of the image, and a confidence
in [0, 1]. A joint that the estimator does not support or has not found has confidence 0.

The published keypoints were made with OpenPose. Two rules make the joints of other estimators
consistent with them. The neck is the midpoint of the shoulders. A person seen from behind has no
nose and no eyes; in such an image, the right shoulder is to the right of the left shoulder.
"""

from collections.abc import Callable

import numpy as np

from reid_aug.data.keypoints import JOINTS, LEFT_SHOULDER, RIGHT_SHOULDER, Pose

NECK = 1
FACE = (0, 14, 15)  # nose and eyes, not visible from behind

# Element i is the index of OpenPose-18 joint i in the other layout, or -1 if it has no such joint.
FROM_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
# Element i is the index of COCO joint i among the 33 landmarks of MediaPipe.
FROM_MEDIAPIPE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
FROM_BODY_25 = (*range(8), *range(9, 19))  # without the middle of the hips and the feet


def from_coco(joints: np.ndarray) -> np.ndarray:
    """Convert COCO joints (17, 3) to estimates (18, 3); the neck is between the shoulders."""
    scored = joints[list(FROM_COCO)].astype(np.float32)
    scored[NECK] = 0
    shoulders = scored[[RIGHT_SHOULDER, LEFT_SHOULDER]]
    if shoulders[:, 2].min() > 0:
        scored[NECK] = *shoulders[:, :2].mean(0), shoulders[:, 2].min()
    return scored


def from_mediapipe(joints: np.ndarray) -> np.ndarray:
    """Convert the landmarks of MediaPipe (33, 3) to estimates (18, 3)."""
    return from_coco(joints[list(FROM_MEDIAPIPE)])


def from_body_25(joints: np.ndarray) -> np.ndarray:
    """Convert joints of OpenPose's BODY_25 model (25, 3) to estimates (18, 3)."""
    return joints[list(FROM_BODY_25)].astype(np.float32)


def from_openpose(joints: np.ndarray) -> np.ndarray:
    """Convert joints of OpenPose's COCO model (18, 3) to estimates; the order is the same."""
    return joints.astype(np.float32)


JOINT_LAYOUTS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    17: from_coco,
    18: from_openpose,
    25: from_body_25,
}


def pose_of(scored: np.ndarray, threshold: float, size: tuple[int, int] | None = None) -> Pose:
    """The pose of estimates (18, 3); joints with a confidence below ``threshold`` are missing.

    Args:
        scored: x, y, confidence.
        threshold: Least confidence; a joint with confidence 0 is always missing.
        size: (height, width) of the image; if given, joints outside the image are missing.
    """
    xy = scored[:, :2].astype(np.float32)
    unseen = (scored[:, 2] <= 0) | (scored[:, 2] < threshold) | ~np.isfinite(xy).all(1)
    if size is not None:
        nearest = np.rint(xy)  # the values in a keypoint file
        unseen |= ((nearest < 0) | (nearest >= size[::-1])).any(1)
    xy[unseen] = np.nan
    return Pose(xy)


def in_pixels(scored: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Estimates in pixels of an image of ``size`` (height, width).

    Estimates of MediaPipe are fractions of the image, which are marked by a fourth column.
    """
    if scored.shape[1] == 3:
        return scored
    pixels = scored[:, :3].copy()
    pixels[:, :2] = pixels[:, :2] * size[::-1] - 0.5
    return pixels


def without_zeros(scored: np.ndarray) -> np.ndarray:
    """Estimates whose joints at (0, 0) are missing, for tools that mark missing joints so."""
    found = scored.copy()
    found[(found[:, :2] == 0).all(axis=1), 2] = 0
    return found


def without_face(pose: Pose) -> Pose:
    """The pose without nose and eyes if the person is seen from behind, else the same pose."""
    right, left = pose.xy[[RIGHT_SHOULDER, LEFT_SHOULDER], 0]
    if not right > left:  # also False for NaN
        return pose
    xy = pose.xy.copy()
    xy[list(FACE)] = np.nan
    return Pose(xy)


assert len(FROM_COCO) == len(FROM_BODY_25) == len(JOINTS)
