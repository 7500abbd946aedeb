"""PCKh: the part of the target's joints that are found again in the drawing, near their place.

"Near" is measured on the head, whose size is that of the box around nose, eyes, ears and, in the
published tool, the neck.

    patn   right where |dx| < half the box's width and |dy| < half its height, two thresholds;
           a box without width makes everything wrong
    clean  right where the distance is under half of the head's size, which is 0.6 of the box's
           diagonal, as in the original PCKh

A target of whose head fewer than two joints are seen is left out. A joint that is not found again
is wrong; one that is found and was not asked for costs nothing.
"""

import numpy as np

from reid_aug.data.keypoints import Pose

HEAD = (0, 1, 14, 15, 16, 17)  # nose, neck, eyes, ears
LEAST = 2  # joints of the head
PART = 0.5
DIAGONAL = 0.6


def correct_joints(target: Pose, found: Pose, protocol: str) -> tuple[int, int]:
    """(joints found near their place, joints asked for) of one drawing; (0, 0) if left out.

    Args:
        target: the pose that was asked for.
        found: the pose that an estimator sees in the drawing, in the same pixels.
    """
    head = target.xy[list(HEAD)][target.seen[list(HEAD)]]
    if len(head) < LEAST:
        return 0, 0
    box = head.max(0) - head.min(0)
    away = np.abs(target.xy - found.xy)
    if protocol == "patn":
        is_right = (away < PART * box).all(1)  # NaN, which is not found, is not less
    else:
        is_right = np.hypot(*away.T) < PART * DIAGONAL * np.hypot(*box)
    return int(is_right.sum()), int(target.seen.sum())
