"""The surface of a person: about 15,000 points on the skin, the hair, the clothes and the luggage.

The surface consists of points instead of triangles. At 128 x 64 pixels, a cloud of this density has
no holes, every point has its own colour, and rendering needs one sort and one array assignment.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from reid_aug.people.appearance import Appearance
from reid_aug.people.body import ARM, FOREARM, HAND, PIVOTS
from reid_aug.people.shapes import Shape

ARM_BONES = [*ARM, *FOREARM, *HAND]
DENSITY = 8500  # points per square metre; gaps are narrower than the stamp of a point


class Part(IntEnum):
    """The part of a person or its luggage to which a point belongs."""

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
    """Points on bones; every field has one row per point."""

    points: np.ndarray  # (n, 3) metres
    normals: np.ndarray  # (n, 3)
    along: np.ndarray  # (n,) see reid_aug.people.shapes
    around: np.ndarray  # (n,) see reid_aug.people.shapes
    part: np.ndarray  # (n,) Part
    bone: np.ndarray  # (n,) Bone
    other_bone: np.ndarray  # (n,) Bone; its weight is 1 - weight
    weight: np.ndarray  # (n,) weight of the bone, in [0, 1]

    def rows(self, which: np.ndarray) -> "Surface":
        """The points that ``which`` (a mask or an array of indices) selects."""
        return Surface(*(getattr(self, field.name)[which] for field in fields(self)))


def attach(
    shape: Shape,
    part: Part,
    bone: int,
    other_bone: int | None = None,
    weight: float | np.ndarray = 1.0,
) -> Surface:
    """A surface of a shape that follows one bone, or two bones with weights."""
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
    """Join surfaces into one; its points are sorted by their bones."""
    merged = [
        np.concatenate([getattr(piece, field.name) for piece in pieces])
        for field in fields(Surface)
    ]
    narrow = [c.astype(np.float32 if c.dtype.kind == "f" else np.int32) for c in merged]
    whole = Surface(*narrow)
    return whole.rows(np.lexsort((whole.other_bone, whole.bone)))


def pivots_of(appearance: Appearance) -> np.ndarray:
    """(15, 3) pivots of the bones; broad shoulders increase the distance between the arms."""
    pivots = PIVOTS.copy()
    pivots[ARM_BONES, 0] *= appearance.build.shoulders * (0.9 + 0.1 * appearance.build.girth)
    return pivots
