"""The canvas: which point of which figure is seen where.

It has twice the resolution of the picture. Points that face the camera are painted from far to
near, each over 3 x 3 canvas pixels (more in a close-up), so that the nearest one is what remains.
The canvas holds the number of the point; colours and depths are looked up afterwards. At last the
pinholes that no point has hit are closed.
"""

from dataclasses import dataclass

import numpy as np

from reid_aug.people.camera import Camera
from reid_aug.people.pose import Figure

HEIGHT, WIDTH = 128, 64  # of a picture
SCALE = 2  # canvas pixels per picture pixel
BORDER = 4  # canvas pixels on each side that are thrown away
ROWS, COLUMNS = HEIGHT * SCALE + 2 * BORDER, WIDTH * SCALE + 2 * BORDER
CLOSE_UP = 200  # canvas pixels per metre from which on a stamp needs more than 3 x 3 pixels
WIDEST = 4  # half of the largest stamp; the border has to hold it
PINHOLE = 0.03  # metres: a pixel this far behind those around it is a hole
GRAZING = 0.15  # points turned this far away (a sine) are drawn still: they close the outline


@dataclass(frozen=True, slots=True)
class Frame:
    """A box in the picture plane of a camera: centre, width and height as tangents."""

    x: float
    y: float
    width: float
    height: float

    def canvas(self, places: np.ndarray) -> np.ndarray:
        """Canvas pixels (2, n) of places (2, n) in the picture plane; a pixel is its floor."""
        corner = (self.x - self.width / 2, self.y - self.height / 2)
        scale = (WIDTH * SCALE / self.width, HEIGHT * SCALE / self.height)
        return np.stack([(places[axis] - corner[axis]) * scale[axis] for axis in (0, 1)])


class Canvas:
    """Figures seen through a frame of a camera, the later ones in front of the earlier."""

    def __init__(self, camera: Camera, distance: float, frame: Frame) -> None:
        self._camera, self._distance, self._frame = camera, distance, frame
        density = HEIGHT * SCALE / (frame.height * distance)
        self._half = min(1 + int(density / CLOSE_UP), WIDEST)
        self._index = np.zeros(ROWS * COLUMNS, np.int32)
        self._colours = [np.zeros((3, 1), np.float32)]
        self._depths = [np.full(1, np.inf, np.float32)]
        self._count = 1

    @property
    def index(self) -> np.ndarray:
        """(256, 128) int32 number of the point at each pixel, 0 where there is none."""
        return self._index.reshape(ROWS, COLUMNS)[BORDER:-BORDER, BORDER:-BORDER]

    def colours(self) -> np.ndarray:
        """(points, 3) float32 of 255, shaded; row 0 stands for no point."""
        return np.ascontiguousarray(np.concatenate(self._colours, axis=1).T)

    def depths(self) -> np.ndarray:
        """(points,) float32 metres, infinite for no point."""
        return np.concatenate(self._depths)

    def splat(self, figure: Figure) -> tuple[int, int]:
        """Draw a figure over what is there; the first index of its points and one past the last."""
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
        """Write point numbers over a square each; of two at one pixel the later one stays."""
        size = 2 * self._half + 1
        corner = (places + (BORDER - self._half)).astype(np.int32)
        x, y = corner[0].clip(0, COLUMNS - size), corner[1].clip(0, ROWS - size)
        steps = np.arange(size, dtype=np.int32)
        block = (steps[:, None] * COLUMNS + steps).ravel()
        pixels = (y * COLUMNS + x)[:, None] + block
        numbers = np.arange(first, first + len(x), dtype=np.int32)
        self._index[pixels.ravel()] = numbers.repeat(size**2)

    def close(self) -> None:
        """Fill pinholes: pixels behind both neighbours one way, and near ones the other way.

        A narrow gap between the legs is long, and stays.
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
    low = (0.86 + 0.14 / 1.2 * height).clip(0.8, 1)  # less sky is seen from down there
    return (camera.ambient + (1.12 - camera.ambient) * lit) * low
