"""What each block of a generator changes: its masks, and a picture of them.

In each block the pose code becomes a mask in [0, 1] for every channel and pixel, and the change of
the image code is multiplied by it. The paper shows these masks over the blocks: they
walk from where the person was to where the person goes.

Shapes: N blocks, C channels, h x w the picture's sides after the encoder.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reid_aug.data.dataset import Dataset, open_image, resize
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.data.pictures import draw_pose, sheet
from reid_aug.generator import Generator, to_pixels, to_signed
from reid_aug.runtime.errors import UserError


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


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """An image that gives the look or the pose: (H, W, 3) uint8, its pose in pixels, its camid."""

    image: np.ndarray
    pose: Pose
    camid: int


def read_end(dataset: Dataset, poses: Mapping[str, Pose], name: str, size: tuple[int, int]) -> End:
    """An image of a data set by its file name, at (height, width).

    Raises:
        UserError: If there is no such image.
    """
    images = {i.name: i for i in (*dataset.train, *dataset.query, *dataset.gallery)}
    if name not in images:
        near = get_close_matches(name, images, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{name} must be the file name of an image of the data set, got none{hint}")
    original = open_image(images[name].path)
    pose = poses.get(name, NO_POSE).resized(original.shape[:2], size)
    return End(resize(original, *size), pose, images[name].camid)


@torch.inference_mode()
def attention_picture(generator: Generator, source: End, target: End) -> Image.Image:
    """Source, target pose and drawing, then the mask of every block in two rows.

    The upper row is the mean over channels, the lower one the channel that changes most; white is
    1, black is 0. The target's own image stands beside the drawing.
    """
    size = source.image.shape[:2]
    places, goals = (torch.from_numpy(end.pose.xy)[None] for end in (source, target))
    with watched(generator) as found:
        camids = torch.tensor([[source.camid, target.camid]])
        image = to_signed(torch.tensor(source.image)[None])
        drawn = generator.repose(image, places, goals, camids)
    masks = torch.cat(found)  # (N, C, h, w)
    busiest = masks[:, busiest_channel(masks)]
    upper = [source.image, draw_pose(target.pose, *size), *_grey(masks.mean(1), *size)]
    lower = [target.image, to_pixels(drawn)[0].numpy(), *_grey(busiest, *size)]
    numbers = [f"block {number}" for number in range(1, len(masks) + 1)]
    return sheet([upper, lower], ["source, target", "pose, drawn", *numbers], zoom=2)


def _grey(masks: Tensor, height: int, width: int) -> Sequence[np.ndarray]:
    """Masks (N, h, w) in [0, 1] as pictures (H, W, 3) uint8."""
    levels = (masks * 255).round().byte().numpy()
    size = (width, height)
    large = (Image.fromarray(one).resize(size, Image.Resampling.NEAREST) for one in levels)
    return [np.repeat(np.asarray(one)[:, :, None], 3, 2) for one in large]
