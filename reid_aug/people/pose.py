"""Bodies: an identity made ready for drawing, and bent into a posture.

Here and in all that follows arrays have one column a point, (3, n) float32: the coordinates of a
cloud lie together, which halves the time of every step.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reid_aug.people.anatomy import person
from reid_aug.people.body import Bone, Posture, joints, place_bones
from reid_aug.people.look import Appearance
from reid_aug.people.luggage import luggage
from reid_aug.people.paint import paint
from reid_aug.people.surface import Surface, merge, pivots_of


@dataclass(frozen=True, slots=True)
class Group:
    """The points from ``first`` to ``last`` that hang between the same two bones."""

    bone: int
    other_bone: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """An identity made ready for drawing: points, normals and colours (3, n), weight (n,).

    Things in a hand and a bicycle come last, from ``own`` and from ``bicycle`` on.
    """

    points: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    weight: np.ndarray
    groups: tuple[Group, ...]
    own: int
    bicycle: int
    pivots: np.ndarray
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A posed body: points, normals and colours (3, n), joints (3, 18); the ground is z = 0.

    Points before ``own`` are the person with bags, those after it what is held or ridden.
    """

    points: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    joints: np.ndarray
    own: int


def make_body(look: Appearance) -> Body:
    """The body of an identity: the costly part, worth keeping between its pictures."""
    surface = merge([*person(look), *luggage(look)])
    return Body(
        points=np.ascontiguousarray(surface.points.T),
        normals=np.ascontiguousarray(surface.normals.T),
        colours=np.ascontiguousarray(paint(surface, look).T),
        weight=surface.weight,
        groups=_groups(surface),
        own=int(np.searchsorted(surface.bone, Bone.RIGHT_HELD)),
        bicycle=int(np.searchsorted(surface.bone, Bone.BICYCLE)),
        pivots=pivots_of(look),
        height=look.build.height,
    )


def _groups(surface: Surface) -> tuple[Group, ...]:
    pairs = surface.bone * len(Bone) + surface.other_bone
    edges = np.flatnonzero(np.diff(pairs, prepend=-1, append=-1)).tolist()
    return tuple(
        Group(int(surface.bone[first]), int(surface.other_bone[first]), first, last)
        for first, last in pairwise(edges)
    )


def pose(body: Body, yaw: float, posture: Posture) -> Figure:
    """Bend the body into a posture and set it on the ground."""
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
    """The height of the ground; a bicycle without a rider is moved to where its person stands."""
    wheels = points[2, body.bicycle :]
    if rides and wheels.size:
        return float(wheels.min())
    lowest = float(points[2, : body.own].min())
    if wheels.size:
        wheels += lowest - wheels.min()
    return lowest
