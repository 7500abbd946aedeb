"""Similarity of a generated image and the real target: SSIM, mask-SSIM, L1.

Images are (H, W, 3) uint8.
"""

import numpy as np
from skimage.metrics import structural_similarity

SIGMA = 1.5  # standard deviation of the Gaussian window, in pixels


def ssim(target: np.ndarray, generated: np.ndarray, protocol: str) -> float:
    """Structural similarity in [-1, 1].

    The data range is 255 under ``clean`` and that of the generated image under ``patn``.
    """
    return float(_map(target, generated, protocol)[0])


def mask_ssim(target: np.ndarray, generated: np.ndarray, mask: np.ndarray, protocol: str) -> float:
    """SSIM of the person, given as ``mask`` (H, W) bool; NaN if the mask is empty.

    ``patn`` sets the other pixels of both images to black and averages over the whole frame, so
    pixels that are black in both count as equal. ``clean`` leaves the images unchanged and averages
    over the mask.
    """
    if not mask.any():
        return float("nan")
    if protocol == "patn":
        return ssim(target * mask[..., None], generated * mask[..., None], protocol)
    return float(_map(target, generated, protocol)[1][mask].mean())


def _map(target: np.ndarray, generated: np.ndarray, protocol: str) -> tuple[float, np.ndarray]:
    """The mean SSIM, and its map (H, W, 3)."""
    extent = 255.0
    if protocol == "patn":  # an image of one colour has the range 0
        extent = max(float(generated.max()) - float(generated.min()), 1.0)
    result: tuple[float, np.ndarray] = structural_similarity(
        target,
        generated,
        channel_axis=-1,
        data_range=extent,
        gaussian_weights=True,
        sigma=SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    return result


def mean_difference(target: np.ndarray, generated: np.ndarray) -> float:
    """L1: the mean absolute difference of pixels in [-1, 1], so in [0, 2]."""
    return float(np.abs(target.astype(float) - generated).mean() / 127.5)
