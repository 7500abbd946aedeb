"""The surface of a person: some 15,000 points on the skin, the hair, the clothes and the luggage.

Points instead of triangles: at 128 x 64 pixels a cloud this dense has no holes, every point carries
its own colour, and drawing it takes a sort and one array assignment.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from reid_aug.people.body import ARM, FOREARM, HAND, PIVOTS
from reid_aug.people.look import Appearance
from reid_aug.people.shapes import Shape

ARM_BONES = [*ARM, *FOREARM, *HAND]
DENSITY = 8500  # points per square metre: no gap is wider than the stamp of a point


class Part(IntEnum):
    """What a point lies on."""

    TORSO = 0
    NECK = 1
    HEAD = 2
    ARM = 3
    FOREARM = 4
    HAND = 5
    THIGH = 6
    SHANK = 7
    FOOT = 8
    SKIRT = 9
    HAIR = 10
    PACK = 11
    BAG = 12
    HELD = 13
    METAL = 14
    RUBBER = 15


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """The points of a whole person; every field has one row a point.

    A point follows ``bone`` by its ``weight`` in [0, 1] and ``other_bone`` for the rest.
    """

    points: np.ndarray
    normals: np.ndarray
    along: np.ndarray
    around: np.ndarray
    part: np.ndarray
    bone: np.ndarray
    other_bone: np.ndarray
    weight: np.ndarray

    def rows(self, which: np.ndarray) -> "Surface":
        """The points that ``which`` (a mask or an order) selects."""
        return Surface(*(getattr(self, field.name)[which] for field in fields(self)))


def attach(
    shape: Shape,
    part: Part,
    bone: int,
    other_bone: int | None = None,
    weight: float | np.ndarray = 1.0,
) -> Surface:
    """A shape on a bone, or between two."""
    count = len(shape.points)
    return Surface(
        points=shape.points,
        normals=shape.normals,
        along=shape.along,
        around=shape.around,
        part=np.full(count, part),
        bone=np.full(count, bone),
        other_bone=np.full(count, bone if other_bone is None else other_bone),
        weight=np.broadcast_to(weight, count),
    )


def merge(pieces: list[Surface]) -> Surface:
    """One surface of many, sorted by the bones that move its points."""
    merged = [
        np.concatenate([getattr(piece, field.name) for piece in pieces])
        for field in fields(Surface)
    ]
    narrow = [c.astype(np.float32 if c.dtype.kind == "f" else np.int32) for c in merged]
    whole = Surface(*narrow)
    return whole.rows(np.lexsort((whole.other_bone, whole.bone)))


def pivots_of(look: Appearance) -> np.ndarray:
    """(15, 3) pivots of the bones: broad shoulders hold the arms further out."""
    pivots = PIVOTS.copy()
    pivots[ARM_BONES, 0] *= look.build.shoulders * (0.9 + 0.1 * look.build.girth)
    return pivots
