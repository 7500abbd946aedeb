"""Point clouds of simple shapes: tubes, ellipsoids, boxes, rods and rings.

A low-discrepancy sequence distributes the points, so the cover of a shape is even and
deterministic. ``along`` is 0 at the upper end of a shape and 1 at its lower end. ``around`` is the
angle about the axis of the shape in radians, 0 in front and pi/2 on the person's left. Lengths are
in metres.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Points (n, 3) with unit normals (n, 3), ``along`` and ``around`` (n,)."""

    points: np.ndarray
    normals: np.ndarray
    along: np.ndarray
    around: np.ndarray


def spread(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly distributed ``along`` (count,) in [0, 1) and ``around`` (count,) in [-pi, pi)."""
    steps = np.arange(1, count + 1)  # Roberts' R2 sequence
    along, around = (steps * 0.7548776662466927) % 1, (steps * 0.5698402909980532) % 1
    return along, (around * 2 - 1) * np.pi


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, 3) scaled to length 1."""
    result: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


def columns(*values: np.ndarray | float) -> np.ndarray:
    """Stack columns to (n, columns) float64; a column is (n,) or a single number."""
    return np.stack(np.broadcast_arrays(*values), axis=1).astype(float)


def tube(
    count: int,
    top: np.ndarray,
    end: np.ndarray,
    radii: tuple[float, float],
    bulge: float = 0.0,
    tuck: float = 0.0,
) -> Shape:
    """A tapered tube.

    Args:
        count: Number of points.
        top: (3,) centre of the upper end.
        end: (3,) centre of the lower end.
        radii: At the upper and the lower end.
        bulge: Thickening of the upper part, as of a calf, in metres.
        tuck: Narrowing of the upper end, as a share of the radius.
    """
    along, around = spread(count)
    radius = radii[0] + (radii[1] - radii[0]) * along
    radius += bulge * np.sin(np.pi * np.clip(along * 1.4, 0, 1))
    radius *= 1 - tuck * np.clip(1 - along / 0.25, 0, 1)
    outwards = columns(np.sin(around), -np.cos(around), 0.0)
    points = top + (end - top) * along[:, None] + outwards * radius[:, None]
    return Shape(points, outwards, along, around)


def ellipsoid(count: int, centre: np.ndarray, radii: np.ndarray) -> Shape:
    """An ellipsoid with vertical poles; ``radii`` is (3,)."""
    along, around = spread(count)
    height = 1 - along * 2
    ring = np.sqrt(1 - height**2)
    outwards = columns(np.sin(around) * ring, -np.cos(around) * ring, height)
    return Shape(centre + outwards * radii, unit(outwards / radii), along, around)


def box(count: int, centre: np.ndarray, half: np.ndarray) -> Shape:
    """A box with rounded corners; ``half`` is (3,) half the edge lengths.

    The number of points of a face is proportional to its area.
    """
    along, around = spread(count)
    places = np.stack([along * 2 - 1, around / np.pi], axis=1)
    areas = np.repeat(half.prod() / half, 2)
    face = np.searchsorted(np.cumsum(areas) / areas.sum(), (np.arange(count) + 0.5) / count)
    axis, sign, rows = face // 2, 1.0 - 2 * (face % 2), np.arange(count)
    cube, normals = np.zeros((count, 3)), np.zeros((count, 3))
    cube[rows, axis] = normals[rows, axis] = sign
    cube[rows, (axis + 1) % 3], cube[rows, (axis + 2) % 3] = places.T
    corner = (
        np.abs(cube).sum(axis=1, keepdims=True) - 1
    ) / 2  # 0 in the middle of a face, 1 in a corner
    points = centre + cube * half * (1 - 0.10 * corner)
    return Shape(points, normals, (1 - cube[:, 2]) / 2, np.arctan2(cube[:, 0], -cube[:, 1]))


def rod(count: int, start: np.ndarray, end: np.ndarray, radius: float) -> Shape:
    """A thin straight tube in any direction."""
    along, around = spread(count)
    axis = (end - start) / np.linalg.norm(end - start)
    across = np.cross(axis, (0.3, 0.5, 0.8))
    across /= np.linalg.norm(across)
    outwards = np.cos(around)[:, None] * across + np.sin(around)[:, None] * np.cross(axis, across)
    points = start + (end - start) * along[:, None] + outwards * radius
    return Shape(points, outwards, along, around)


def ring(count: int, centre: np.ndarray, radius: float, thickness: float) -> Shape:
    """A torus around the x axis, as a tyre; ``thickness`` is the radius of its tube."""
    along, around = spread(count)
    turn = along * 2 * np.pi
    spokewise = columns(0.0, np.cos(turn), np.sin(turn))
    outwards = np.cos(around)[:, None] * spokewise + columns(np.sin(around), 0.0, 0.0)
    return Shape(centre + spokewise * radius + outwards * thickness, outwards, along, around)
