"""Images that are nearly equal: saved again, resized, or a neighbouring frame."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 8  # pixels; the side of a signature
# Grey levels; the largest root mean square difference of two signatures of one image. In the crops
# of Market-1501, images of two people differ by 16 or more, an image and its copy as a JPEG of
# quality 30 by 2, shifted by a pixel by 5, or 5 % brighter by 5.
NEAR = 8.0
BLOCK = 2048  # images that are compared at once


def signature(pixels: np.ndarray) -> np.ndarray:
    """A small version of an image (H, W, 3) uint8: (3 * SIDE * SIDE,) uint8."""
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=1.0)
    return np.asarray(small).reshape(-1)


def near_copies(
    first: Sequence[Path], second: Sequence[Path], signatures: Mapping[Path, np.ndarray]
) -> Iterator[tuple[Path, Path]]:
    """Pairs of a file of ``first`` and one of ``second`` that show nearly the same image."""
    if not first or not second:
        return
    others = np.stack([signatures[path] for path in second]).astype(np.float32)
    norms = np.square(others).sum(1)
    for start in range(0, len(first), BLOCK):
        some = first[start : start + BLOCK]
        own = np.stack([signatures[path] for path in some]).astype(np.float32)
        squares = np.square(own).sum(1)[:, None] + norms - 2 * own @ others.T
        for row, column in np.argwhere(squares <= NEAR**2 * own.shape[1]):
            yield some[row], second[column]
