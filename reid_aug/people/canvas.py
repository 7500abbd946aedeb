"""The canvas: which point of which figure is seen where.

It has twice the resolution of the picture. Points that face the camera are painted from far to
near, each over 3 x 3 canvas pixels, so that the nearest one is what remains. The canvas holds the
number of the point; colours and depths are looked up afterwards.
"""

from dataclasses import dataclass

import numpy as np

from reid_aug.people.camera import Camera

HEIGHT, WIDTH = 128, 64  # of a picture
SCALE = 2  # canvas pixels per picture pixel
BORDER = 4  # canvas pixels on each side that are thrown away


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A posed body: points, normals and colours (n, 3), joints (18, 3); the ground is z = 0."""

    points: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True, slots=True)
class Frame:
    """A box in the picture plane of a camera: centre, width and height as tangents."""

    x: float
    y: float
    width: float
    height: float

    def canvas(self, places: np.ndarray) -> np.ndarray:
        """Canvas pixels (n, 2) of places (n, 2) in the picture plane; a pixel is its floor."""
        corner = np.array([self.x - self.width / 2, self.y - self.height / 2])
        return (places - corner) * (WIDTH * SCALE / self.width, HEIGHT * SCALE / self.height)


class Canvas:
    """Figures seen through a frame of a camera, the later ones in front of the earlier."""

    def __init__(self, camera: Camera, distance: float, frame: Frame) -> None:
        self._camera, self._distance, self._frame = camera, distance, frame
        self._shape = (HEIGHT * SCALE + 2 * BORDER, WIDTH * SCALE + 2 * BORDER)
        self._index = np.zeros(self._shape[0] * self._shape[1], np.int32)
        self._colours = [np.zeros((1, 3), np.float32)]
        self._depths = [np.full(1, np.inf, np.float32)]
        self._count = 1

    @property
    def index(self) -> np.ndarray:
        """(256, 128) int32 number of the point at each pixel, 0 where there is none."""
        return self._index.reshape(self._shape)[BORDER:-BORDER, BORDER:-BORDER]

    def colours(self) -> np.ndarray:
        """(points, 3) float32 of 255, shaded; row 0 stands for no point."""
        return np.concatenate(self._colours)

    def depths(self) -> np.ndarray:
        """(points,) float32 metres, infinite for no point."""
        return np.concatenate(self._depths)

    def splat(self, figure: Figure) -> tuple[int, int]:
        """Draw a figure over what is there; the first index of its points and one past the last."""
        eye = np.array([0, -self._distance, self._camera.height], np.float32)
        away = np.einsum("ni,ni->n", figure.normals, figure.points - eye)
        front = np.flatnonzero(away < 0.15 * self._distance)
        places, depth = self._camera.project(figure.points[front], self._distance)
        order = np.argsort(-depth)
        first, last = self._count, self._count + len(order)
        self._stamp(self._frame.canvas(places[order]), first)
        rows = front[order]
        shade = _shade(figure.points[rows], figure.normals[rows], self._camera)
        self._colours.append((figure.colours[rows] * shade[:, None]).astype(np.float32))
        self._depths.append(depth[order].astype(np.float32))
        self._count = last
        return first, last

    def _stamp(self, places: np.ndarray, first: int) -> None:
        """Write point numbers over 3 x 3 pixels each; of two at one pixel the later one stays."""
        rows, columns = self._shape
        corner = np.floor(places + BORDER - 1).astype(np.int32)
        x, y = corner[:, 0].clip(0, columns - 3), corner[:, 1].clip(0, rows - 3)
        block = (np.arange(3)[:, None] * columns + np.arange(3)).ravel()
        pixels = (y * columns + x)[:, None] + block
        self._index[pixels.ravel()] = np.repeat(np.arange(first, first + len(x)), 9)


def _shade(points: np.ndarray, normals: np.ndarray, camera: Camera) -> np.ndarray:
    lit = np.clip(normals @ camera.sun.astype(np.float32), 0, 1)
    low = np.clip(0.86 + 0.14 * points[:, 2] / 1.2, 0.8, 1)  # less sky is seen from down there
    return (camera.ambient + (1.12 - camera.ambient) * lit) * low
