"""The masks of the blocks, which gate the change of the image code, and an image of them.

In each block the sigmoid of the pose code is a mask in [0, 1] per channel and pixel. The change of
the image code is multiplied by it. The paper shows these masks for all blocks: they move from the
person's source position to the target position.

Shapes: N blocks, C channels, h x w pixels after the encoder.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reid_aug.data.dataset import Dataset, open_image, resize
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.data.pictures import POSE_LEGEND, draw_pose, sheet
from reid_aug.generator import Generator, to_pixels, to_signed
from reid_aug.runtime.errors import UserError

MASK_COLOURS = np.array([[30, 40, 120], [33, 145, 140], [250, 230, 40]])  # dark blue, green, yellow
COVER = 0.6  # of the image by the colours


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

    The upper row shows the mean over the channels, the lower row the channel that changes most,
    each as colours over the generated image, and with a scale of its own: the smallest mask of the
    row is dark blue, the largest yellow. The first two columns of the upper row are the source and
    the target pose, those of the lower row the target image and the generated image.
    """
    size = source.image.shape[:2]
    source_xy, target_xy = (torch.from_numpy(end.pose.xy)[None] for end in (source, target))
    with watched(generator) as recorded:
        camids = torch.tensor([[source.camid, target.camid]])
        image = to_signed(torch.tensor(source.image)[None])
        made = to_pixels(generator.repose(image, source_xy, target_xy, camids))[0].numpy()
    masks = torch.cat(recorded)  # (N, C, h, w)
    mean, busiest = masks.mean(1), masks[:, busiest_channel(masks)]
    upper = [source.image, draw_pose(target.pose, *size), *over(mean, made)]
    lower = [target.image, made, *over(busiest, made)]
    numbers = [f"block {number}" for number in range(1, len(masks) + 1)]
    captions = [
        f"source, target pose; mask, mean over the channels: {_ends(mean)}",
        f"target image, generated image; mask of the channel that changes most: {_ends(busiest)}",
    ]
    titles = ["source/target", "pose/generated", *numbers]
    return sheet([upper, lower], titles, zoom=2, captions=captions, legend=POSE_LEGEND)


def over(masks: Tensor, image: np.ndarray) -> list[np.ndarray]:
    """Masks (N, h, w) as colours over an image (H, W, 3) uint8: N images of its size.

    The smallest of all values has the first of ``MASK_COLOURS``, the largest the last.
    """
    height, width = image.shape[:2]
    low, high = float(masks.min()), float(masks.max())
    levels = ((masks - low) / max(high - low, 1e-6)).numpy()
    grey = np.repeat(image.mean(2, keepdims=True), 3, 2)
    shown = []
    for one in levels:
        large = np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.NEAREST))
        stops = np.linspace(0, 1, len(MASK_COLOURS))
        colours = np.stack([np.interp(large, stops, MASK_COLOURS[:, i]) for i in range(3)], -1)
        shown.append((COVER * colours + (1 - COVER) * grey).round().astype(np.uint8))
    return shown


def _ends(masks: Tensor) -> str:
    return f"{float(masks.min()):.2f} (blue) to {float(masks.max()):.2f} (yellow)"
