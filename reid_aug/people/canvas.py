"""The canvas: which point of which figure is visible at which pixel.

The canvas has twice the resolution of the image. Points that face the camera are written from far
to near, each over 3 x 3 canvas pixels (more in a close-up), so the nearest point remains. The
canvas stores the index of the point; colours and depths are read by this index afterwards. The
last step closes pinholes, which are pixels that no point has covered.
"""

from dataclasses import dataclass

import numpy as np

from reid_aug.people.camera import Camera
from reid_aug.people.pose import Figure

HEIGHT, WIDTH = 128, 64  # of an image, pixels
CANVAS_SCALE = 2  # canvas pixels per image pixel, in each direction
CANVAS_BORDER = 4  # canvas pixels per side that are discarded
ROWS, COLUMNS = HEIGHT * CANVAS_SCALE + 2 * CANVAS_BORDER, WIDTH * CANVAS_SCALE + 2 * CANVAS_BORDER
CLOSE_UP = 200  # canvas pixels per metre above which a stamp has more than 3 x 3 pixels
WIDEST = 4  # half the size of the largest stamp; must not exceed CANVAS_BORDER
PINHOLE = 0.03  # metres; a pixel this far behind its neighbours is a hole
GRAZING = 0.15  # points turned away up to this sine are kept: they close the outline


@dataclass(frozen=True, slots=True)
class Frame:
    """A box in the image plane of a camera: centre, width and height as tangents."""

    x: float
    y: float
    width: float
    height: float

    def canvas(self, places: np.ndarray) -> np.ndarray:
        """Convert places (2, n) in the image plane to canvas pixels (2, n), not rounded."""
        corner = (self.x - self.width / 2, self.y - self.height / 2)
        scale = (WIDTH * CANVAS_SCALE / self.width, HEIGHT * CANVAS_SCALE / self.height)
        return np.stack([(places[axis] - corner[axis]) * scale[axis] for axis in (0, 1)])


class Canvas:
    """The figures within a frame of a camera; a later figure covers the earlier ones."""

    def __init__(self, camera: Camera, distance: float, frame: Frame) -> None:
        self._camera, self._distance, self._frame = camera, distance, frame
        density = HEIGHT * CANVAS_SCALE / (frame.height * distance)
        self._half = min(1 + int(density / CLOSE_UP), WIDEST)
        self._index = np.zeros(ROWS * COLUMNS, np.int32)
        self._colours = [np.zeros((3, 1), np.float32)]
        self._depths = [np.full(1, np.inf, np.float32)]
        self._count = 1

    @property
    def index(self) -> np.ndarray:
        """(256, 128) int32 index of the point at each pixel; 0 where there is no point."""
        return self._index.reshape(ROWS, COLUMNS)[
            CANVAS_BORDER:-CANVAS_BORDER, CANVAS_BORDER:-CANVAS_BORDER
        ]

    def colours(self) -> np.ndarray:
        """(points, 3) float32 shaded colours in [0, 255]; row 0 stands for no point."""
        return np.ascontiguousarray(np.concatenate(self._colours, axis=1).T)

    def depths(self) -> np.ndarray:
        """(points,) float32 depths in metres; infinity in row 0, which stands for no point."""
        return np.concatenate(self._depths)

    def splat(self, figure: Figure) -> tuple[int, int]:
        """Add a figure in front; returns the first index of its points and the last index + 1."""
        eye = (0.0, -self._distance, self._camera.height)
        normals, points = figure.normals, figure.points
        away = sum(normals[axis] * (points[axis] - eye[axis]) for axis in range(3))
        front = np.flatnonzero(away < GRAZING * self._distance)
        places, depth = self._camera.project(points.take(front, axis=1), self._distance)
        order = np.argsort(-depth)
        first, last = self._count, self._count + len(order)
        self._stamp(self._frame.canvas(places).take(order, axis=1), first)
        rows = front[order]
        shade = _shade(points[2, rows], normals.take(rows, axis=1), self._camera)
        self._colours.append(figure.colours.take(rows, axis=1) * shade)
        self._depths.append(depth[order])
        self._count = last
        return first, last

    def _stamp(self, places: np.ndarray, first: int) -> None:
        """Write each point index over a square of pixels; later indices overwrite earlier ones."""
        size = 2 * self._half + 1
        corner = (places + (CANVAS_BORDER - self._half)).astype(np.int32)
        x, y = corner[0].clip(0, COLUMNS - size), corner[1].clip(0, ROWS - size)
        steps = np.arange(size, dtype=np.int32)
        block = (steps[:, None] * COLUMNS + steps).ravel()
        pixels = (y * COLUMNS + x)[:, None] + block
        numbers = np.arange(first, first + len(x), dtype=np.int32)
        self._index[pixels.ravel()] = numbers.repeat(size**2)

    def close(self) -> None:
        """Fill pinholes.

        A pinhole lies behind both adjacent pixels in one direction, and behind both pixels at
        distance 2 in the other direction.

        A narrow gap between the legs is long in one direction, so it is not filled.
        """
        depths = self.depths()
        for view in (self.index, self.index.T):
            depth = depths.take(view)
            aside = np.maximum(depth[2:-2, :-2], depth[2:-2, 2:])
            along = np.maximum(depth[:-4, 1:-1], depth[4:, 1:-1])
            hole = depth[2:-2, 1:-1] > np.maximum(aside, along) + PINHOLE
            view[2:-2, 1:-1][hole] = view[2:-2, :-2][hole]


def _shade(height: np.ndarray, normals: np.ndarray, camera: Camera) -> np.ndarray:
    lit = (camera.sun.astype(np.float32) @ normals).clip(0, 1)
    low = (0.86 + 0.14 / 1.2 * height).clip(0.8, 1)  # less light from the sky reaches low points
    result: np.ndarray = (camera.ambient + (1.12 - camera.ambient) * lit) * low
    return result
