"""The six cameras: each a fixed street, a way of seeing colours, and a place to look from."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

CAMERAS = 6
SCENE = (320, 1280)  # height and width of a street, pixels
GROUNDS = np.array([[128, 126, 122], [150, 140, 128], [104, 110, 108]], float)


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """One camera.

    ``street`` is the background, with the horizon at row ``horizon``. Colours in [0, 1] are raised
    to ``gamma``, mixed by ``mixing`` (3, 3), scaled by ``gain`` (3,) and lifted by ``lift`` (of
    255). ``blur`` is pixels, ``noise`` a standard deviation of 255, ``height`` metres above the
    ground, ``sun`` the unit vector towards the light, ``ambient`` the light in the shade in [0, 1].
    """

    street: Image.Image
    horizon: int
    mixing: np.ndarray
    gain: np.ndarray
    lift: float
    gamma: float
    blur: float
    noise: float
    height: float
    sun: np.ndarray
    ambient: float
    quality: int  # of its JPEG files

    def pitch(self, distance: float) -> float:
        """How far the camera looks down (radians) on a person ``distance`` metres away."""
        return math.atan2(self.height - 0.85, distance)

    def project(self, points: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
        """Where points (n, 3) around a person are seen: (n, 2) x right, y down, and (n,) depth.

        x and y are tangents of the angle to the optical axis, depth is metres along it.
        """
        cosine, sine = math.cos(self.pitch(distance)), math.sin(self.pitch(distance))
        ahead, above = points[:, 1] + distance, points[:, 2] - self.height
        depth = ahead * cosine - above * sine
        down = -(ahead * sine + above * cosine)
        return np.stack([points[:, 0] / depth, down / depth], axis=1), depth

    def develop(self, picture: np.ndarray, gain: float) -> np.ndarray:
        """What the sensor makes of a scene: (H, W, 3) of 255 to (H, W, 3) uint8."""
        light = (picture / 255).clip(0, 1) ** self.gamma * 255
        return (light @ self.mixing.T * self.gain * gain + self.lift).clip(0, 255).astype(np.uint8)


def make_camera(rng: np.random.Generator, number: int) -> Camera:
    """Camera ``number`` (counted from 0) of a data set."""
    horizon = int(rng.uniform(80, 130))
    street = _paint_street(rng, horizon, GROUNDS[number % 3])
    sun = np.array([rng.uniform(-1, 1), rng.uniform(-0.9, 0.5), 1.3])
    return Camera(
        street=street,
        horizon=horizon,
        mixing=np.eye(3) + rng.normal(0, 0.02, (3, 3)),
        gain=rng.uniform(0.62, 1.1) * (1 + rng.normal(0, 0.05, 3)),
        lift=rng.uniform(0, 22),
        gamma=rng.uniform(0.75, 1.35),
        blur=rng.uniform(0.4, 1.2),
        noise=rng.uniform(1, 3.5),
        height=rng.uniform(1.3, 3.0),
        sun=sun / np.linalg.norm(sun),
        ambient=rng.uniform(0.5, 0.72),
        quality=int(rng.uniform(55, 90)),
    )


def _paint_street(rng: np.random.Generator, horizon: int, ground: np.ndarray) -> Image.Image:
    sky, leaves, wall = (
        np.array(colour) + rng.normal(0, 12) + rng.normal(0, 5, 3)
        for colour in ((226, 230, 232), (62, 76, 56), (150, 138, 128))
    )
    street = np.empty((*SCENE, 3))
    street[:] = sky
    _paint_trees(rng, street, horizon, leaves)
    for _ in range(5):
        _paint_building(rng, street, horizon, wall)
    for _ in range(40):
        _paint_clutter(rng, street, horizon)
    _paint_ground(rng, street, horizon, ground + rng.normal(0, 12) + rng.normal(0, 4, 3))
    picture = Image.fromarray(street.clip(0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(0.8))


def _clouds(rng: np.random.Generator, scale: int) -> np.ndarray:
    """Smooth noise over the street with features ``scale`` pixels wide: (H, W, 1) in [0, 1]."""
    height, width = SCENE
    seeds = (rng.random((max(2, height // scale), max(2, width // scale))) * 255).astype(np.uint8)
    picture = Image.fromarray(seeds).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture, float)[..., None] / 255


def _paint_trees(
    rng: np.random.Generator, street: np.ndarray, horizon: int, leaves: np.ndarray
) -> None:
    crowns = (_clouds(rng, 60)[..., 0].mean(0) * 60 + horizon - 85).astype(int)
    rows = np.arange(SCENE[0])[:, None]
    where = (rows > crowns) & (rows < horizon + 42)
    texture = 0.55 * _clouds(rng, 10) + 0.35 * _clouds(rng, 3) + 0.1 * rng.random((*SCENE, 1))
    street[where] = (leaves * (0.4 + 1.2 * texture))[where]


def _paint_building(
    rng: np.random.Generator, street: np.ndarray, horizon: int, wall: np.ndarray
) -> None:
    left, width = rng.integers(0, SCENE[1] - 270), rng.integers(90, 260)
    place = np.s_[rng.integers(0, 60) : horizon + 42, left : left + width]
    facade = np.empty_like(street[place])
    facade[:] = wall + rng.normal(0, 28) + rng.normal(0, 6, 3)
    is_window_row = np.arange(len(facade)) % 22 < 9
    is_window_column = np.arange(width) % 26 < 12
    facade[is_window_row[:, None] & is_window_column] *= 0.6
    street[place] = facade * (0.9 + 0.2 * _clouds(rng, 20)[place])


def _paint_clutter(rng: np.random.Generator, street: np.ndarray, horizon: int) -> None:
    """A box of some colour near the horizon: a car, a sign, a stall."""
    left, top = rng.integers(0, SCENE[1] - 80), rng.integers(horizon - 6, horizon + 34)
    width, height = rng.integers(6, 70), rng.integers(8, 44)
    colour = rng.uniform(30, 190) + rng.normal(0, 10, 3)
    street[top : top + height, left : left + width] = colour


def _paint_ground(
    rng: np.random.Generator, street: np.ndarray, horizon: int, colour: np.ndarray
) -> None:
    """Paving in perspective, from a little below the horizon downwards."""
    below = (np.arange(SCENE[0]) - horizon).clip(1)[:, None]
    across = (np.arange(SCENE[1]) - SCENE[1] / 2) / below * 8
    is_joint = (((across * 0.35) % 1 < 0.08) | ((990 / below) % 1 < 0.10)) & (below > 14)
    paving = colour * (0.82 + 0.3 * _clouds(rng, 40) + 0.10 * rng.random((*SCENE, 1)))
    paving[is_joint] *= 0.8
    street[horizon + 40 :] = paving[horizon + 40 :]
