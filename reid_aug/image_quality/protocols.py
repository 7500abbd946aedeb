"""What of a pair is looked at: the two protocols' pixels.

The published generator writes a sheet of five panels a pair, source | its pose | target | its pose
| generated, as JPEG at Pillow's default quality, and the published tools cut source, target and
drawing out of it. A panel does not come out of the sheet as it would come out of a JPEG of its own:
half-size colour is interpolated across borders. So the sheet is made here too; the poses on it
are ours, and reach what is measured in the outermost columns only.

DeepFashion's panels of 256x176 the published tools bring back to 256x256 with white columns before
SSIM, IS and DS; that is the same in both images, and lifts SSIM.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from reid_aug.data.keypoints import Pose
from reid_aug.data.pictures import draw_pose

PROTOCOLS = ("patn", "clean")
PANELS = 5
SOURCE, TARGET, GENERATED = 0, 2, 4  # places on the sheet
FASHION = (256, 176)  # height and width of DeepFashion's crops
BORDER = 40  # white columns on each side of them


class View(NamedTuple):
    """Source, real target and drawing as one protocol sees them, each (H, W, 3) uint8."""

    source: np.ndarray
    target: np.ndarray
    generated: np.ndarray


def views(
    source: np.ndarray, target: np.ndarray, generated: np.ndarray, poses: tuple[Pose, Pose]
) -> dict[str, View]:
    """A pair as each protocol sees it.

    Args:
        source: (H, W, 3) uint8, as is ``target``.
        generated: (H, W, 3) float32 in [-1, 1] as a generator gives it, or uint8 pixels.
        poses: of source and target.
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
    """Float32 in [-1, 1] to uint8 as the published tool does it: cut off, not rounded."""
    return ((signed + 1) / np.float32(2) * np.float32(255)).clip(0, 255).astype(np.uint8)


def published_input(pixels: np.ndarray) -> np.ndarray:
    """uint8 to float32 in [-1, 1] by the published steps, whose last bits decide a truncation."""
    return (pixels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)


def _through_jpeg(pair: View, poses: tuple[Pose, Pose]) -> View:
    height, width = pair.target.shape[:2]
    black = np.zeros_like(pair.target)
    first, second = (draw_pose(pose, height, width, over=black) for pose in poses)
    file = io.BytesIO()
    panels = [pair.source, first, pair.target, second, pair.generated]
    Image.fromarray(np.concatenate(panels, axis=1)).save(file, "JPEG")  # quality 75
    with Image.open(file) as sheet:
        return cut(np.asarray(sheet))


def cut(sheet: np.ndarray) -> View:
    """Source, target and drawing of a sheet of five panels (H, 5 W, 3)."""
    panels = np.split(sheet, PANELS, axis=1)
    return View(panels[SOURCE], panels[TARGET], panels[GENERATED])


def bordered(images: np.ndarray, protocol: str) -> np.ndarray:
    """Images (..., H, W, 3) as SSIM, IS and DS see them: by ``patn`` DeepFashion's in a border."""
    if protocol != "patn" or images.shape[-3:-1] != FASHION:
        return images
    aside = [(0, 0)] * (images.ndim - 2) + [(BORDER, BORDER), (0, 0)]
    return np.pad(images, aside, constant_values=255)
