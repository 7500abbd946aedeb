"""Images that are nearly equal: saved again, resized, or a neighbouring frame."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIGNATURE_SIDE = 8  # pixels; the side of a signature
# Grey levels; the largest root mean square difference of two signatures of one image. In the crops
# of Market-1501, images of two people differ by 16 or more, an image and its copy as a JPEG of
# quality 30 by 2, shifted by a pixel by 5, or 5 % brighter by 5.
NEAR_DISTANCE = 8.0
COMPARED_ROWS = 256  # images that are compared at once


def signature(pixels: np.ndarray) -> np.ndarray:
    """A small version of an image (H, W, 3) uint8: (3 * SIGNATURE_SIDE * SIGNATURE_SIDE,) uint8."""
    small = Image.fromarray(pixels).resize(
        (SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX, reducing_gap=1.0
    )
    return np.asarray(small).reshape(-1)


def near_copies(
    first: Sequence[Path], second: Sequence[Path], signatures: Mapping[Path, np.ndarray]
) -> list[tuple[Path, Path]]:
    """Pairs of a file of ``first`` and one of ``second`` that show nearly the same image, sorted.

    Near images have near means, so images are compared in the order of their means.
    """
    if not first or not second:
        return []
    own, own_means = _by_mean(first, signatures)
    others, means = _by_mean(second, signatures)
    table = np.stack([signatures[path] for path in others]).astype(np.float32)
    norms = np.square(table).sum(1)
    pairs = []
    for start in range(0, len(own), COMPARED_ROWS):
        some, some_means = (
            own[start : start + COMPARED_ROWS],
            own_means[start : start + COMPARED_ROWS],
        )
        low = int(np.searchsorted(means, some_means[0] - NEAR_DISTANCE))
        high = int(np.searchsorted(means, some_means[-1] + NEAR_DISTANCE, "right"))
        block = np.stack([signatures[path] for path in some]).astype(np.float32)
        squares = np.square(block).sum(1)[:, None] + norms[low:high] - 2 * block @ table[low:high].T
        near = np.argwhere(squares <= NEAR_DISTANCE**2 * block.shape[1])
        pairs += [(some[row], others[low + column]) for row, column in near.tolist()]
    return sorted(pairs)


def _by_mean(
    paths: Sequence[Path], signatures: Mapping[Path, np.ndarray]
) -> tuple[list[Path], np.ndarray]:
    """The paths in the order of the means of their signatures, and these means."""
    means = np.array([signatures[path].mean() for path in paths])
    order = np.argsort(means, kind="stable")
    return [paths[place] for place in order.tolist()], means[order]
