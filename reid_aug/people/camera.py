"""The six cameras; each has a fixed street, colour response, height and light."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from reid_aug.people.difficulty import Difficulty, Range
from reid_aug.people.street import paint_street

CAMERAS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """One camera.

    Colours in [0, 1] are raised to ``gamma``, multiplied by ``mixing``, scaled by ``gain`` and
    increased by ``lift``, in this order.
    """

    street: Image.Image  # the background
    horizon: int  # row of the horizon in the street
    mixing: np.ndarray  # (3, 3) matrix of the colour channels
    gain: np.ndarray  # (3,) factor per colour channel
    lift: float  # in [0, 255]
    gamma: float  # exponent; above 1 it darkens
    blur: float  # standard deviation, pixels
    noise: float  # standard deviation on the scale [0, 255]
    height: float  # metres above the ground
    sun: np.ndarray  # (3,) unit vector towards the light
    ambient: float  # light in the shade, in [0, 1]
    quality: int  # of the JPEG files, in [1, 95]

    def pitch(self, distance: float) -> float:
        """Downward angle of the camera (radians) to a person ``distance`` metres away."""
        return math.atan2(self.height - 0.85, distance)

    def project(self, points: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
        """Project points (3, n) around a person: places (2, n), x right and y down, and depth (n,).

        x and y are tangents of the angle to the optical axis; depth is in metres along the axis.
        """
        cosine, sine = math.cos(self.pitch(distance)), math.sin(self.pitch(distance))
        ahead, above = points[1] + distance, points[2] - self.height
        depth = ahead * cosine - above * sine
        down = ahead * -sine - above * cosine
        return np.stack([points[0] / depth, down / depth]), depth

    def develop(self, picture: np.ndarray, gain: float) -> np.ndarray:
        """Apply the colour response: (H, W, 3) float32 in [0, 255] to (H, W, 3) uint8."""
        light = (picture * np.float32(1 / 255)).clip(0, 1) ** np.float32(self.gamma)
        mixing = (self.mixing.T * self.gain * (gain * 255)).astype(np.float32)
        result: np.ndarray = (light @ mixing + np.float32(self.lift)).clip(0, 255).astype(np.uint8)
        return result


def make_camera(rng: np.random.Generator, number: int, difficulty: Difficulty) -> Camera:
    """Camera ``number`` (counted from 0) of a data set."""
    horizon = int(rng.uniform(80, 130))
    street = paint_street(rng, horizon, number)
    sun = np.array([rng.uniform(-1, 1), rng.uniform(-0.9, 0.5), 1.3])
    tint, levels = difficulty.tint, _levels(rng, number)
    return Camera(
        street=street,
        horizon=horizon,
        mixing=np.eye(3) + rng.normal(0, tint / 3, (3, 3)),
        gain=_within(difficulty.gain, levels[0]) * (1 + rng.normal(0, tint, 3)),
        lift=rng.uniform(0, difficulty.lift),
        gamma=_within(difficulty.gamma, levels[1]),
        blur=rng.uniform(*difficulty.camera_blur),
        noise=rng.uniform(*difficulty.noise),
        height=rng.uniform(1.4, 3.2),
        sun=sun / np.linalg.norm(sun),
        ambient=rng.uniform(0.5, 0.72),
        quality=int(rng.uniform(55, 90)),
    )


def _levels(rng: np.random.Generator, number: int) -> np.ndarray:
    """Two numbers in [0, 1]; each camera has its own sixth of the range of the first number."""
    places = np.array([(number * 5 + 2) % CAMERAS, (number * 2 + number // 3) % CAMERAS])
    return (places + rng.uniform(0, 1, 2)) / CAMERAS


def _within(limits: Range, level: float) -> float:
    return float(limits[0] + (limits[1] - limits[0]) * level)
