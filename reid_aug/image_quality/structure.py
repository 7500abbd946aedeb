"""Similarity of a generated image and the real target: SSIM, mask-SSIM, L1.

Images are (H, W, 3) uint8. The two protocols differ in the range of the pixels and in the window:

    patn   the range of the generated image, and the window of scikit-image 0.14.2, which the
           published tools require: a Gaussian that is cut at 4 standard deviations, 13 taps
    clean  the range 255, and the window of today's scikit-image, 11 taps as in Wang et al. 2004

JPEG decoders changed too: with the one in today's Pillow, SSIM of the published files differs by
another 0.0004 to 0.0009.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

WINDOW_SIGMA = 1.5  # standard deviation of the Gaussian window, in pixels
CUT = 4.0  # the end of the window under patn, in standard deviations
OMITTED_BORDER = 5  # pixels at the border that the mean leaves out


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
    if protocol == "patn":
        return _published_map(target, generated)
    result: tuple[float, np.ndarray] = structural_similarity(
        target,
        generated,
        channel_axis=-1,
        data_range=255.0,
        gaussian_weights=True,
        sigma=WINDOW_SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    return result


def _published_map(target: np.ndarray, generated: np.ndarray) -> tuple[float, np.ndarray]:
    extent = max(float(generated.max()) - float(generated.min()), 1.0)  # one colour has range 0
    c1, c2 = (0.01 * extent) ** 2, (0.03 * extent) ** 2
    x, y = target.astype(float), generated.astype(float)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (
        gaussian_filter(values, (WINDOW_SIGMA, WINDOW_SIGMA, 0), truncate=CUT)
        for values in (x, y, x * x, y * y, x * y)
    )
    of_means = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    variances = mean_xx - mean_x**2 + mean_yy - mean_y**2
    found = of_means * (2 * (mean_xy - mean_x * mean_y) + c2) / (variances + c2)
    return float(
        found[OMITTED_BORDER:-OMITTED_BORDER, OMITTED_BORDER:-OMITTED_BORDER].mean()
    ), found


def mean_difference(target: np.ndarray, generated: np.ndarray) -> float:
    """L1: the mean absolute difference of pixels in [-1, 1], so in [0, 2]."""
    return float(np.abs(target.astype(float) - generated).mean() / 127.5)
