"""The images of a pair under the two protocols.

The published generator writes one sheet of five panels per pair: source | its pose | target | its
pose | generated image. The sheet is saved as JPEG at the default quality of Pillow, and the
published tools cut source, target and generated image out of it. A panel of such a sheet differs
from a panel that was saved on its own, because JPEG interpolates its half-size colour across the
borders of panels. The sheet is therefore made here too. Its pose panels are drawn by this project;
they affect the outermost columns of the other panels only.

Before SSIM, IS and DS, the published tools extend DeepFashion's panels of 256x176 to 256x256 with
white columns. These are equal in both images and raise SSIM.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from reid_aug.data.keypoints import Pose
from reid_aug.data.pictures import draw_pose

PROTOCOLS = ("patn", "clean")
PANELS = 5
SOURCE, TARGET, GENERATED = 0, 2, 4  # panels of the sheet
FASHION = (256, 176)  # height and width of DeepFashion's crops
FASHION_BORDER = 40  # white columns on each side of them


class View(NamedTuple):
    """Source, real target and generated image under one protocol, each (H, W, 3) uint8."""

    source: np.ndarray
    target: np.ndarray
    generated: np.ndarray


def views(
    source: np.ndarray, target: np.ndarray, generated: np.ndarray, poses: tuple[Pose, Pose]
) -> dict[str, View]:
    """The images of a pair, by protocol.

    Args:
        source: (H, W, 3) uint8.
        target: (H, W, 3) uint8.
        generated: (H, W, 3) float32 in [-1, 1], as a generator returns it, or uint8 pixels.
        poses: the poses of source and target.
    """
    is_signed = generated.dtype != np.uint8
    rounded = np.rint((generated + 1) * 127.5).clip(0, 255).astype(np.uint8)
    shown = truncated(generated) if is_signed else generated
    first, second = (truncated(published_input(image)) for image in (source, target))
    return {
        "patn": _through_jpeg(View(first, second, shown), poses),
        "clean": View(source, target, rounded if is_signed else generated),
    }


def truncated(signed: np.ndarray) -> np.ndarray:
    """Convert float32 in [-1, 1] to uint8 as the published tool does: truncated, not rounded."""
    return ((signed + 1) / np.float32(2) * np.float32(255)).clip(0, 255).astype(np.uint8)


def published_input(pixels: np.ndarray) -> np.ndarray:
    """Convert uint8 to float32 in [-1, 1] by the published steps.

    The order of the steps decides the last bits, and these decide a truncation.
    """
    return (pixels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)


def _through_jpeg(pair: View, poses: tuple[Pose, Pose]) -> View:
    height, width = pair.target.shape[:2]
    black = np.zeros_like(pair.target)
    first, second = (draw_pose(pose, height, width, over=black) for pose in poses)
    panels = [pair.source, first, pair.target, second, pair.generated]
    return cut(saved_as_jpeg(np.concatenate(panels, axis=1)))


def saved_as_jpeg(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 after JPEG at the default quality of Pillow, 75."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    with Image.open(file) as saved:
        return np.asarray(saved)


def cut(sheet: np.ndarray) -> View:
    """Source, target and generated image of a sheet of five panels (H, 5 W, 3)."""
    panels = np.split(sheet, PANELS, axis=1)
    return View(panels[SOURCE], panels[TARGET], panels[GENERATED])


def bordered(images: np.ndarray, protocol: str) -> np.ndarray:
    """Images (..., H, W, 3) as SSIM, IS and DS take them.

    Under ``patn``, images of DeepFashion's size get a white border.
    """
    if protocol != "patn" or images.shape[-3:-1] != FASHION:
        return images
    aside = [(0, 0)] * (images.ndim - 2) + [(FASHION_BORDER, FASHION_BORDER), (0, 0)]
    return np.pad(images, aside, constant_values=255)
