"""The masks of the blocks, which gate the change of the image code, and an image of them.

In each block the sigmoid of the pose code is a mask in [0, 1] per channel and pixel. The change of
the image code is multiplied by it. The paper shows these masks for all blocks: they move from the
person's source position to the target position.

Shapes: N blocks, C channels, h x w pixels after the encoder.
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
    """Yield a list that a forward pass fills with the masks (B, C, h, w) of the blocks."""
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
    """The channel of the masks (N, C, h, w) with the largest variance over the blocks."""
    return int(masks.var(0, correction=0).mean((1, 2)).argmax())


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """The source or the target of a generated image."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""

    pose: Pose
    """The pose, in pixels of ``image``."""

    camid: int
    """The camera of ``image``, counted from 1."""


def read_end(dataset: Dataset, poses: Mapping[str, Pose], name: str, size: tuple[int, int]) -> End:
    """Read an image of a data set by its file name, resized to (height, width).

    Raises:
        UserError: If the data set has no such image.
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
    """Show source, target and generated image, then the mask of every block in two rows.

    The upper row shows the mean over the channels, the lower row the channel that changes most;
    white is 1, black is 0. The upper left images are the source and the target pose, the lower left
    ones the target image and the generated image.
    """
    size = source.image.shape[:2]
    source_xy, target_xy = (torch.from_numpy(end.pose.xy)[None] for end in (source, target))
    with watched(generator) as recorded:
        camids = torch.tensor([[source.camid, target.camid]])
        image = to_signed(torch.tensor(source.image)[None])
        generated = generator.repose(image, source_xy, target_xy, camids)
    masks = torch.cat(recorded)  # (N, C, h, w)
    busiest = masks[:, busiest_channel(masks)]
    upper = [source.image, draw_pose(target.pose, *size), *_grey(masks.mean(1), *size)]
    lower = [target.image, to_pixels(generated)[0].numpy(), *_grey(busiest, *size)]
    numbers = [f"block {number}" for number in range(1, len(masks) + 1)]
    return sheet([upper, lower], ["source, target", "pose, generated", *numbers], zoom=2)


def _grey(masks: Tensor, height: int, width: int) -> Sequence[np.ndarray]:
    """Masks (N, h, w) in [0, 1] as images (H, W, 3) uint8."""
    levels = (masks * 255).round().byte().numpy()
    size = (width, height)
    large = (Image.fromarray(one).resize(size, Image.Resampling.NEAREST) for one in levels)
    return [np.repeat(np.asarray(one)[:, :, None], 3, 2) for one in large]
