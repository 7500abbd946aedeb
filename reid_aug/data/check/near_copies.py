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
    first: Sequence[Path],
    second: Sequence[Path],
    signatures: Mapping[Path, np.ndarray],
    hashes: Mapping[Path, str],
) -> list[tuple[Path, Path]]:
    """The files of ``first`` that nearly show an image of ``second``, each with one of those.

    Near images have near means, so images are compared in the order of their means. Of files with
    equal pixels one is compared, since a data set may hold thousands of one blank image.

    Args:
        signatures: those of all files (:func:`signature`).
        hashes: those of their pixels. Files with equal pixels are no near copies of each other.

    Returns:
        Sorted pairs; the file of ``second`` is the first by name.
    """
    if not first or not second:
        return []
    own, own_means = _by_mean(_one_per_image(first, hashes), signatures)
    others, means = _by_mean(_one_per_image(second, hashes), signatures)
    table = np.stack([signatures[path] for path in others]).astype(np.float32)
    norms = np.square(table).sum(1)
    found: dict[str, Path] = {}
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
        for row, column in near.tolist():
            image, other = hashes[some[row]], others[low + column]
            if image != hashes[other]:
                found[image] = min(other, found.get(image, other))
    return sorted((path, found[hashes[path]]) for path in first if hashes[path] in found)


def _one_per_image(paths: Sequence[Path], hashes: Mapping[Path, str]) -> list[Path]:
    """Of files with equal pixels the first by name."""
    return [*{hashes[path]: path for path in sorted(paths, reverse=True)}.values()]


def _by_mean(
    paths: Sequence[Path], signatures: Mapping[Path, np.ndarray]
) -> tuple[list[Path], np.ndarray]:
    """The paths in the order of the means of their signatures, and these means."""
    means = np.array([signatures[path].mean() for path in paths])
    order = np.argsort(means, kind="stable")
    return [paths[place] for place in order.tolist()], means[order]
