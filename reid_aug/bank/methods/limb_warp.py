"""The method "limb-warp": the source's limbs in the target's pose, over a background.

It needs no training and no checkpoint, and it works on photographs. It is the baseline of pose
transfer: a trained generator must give better results than this. Ten parts of the body move by one
affine map each (:mod:`reid_aug.generator.limb_warp`). The background is the source without the
person, blurred; the person is removed as far as the mask of the limbs in the source's pose covers
them. With ``background = "target"`` it is the image that gave the pose, in which the pixels of its
person are replaced by a blur of those around them.

A row without a whole torso in the source or in the target has no limbs to move: its image is the
background only.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from reid_aug.bank.methods.background import person_mask
from reid_aug.bank.methods.base import Method
from reid_aug.bank.plan import PlannedRow
from reid_aug.generator.limb_warp import warp_limbs

BLUR = 1 / 8  # standard deviation of the blur, as a part of the shorter side of the image
LEAST_WEIGHT = 1e-3  # blurred weight of the background below which a pixel takes the blurred source


class LimbWarpMethod(Method):
    """Moves the limbs of the source, part by part, and blurs its background."""

    name = "limb-warp"
    label = "moved limbs"
    uses_background = True
    generator_data = "kept"
    description = "limbs of the kept images moved to other poses, without a trained network"

    def read(self, rows: Sequence[PlannedRow]) -> Any:
        """Pixels (B, H, W, 3) of the sources, and poses (2, B, 18, 2) of sources and targets.

        With the background of the target, the pixels of the targets too, (B, H, W, 3).
        """
        scenes = [self.targets(rows)] if self.scene.background == "target" else []
        return self.sources(rows), self.poses(rows), *scenes

    @torch.inference_mode()
    def compute(self, material: Any) -> np.ndarray:
        pixels, xy, *scenes = (torch.from_numpy(part).to(self.device) for part in material)
        return move_limbs(pixels, xy[0], xy[1], *scenes).cpu().numpy()


def move_limbs(
    pixels: Tensor, source: Tensor, target: Tensor, scene: Tensor | None = None
) -> Tensor:
    """Images (B, H, W, 3) uint8 with the limbs moved from one pose to the other.

    Args:
        pixels: (B, H, W, 3) uint8.
        source: the poses of the images, (B, 18, 2) in pixels, NaN unseen.
        target: the poses to move to, likewise.
        scene: the images that gave the poses ``target``, whose background is shown, (B, H, W, 3)
            uint8; without them it is the blurred background of ``pixels``.
    """
    images = pixels.permute(0, 3, 1, 2).float()  # (B, 3, H, W) in [0, 255]
    limbs, cover = warp_limbs(images, source, target)
    if scene is None:
        behind = background(images, warp_limbs(images, source, source)[1])
    else:
        scenes = scene.permute(0, 3, 1, 2).float()
        person = person_mask(target, (scenes.shape[-2], scenes.shape[-1]))
        behind = torch.lerp(scenes, background(scenes, person), person)
    generated = limbs + (1 - cover) * behind
    return generated.round().clamp(0, 255).byte().permute(0, 2, 3, 1)


def background(images: Tensor, person: Tensor) -> Tensor:
    """The blurred images without the person, (B, 3, H, W) in the range of ``images``.

    The blur is a weighted mean, in which pixels of the person have weight 0. Where no background is
    near, the result is the blurred image with the person.

    Args:
        images: (B, 3, H, W).
        person: how much of each pixel the person covers, (B, 1, H, W) in [0, 1].
    """
    weights = blurred(1 - person)
    inside = blurred(images * (1 - person)) / weights.clamp(min=LEAST_WEIGHT)
    return torch.where(weights < LEAST_WEIGHT, blurred(images), inside)


def blurred(images: Tensor) -> Tensor:
    """Images (B, C, H, W) after a Gaussian blur; the kernel reaches three deviations."""
    sigma = BLUR * min(images.shape[-2:])
    reach = max(1, min(round(3 * sigma), min(images.shape[-2:]) - 1))  # the padding is a reflection
    result: Tensor = gaussian_blur(images, [2 * reach + 1] * 2, [sigma] * 2)
    return result
