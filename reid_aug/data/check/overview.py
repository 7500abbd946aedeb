"""A picture of crops with their poses, doubtful ones first."""

from pathlib import Path

import numpy as np

from reid_aug.data.check.images import Images
from reid_aug.data.check.poses import Poses
from reid_aug.data.dataset import open_image
from reid_aug.data.keypoints import NO_POSE
from reid_aug.data.pictures import POSE_LEGEND, draw_pose, sheet, write_picture
from reid_aug.runtime.errors import UserError

OVERVIEW_CROPS = 48  # crops, at most a third of them doubtful


def write_overview(images: Images, poses: Poses, path: Path) -> None:
    """Write a PNG with each crop, and the crop with its stick figure.

    Raises:
        UserError: If no image can be shown.
    """
    rows, captions = [], []
    for name in shown_names(images, poses):
        crop = open_image(images.by_name[name])
        height, width = crop.shape[:2]
        drawn = draw_pose(poses.poses.get(name, NO_POSE), height, width, over=crop)
        rows.append([crop, drawn])
        captions.append(name.split("s")[0])
    if not rows:
        raise UserError(
            f"{images.root}: must contain an image that decodes, to write {path}, got none"
        )
    write_picture(path, sheet(rows, ("image", "pose"), 8, 2, captions, POSE_LEGEND))


def shown_names(images: Images, poses: Poses) -> list[str]:
    """The names of the images in the overview.

    Doubtful images come first, then others at equal distances in the sorted list. Only images that
    decode are included.
    """
    decoded = {path.name for path in images.contents}
    doubtful = [name for name in dict.fromkeys(poses.doubtful) if name in decoded][
        : OVERVIEW_CROPS // 3
    ]
    others = sorted(decoded - set(doubtful))
    places = np.linspace(0, len(others) - 1, min(OVERVIEW_CROPS - len(doubtful), len(others)))
    return doubtful + [others[place] for place in places.astype(int)]
