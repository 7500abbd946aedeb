"""The region of the person, computed from the keypoints as in the published tools.

Every limb of a fixed list becomes a rectangle that extends 4 pixels to either side of the line
between its joints. Every joint becomes a disc of radius 4 pixels. The union is closed with a square
of 5 x 5 pixels.
"""

import numpy as np
from skimage.draw import disk, polygon
from skimage.morphology import dilation, erosion

from reid_aug.data.keypoints import Pose

RADIUS = 4  # pixels
SQUARE = np.ones((5, 5), bool)
MASK_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (1, 16), (1, 17), (8, 11), (11, 5),
    (8, 2), (16, 17),
)  # fmt: skip


def limb_mask(pose: Pose, height: int, width: int) -> np.ndarray:
    """The region of the person, (height, width) bool; all False if no joint is seen."""
    mask = np.zeros((height, width), bool)
    points, seen = pose.xy[:, ::-1].astype(float), pose.seen  # rows, columns
    for a, b in MASK_LIMBS:
        if seen[a] and seen[b] and (points[a] != points[b]).any():
            rows, columns = _rectangle(points[a], points[b]).T
            mask[polygon(rows, columns, shape=mask.shape)] = True
    for point in points[seen]:
        mask[disk(tuple(point), RADIUS, shape=mask.shape)] = True
    result: np.ndarray = erosion(dilation(mask, SQUARE), SQUARE)
    return result


def _rectangle(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The corners of the rectangle of a limb, (4, 2) rows and columns."""
    along = start - end
    aside = np.array([-along[1], along[0]]) * RADIUS / np.hypot(*along)
    return np.array([start + aside, start - aside, end - aside, end + aside])
