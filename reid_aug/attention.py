"""What each block of a generator changes: its masks, and a picture of them.

In each block the pose code becomes a mask in [0, 1] for every channel and pixel, and the change of
the image code is multiplied by it. The paper shows these masks over the blocks: they
walk from where the person was to where the person goes.

Shapes: N blocks, C channels, h x w the picture's sides after the encoder.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reid_aug.generator import Generator, to_pixels, to_signed
from reid_aug.pictures import draw_pose, sheet
from reid_aug.poses import Pose


@contextmanager
def watched(generator: Generator) -> Iterator[list[Tensor]]:
    """The masks of every block, (B, C, h, w) in [0, 1], filled in while the generator draws."""
    masks: list[Tensor] = []

    def keep(block: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> None:
        masks.append(torch.sigmoid(output[1]))

    hooks = [block.register_forward_hook(keep) for block in generator.blocks]
    try:
        yield masks
    finally:
        for hook in hooks:
            hook.remove()


def busiest_channel(masks: Tensor) -> int:
    """The channel whose mask, (N, C, h, w), changes most from block to block."""
    return int(masks.var(0, correction=0).mean((1, 2)).argmax())


@torch.inference_mode()
def attention_picture(
    generator: Generator,
    image: np.ndarray,
    poses: tuple[Pose, Pose],
    cameras: tuple[int, int],
    truth: np.ndarray | None = None,
) -> Image.Image:
    """Source, target pose and drawing, then the mask of every block in two rows.

    The upper row is the mean over channels, the lower one the channel that changes most; white is
    1, black is 0.

    Args:
        image: the source, (H, W, 3) uint8.
        poses: of the source and the target, in its pixels.
        cameras: camids of the source and of the drawing, for a generator that is told them.
        truth: the true picture in the target pose, where there is one.
    """
    height, width = image.shape[:2]
    source, target = (torch.from_numpy(pose.xy)[None] for pose in poses)
    with watched(generator) as found:
        camids = torch.tensor([cameras])
        drawn = generator.redraw(to_signed(torch.tensor(image)[None]), source, target, camids)
    masks = torch.cat(found)  # (N, C, h, w)
    busiest = masks[:, busiest_channel(masks)]
    upper = [image, draw_pose(poses[1], height, width), *_grey(masks.mean(1), height, width)]
    lower = [truth if truth is not None else np.full_like(image, 255), to_pixels(drawn)[0].numpy()]
    lower += _grey(busiest, height, width)
    numbers = [f"block {number}" for number in range(1, len(masks) + 1)]
    return sheet([upper, lower], ["source, truth", "pose, drawn", *numbers], zoom=2)


def _grey(masks: Tensor, height: int, width: int) -> Sequence[np.ndarray]:
    """Masks (N, h, w) in [0, 1] as pictures (H, W, 3) uint8."""
    levels = (masks * 255).round().byte().numpy()
    size = (width, height)
    large = (Image.fromarray(one).resize(size, Image.Resampling.NEAREST) for one in levels)
    return [np.repeat(np.asarray(one)[:, :, None], 3, 2) for one in large]
