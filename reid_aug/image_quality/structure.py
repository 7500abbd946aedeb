"""Likeness of a drawing to the real target: SSIM, mask-SSIM, L1. Images are (H, W, 3) uint8."""

import numpy as np
from skimage.metrics import structural_similarity

SIGMA = 1.5  # pixels, of the Gaussian window


def ssim(target: np.ndarray, generated: np.ndarray, protocol: str) -> float:
    """Structural similarity; ``patn`` takes each drawing's own range of values for the range."""
    return float(_map(target, generated, protocol)[0])


def mask_ssim(target: np.ndarray, generated: np.ndarray, mask: np.ndarray, protocol: str) -> float:
    """SSIM of the person, ``mask`` (H, W) bool; NaN where the mask is empty.

    ``patn`` blackens the rest in both images and takes the whole frame, so that what is black in
    both counts as alike; ``clean`` blackens nothing and takes the mean over the mask.
    """
    if not mask.any():
        return float("nan")
    if protocol == "patn":
        return ssim(target * mask[..., None], generated * mask[..., None], protocol)
    return float(_map(target, generated, protocol)[1][mask].mean())


def _map(target: np.ndarray, generated: np.ndarray, protocol: str) -> tuple[float, np.ndarray]:
    """The mean, and the map (H, W, 3)."""
    extent = 255.0
    if protocol == "patn":  # of a drawing of one colour no range can be taken
        extent = max(float(generated.max()) - float(generated.min()), 1.0)
    return structural_similarity(
        target,
        generated,
        channel_axis=-1,
        data_range=extent,
        gaussian_weights=True,
        sigma=SIGMA,
        use_sample_covariance=False,
        full=True,
    )


def mean_difference(target: np.ndarray, generated: np.ndarray) -> float:
    """L1: mean absolute difference in [-1, 1] scale."""
    return float(np.abs(target.astype(float) - generated).mean() / 127.5)
