"""The difficulty of the data set: named settings and their numbers.

``market`` is about as hard as Market-1501: many people wear similar greyish clothes, every camera
has a different colour response, and boxes are often misplaced. ``easy`` is for first experiments
with a method: saturated clothes, similar cameras, well placed boxes.
"""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Difficulty:
    """One difficulty setting; shares are in [0, 1], the values of a range are uniform."""

    vivid: float  # share of garments in a saturated colour instead of a greyish one
    gain: Range  # brightness factor of a camera
    gamma: Range  # exponent of the contrast curve of a camera; above 1 it darkens
    lift: float  # largest value that a camera adds to black, in [0, 255]
    tint: float  # standard deviation of the gain among the colour channels of a camera
    camera_blur: Range  # standard deviation of the blur of a camera, pixels
    noise: Range  # standard deviation of the noise of a camera, on the scale [0, 255]
    exposure: Range  # brightness factor of an image relative to its camera
    coarse: float  # share of images that are enlarged from a much smaller box
    bystanders: float  # share of images with a second person
    cut: float  # share of boxes that end above the feet
    shift: tuple[float, float]  # standard deviations of the box position, in its widths and heights


DIFFICULTIES = {
    "easy": Difficulty(
        vivid=0.85,
        gain=(0.94, 1.06),
        gamma=(0.92, 1.08),
        lift=6,
        tint=0.01,
        camera_blur=(0.4, 0.6),
        noise=(0.5, 1.5),
        exposure=(0.95, 1.05),
        coarse=0.05,
        bystanders=0.04,
        cut=0.02,
        shift=(0.015, 0.006),
    ),
    "market": Difficulty(
        vivid=0.06,
        gain=(0.62, 1.16),
        gamma=(0.72, 1.4),
        lift=20,
        tint=0.042,
        camera_blur=(0.35, 0.9),
        noise=(1.0, 3.0),
        exposure=(0.72, 1.2),
        coarse=0.35,
        bystanders=0.2,
        cut=0.06,
        shift=(0.045, 0.02),
    ),
}
