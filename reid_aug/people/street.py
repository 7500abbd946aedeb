"""The background of a camera: sky, trees, buildings, clutter, parked bicycles and paving."""

import numpy as np
from PIL import Image, ImageFilter

SCENE = (320, 1280)  # height and width of a street, pixels
GROUNDS = np.array([[150, 148, 145], [166, 159, 150], [124, 127, 126]], np.float32)
SKY, LEAVES, WALL = (224, 228, 230), (66, 78, 60), (152, 143, 134)
CLUTTER = 34  # signs, stalls and cars per street
PARKED_BICYCLES = 14  # parked bicycles per street


def paint_street(rng: np.random.Generator, horizon: int, number: int) -> Image.Image:
    """The image of the street of camera ``number``; row ``horizon`` is the horizon."""
    sky, leaves, wall = (
        np.array(colour, np.float32) + rng.normal(0, 10) + rng.normal(0, 3, 3).astype(np.float32)
        for colour in (SKY, LEAVES, WALL)
    )
    street = np.empty((*SCENE, 3), np.float32)
    street[:] = sky
    _paint_trees(rng, street, horizon, leaves)
    for _ in range(7):
        _paint_building(rng, street, horizon, wall)
    for _ in range(CLUTTER):
        _paint_clutter(rng, street, horizon)
    ground = GROUNDS[number % 3] + rng.normal(0, 10) + rng.normal(0, 2.5, 3)
    _paint_ground(rng, street, horizon, ground)
    for _ in range(PARKED_BICYCLES):
        _paint_parked(rng, street, horizon)
    picture = Image.fromarray(street.clip(0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(0.8))


def _clouds(rng: np.random.Generator, scale: int, rows: slice = slice(None)) -> np.ndarray:
    """Smooth noise over the street, with features ``scale`` pixels wide: (H, W, 1) in [0, 1]."""
    height, width = SCENE
    seeds = (rng.random((max(2, height // scale), max(2, width // scale))) * 255).astype(np.uint8)
    picture = Image.fromarray(seeds).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)[rows, :, None] * np.float32(1 / 255)


def _paint_trees(
    rng: np.random.Generator, street: np.ndarray, horizon: int, leaves: np.ndarray
) -> None:
    crowns = (_clouds(rng, 60)[..., 0].mean(0) * 60 + horizon - 85).astype(int)
    rows = slice(0, horizon + 42)
    where = np.arange(horizon + 42)[:, None] > crowns
    texture = 0.55 * _clouds(rng, 10, rows) + 0.45 * _clouds(rng, 3, rows)
    street[rows][where] = (leaves * (0.4 + 1.2 * texture))[where]


def _paint_building(
    rng: np.random.Generator, street: np.ndarray, horizon: int, wall: np.ndarray
) -> None:
    left, width = rng.integers(0, SCENE[1] - 270), rng.integers(90, 260)
    facade = street[rng.integers(0, 60) : horizon + 42, left : left + width]
    facade[:] = wall + rng.normal(0, 28) + rng.normal(0, 4, 3)
    facade *= np.linspace(0.93, 1.05, len(facade), dtype=np.float32)[:, None, None]
    is_window_row = np.arange(len(facade)) % 22 < 9
    is_window_column = np.arange(width) % 26 < 12
    facade[is_window_row[:, None] & is_window_column] *= 0.62
    if rng.random() < 0.7:  # a dark gate
        door, breadth = rng.integers(0, width - 60), rng.integers(24, 60)
        facade[-rng.integers(50, 95) :, door : door + breadth] = rng.uniform(18, 60)


def _paint_clutter(rng: np.random.Generator, street: np.ndarray, horizon: int) -> None:
    """Add a box of a dull colour near the horizon, as a car, a sign or a stall."""
    left, top = rng.integers(0, SCENE[1] - 80), rng.integers(horizon - 6, horizon + 34)
    width, height = rng.integers(6, 70), rng.integers(8, 44)
    colour = rng.uniform(40, 190) + rng.normal(0, 7, 3)
    shade = np.linspace(1.06, 0.86, height, dtype=np.float32)[:, None, None]
    place = street[top : top + height, left : left + width]
    place[:] = (colour * shade[: len(place)]).astype(np.float32)


def _paint_parked(rng: np.random.Generator, street: np.ndarray, horizon: int) -> None:
    """Add a parked bicycle: two thin wheels and a frame."""
    left, bottom = int(rng.integers(40, SCENE[1] - 40)), int(horizon + rng.integers(46, 74))
    radius, colour = int(rng.integers(9, 13)), rng.uniform(30, 90)
    rows, columns = np.ogrid[-radius - 1 : radius + 2, -radius - 1 : radius + 2]
    is_tyre = np.abs(np.hypot(rows, columns) - radius) < 0.9
    for x in (left - int(1.5 * radius), left + int(1.5 * radius)):
        place = street[bottom - 2 * radius - 1 : bottom + 2, x - radius - 1 : x + radius + 2]
        place[is_tyre[-len(place) :, -place.shape[1] :]] = colour
    top = bottom - 2 * radius
    street[top : top + 2, left - radius : left + radius] = colour + 20
    street[top - radius // 2 : bottom - radius, left + radius : left + radius + 2] = colour + 20


def _paint_ground(
    rng: np.random.Generator, street: np.ndarray, horizon: int, colour: np.ndarray
) -> None:
    """Add paving in perspective, from 40 pixels below the horizon to the lower edge."""
    first = horizon + 40
    below = (np.arange(first, SCENE[0]) - horizon)[:, None].astype(np.float32)
    across = (np.arange(SCENE[1], dtype=np.float32) - SCENE[1] / 2) / below * 8
    is_joint = ((across * 0.35) % 1 < 0.07) | ((990 / below) % 1 < 0.09)
    speckle = rng.random((len(below), SCENE[1], 1), dtype=np.float32)
    paving = 0.84 + 0.26 * _clouds(rng, 40, slice(first, None)) + 0.08 * speckle
    paving[is_joint] *= 0.86
    street[first:] = paving * colour.astype(np.float32)
