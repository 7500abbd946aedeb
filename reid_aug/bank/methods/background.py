"""The background of a generated image, where it is that of the image that gave the pose.

The image of the target shows the pose that is generated, so its person stands where the generated
person stands. Outside of that person it is a real piece of the scene under the target's camera. The
generated image takes these pixels, and its own ones inside.

The mask of the person consists of the limbs, the torso and the head of the target pose
(:mod:`reid_aug.generator.limb_warp`), grown by a margin for hair, clothes and bags. An unseen knee,
ankle or head is placed along the limb before it. Without a torso there is no mask, and the
generated image stays as it is.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_aug.data.keypoints import TORSO
from reid_aug.generator.limb_warp import FACE, NECK, warp_limbs

BACKGROUNDS = ("generated", "target")
MARGIN = 1 / 16  # of the width of the image
NOSE = 0
SHOULDERS, HIPS = list(TORSO[:2]), list(TORSO[2:])
LEG_JOINTS = ((8, 9, 10), (11, 12, 13))  # hip, knee, ankle
HEAD_LENGTH = 0.35  # of the torso, from the neck to the nose


def over_target(generated: Tensor, target: Tensor, pose: Tensor) -> Tensor:
    """The generated person over the background of the image that gave the pose.

    Args:
        generated: (B, 3, H, W), in any range.
        target: (B, 3, H, W), the images that gave the poses, in the same range.
        pose: (B, 18, 2), their keypoints in pixels, NaN unseen.

    Returns:
        (B, 3, H, W); the generated image itself where the pose has no torso.
    """
    height, width = generated.shape[-2:]
    result: Tensor = torch.lerp(target, generated, person_mask(pose, (height, width)))
    return result


def person_mask(pose: Tensor, size: tuple[int, int]) -> Tensor:
    """Where a person of this pose may be: (B, 1, H, W) in [0, 1], with a soft edge of two pixels.

    1 everywhere for a pose without a torso.

    Args:
        pose: (B, 18, 2) in pixels, NaN unseen.
        size: (height, width) in pixels.
    """
    whole = completed(pose)
    blank = torch.zeros(len(pose), 3, *size, device=pose.device)
    cover = warp_limbs(blank, whole, whole)[1]
    reach = max(1, round(MARGIN * size[1]))
    grown = F.max_pool2d(cover, 2 * reach + 1, 1, reach)
    soft = F.avg_pool2d(grown, 3, 1, 1, count_include_pad=False)
    has_person = cover.amax((1, 2, 3), keepdim=True) > 0
    return torch.where(has_person, soft, 1.0)


def completed(pose: Tensor) -> Tensor:
    """The pose (B, 18, 2) with unseen knees, ankles and head where they are likely."""
    pose = pose.clone()
    down = pose[:, HIPS].mean(1) - pose[:, SHOULDERS].mean(1)
    for hip, knee, ankle in LEG_JOINTS:
        pose[:, knee] = _or(pose[:, knee], pose[:, hip] + down)
        pose[:, ankle] = _or(pose[:, ankle], 2 * pose[:, knee] - pose[:, hip])
    pose[:, NECK] = _or(pose[:, NECK], pose[:, SHOULDERS].mean(1))
    unseen = pose[:, FACE].isnan().all(1)
    above = pose[:, NECK] - HEAD_LENGTH * down
    pose[:, NOSE] = torch.where(unseen, above, pose[:, NOSE])
    return pose


def _or(place: Tensor, other: Tensor) -> Tensor:
    """The place of a joint (B, 2), or the other one where it is unseen."""
    return torch.where(place.isnan(), other, place)
