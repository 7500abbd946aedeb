"""Bodies in the rest pose and figures in a posture.

From here on, arrays have one column per point, (3, n) float32. Each coordinate of a point cloud is
contiguous in memory, which halves the time of every step.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reid_aug.people.anatomy import person
from reid_aug.people.appearance import Appearance
from reid_aug.people.body import Bone, Posture, joints, place_bones
from reid_aug.people.luggage import luggage
from reid_aug.people.paint import paint
from reid_aug.people.surface import Surface, merge, pivots_of


@dataclass(frozen=True, slots=True)
class Group:
    """The points from ``first`` to ``last`` (exclusive) that follow the same two bones."""

    bone: int
    other_bone: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The point cloud of an identity in the rest pose.

    The order of the points is: the person with bags, held objects, bicycle.
    """

    points: np.ndarray  # (3, n) metres
    normals: np.ndarray  # (3, n)
    colours: np.ndarray  # (3, n) in [0, 255]
    weight: np.ndarray  # (n,) weight of the bone of the group, in [0, 1]
    groups: tuple[Group, ...]
    own: int  # number of points of the person with bags
    bicycle: int  # index of the first point of the bicycle
    pivots: np.ndarray  # (15, 3) metres
    height: float  # factor of the size


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A body in a posture; the ground is z = 0."""

    points: np.ndarray  # (3, n) metres
    normals: np.ndarray  # (3, n)
    colours: np.ndarray  # (3, n) in [0, 255]
    joints: np.ndarray  # (3, 18) metres
    own: int  # number of points of the person with bags; held objects and bicycle follow


def make_body(appearance: Appearance) -> Body:
    """The body of an identity; computing it is slow, so callers reuse it for all its images."""
    surface = merge([*person(appearance), *luggage(appearance)])
    return Body(
        points=np.ascontiguousarray(surface.points.T),
        normals=np.ascontiguousarray(surface.normals.T),
        colours=np.ascontiguousarray(paint(surface, appearance).T),
        weight=surface.weight,
        groups=_groups(surface),
        own=int(np.searchsorted(surface.bone, Bone.RIGHT_HELD)),
        bicycle=int(np.searchsorted(surface.bone, Bone.BICYCLE)),
        pivots=pivots_of(appearance),
        height=appearance.build.height,
    )


def _groups(surface: Surface) -> tuple[Group, ...]:
    pairs = surface.bone * len(Bone) + surface.other_bone
    edges = np.flatnonzero(np.diff(pairs, prepend=-1, append=-1)).tolist()
    return tuple(
        Group(int(surface.bone[first]), int(surface.other_bone[first]), first, last)
        for first, last in pairwise(edges)
    )


def pose(body: Body, yaw: float, posture: Posture) -> Figure:
    """The body in a posture on the ground; ``yaw`` is in radians, 0 towards the camera."""
    rotations, shifts = place_bones(posture, yaw, body.pivots)
    turn, shift = rotations.astype(np.float32), shifts.astype(np.float32)[..., None]
    points, normals = np.empty_like(body.points), np.empty_like(body.normals)
    for group in body.groups:
        rows, bone, other = np.s_[:, group.first : group.last], group.bone, group.other_bone
        points[rows] = turn[bone] @ body.points[rows] + shift[bone]
        normals[rows] = turn[bone] @ body.normals[rows]
        if other != bone:
            elsewhere = turn[other] @ body.points[rows] + shift[other]
            weight = body.weight[group.first : group.last]
            points[rows] += (1 - weight) * (elsewhere - points[rows])
    places = joints(rotations, shifts, body.pivots).T
    lowest = _ground(body, points, posture.rides)
    scale = np.float32(body.height)
    points[2] -= lowest
    places[2] -= lowest
    return Figure(points * scale, normals, body.colours, places * scale, body.own)


def _ground(body: Body, points: np.ndarray, rides: bool) -> float:
    """The height of the ground; moves a pushed bicycle onto the ground of its person."""
    wheels = points[2, body.bicycle :]
    if rides and wheels.size:
        return float(wheels.min())
    lowest = float(points[2, : body.own].min())
    if wheels.size:
        wheels += lowest - wheels.min()
    return lowest
