"""How hard the people are to tell apart: one dial, and all the numbers behind it.

``market`` is about as hard as Market-1501: many people wear much the same greyish clothes, every
camera sees colours its own way, and boxes are often badly placed. ``easy`` is for a first look at
a method: saturated clothes, mild cameras, well placed boxes.
"""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Difficulty:
    """One setting of the dial; shares are in [0, 1], ranges are uniform.

    Attributes:
        vivid: Share of garments in a saturated colour instead of a greyish one.
        gain: Brightness of a camera (1: as the scene is).
        gamma: Contrast curve of a camera; above 1 it darkens the shades.
        lift: Most that a camera adds to black, of 255.
        tint: Standard deviation of the gain between the colour channels of a camera.
        camera_blur: Blur of a camera, pixels.
        noise: Grain of a camera, a standard deviation of 255.
        exposure: Brightness of a picture against others of its camera.
        coarse: Share of pictures that come from a much smaller box.
        bystanders: Share of pictures with a second person.
        cut: Share of boxes that end above the feet.
        shift: Standard deviation of where a box lies, in widths and in heights of the box.
    """

    vivid: float
    gain: Range
    gamma: Range
    lift: float
    tint: float
    camera_blur: Range
    noise: Range
    exposure: Range
    coarse: float
    bystanders: float
    cut: float
    shift: Range


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
