"""PCKh: the fraction of the target's joints that are found near their place in the generated image.

"Near" is measured in units of the head. The size of the head is that of the box around nose, eyes,
ears and, as in the published tool, the neck.

    patn   a joint is correct if |dx| is below half the width of the box and |dy| below half its
           height: two thresholds. In a box of width 0 no joint is correct.
    clean  a joint is correct if its distance is below half the size of the head, which is 0.6 times
           the diagonal of the box, as in the original PCKh

A target with fewer than two seen joints of the head is left out. A joint that is not found counts
as wrong. A joint that is found but was not requested has no effect.
"""

import numpy as np

from reid_aug.data.keypoints import Pose

HEAD = (0, 1, 14, 15, 16, 17)  # nose, neck, eyes, ears
LEAST_HEAD_JOINTS = 2  # seen joints of the head
PART = 0.5
HEAD_DIAGONAL = 0.6


def correct_joints(target: Pose, found: Pose, protocol: str) -> tuple[int, int]:
    """(joints found near their place, joints requested) in one image; (0, 0) if it is left out.

    Args:
        target: the requested pose.
        found: the pose that an estimator finds in the generated image, in the same pixels.
        protocol: "patn" or "clean".
    """
    head = target.xy[list(HEAD)][target.seen[list(HEAD)]]
    if len(head) < LEAST_HEAD_JOINTS:
        return 0, 0
    box = head.max(0) - head.min(0)
    away = np.abs(target.xy - found.xy)
    if protocol == "patn":
        is_right = (away < PART * box).all(
            1
        )  # a joint that is not found is NaN, and NaN < x is False
    else:
        is_right = np.hypot(*away.T) < PART * HEAD_DIAGONAL * np.hypot(*box)
    return int(is_right.sum()), int(target.seen.sum())
