"""The surface of a person: some 20,000 points on the skin, the hair, the clothes and the bags.

Points instead of triangles: at 128 x 64 pixels a cloud this dense has no holes, every point carries
its own colour, and drawing it takes a sort and one array assignment.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from reid_aug.people.body import ARM, FOOT, FOREARM, HAND, PIVOTS, SHANK, THIGH, Bone
from reid_aug.people.look import Look
from reid_aug.people.shapes import Shape, box, columns, ellipsoid, spread, tube, unit

WAIST = 1.02  # where skirts and coats widen, metres
ARM_BONES = [*ARM, *FOREARM, *HAND]

# Height, half width and half depth of the torso, metres.
TORSO_PROFILE = np.array([
    [0.84, 0.128, 0.095], [0.90, 0.148, 0.106], [0.96, 0.146, 0.106], [1.08, 0.122, 0.090],
    [1.20, 0.132, 0.096], [1.30, 0.150, 0.106], [1.36, 0.156, 0.096], [1.40, 0.142, 0.082],
    [1.43, 0.105, 0.066], [1.455, 0.070, 0.058], [1.48, 0.052, 0.054],
])  # fmt: skip


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


def pivots_of(look: Look) -> np.ndarray:
    """(15, 3) pivots of the bones: broad shoulders hold the arms further out."""
    pivots = PIVOTS.copy()
    pivots[ARM_BONES, 0] *= look.build.shoulders * (0.94 + 0.06 * look.build.girth)
    return pivots


def make_surface(look: Look) -> Surface:
    """The surface of an identity in the rest pose, sorted by bone."""
    pieces = [_torso(look), *_head(look), *_hair(look), *_luggage(look)]
    pivots = pivots_of(look)
    for side in (0, 1):
        pieces += [*_arm(look, pivots, side), *_leg(look, pivots, side)]
    if look.clothes.skirt:
        pieces.append(_skirt(look))
    merged = [
        np.concatenate([getattr(piece, field.name) for piece in pieces])
        for field in fields(Surface)
    ]
    narrow = [c.astype(np.float32 if c.dtype.kind == "f" else np.int32) for c in merged]
    whole = Surface(*narrow)
    return whole.rows(np.argsort(whole.bone, kind="stable"))


def _attach(
    shape: Shape,
    part: Part,
    bone: int | np.ndarray,
    other_bone: int | None = None,
    weight: float | np.ndarray = 1.0,
) -> Surface:
    count = len(shape.points)
    other = bone if other_bone is None else other_bone
    return Surface(
        points=shape.points,
        normals=shape.normals,
        along=shape.along,
        around=shape.around,
        part=np.full(count, part),
        bone=np.broadcast_to(bone, count),
        other_bone=np.broadcast_to(other, count),
        weight=np.broadcast_to(weight, count),
    )


def _torso(look: Look) -> Surface:
    build, clothes = look.build, look.clothes
    along, around = spread(4200)
    height = 1.48 - 0.64 * along
    width, depth = (np.interp(height, TORSO_PROFILE[:, 0], TORSO_PROFILE[:, k]) for k in (1, 2))
    width = width * (1 + (build.shoulders - 1) * np.clip((height - 1.1) / 0.2, 0, 1))
    width = width * (1 + (build.hips - 1) * np.clip((1.1 - height) / 0.15, 0, 1))
    front, sideways = np.cos(around), np.sin(around)
    swell = build.belly * np.exp(-(((height - 1.08) / 0.13) ** 2))
    swell += build.bust * np.exp(-(((height - 1.27) / 0.06) ** 2)) * (front > 0)
    loose = 1 + (clothes.top_looseness - 1) * 0.55 * np.clip((1.42 - height) / 0.2, 0, 1)
    loose *= 1 + 0.10 * np.clip((1.06 - height) / 0.1, 0, 1) * (height > clothes.hem)
    squareness = (sideways**4 + front**4) ** -0.08
    points = columns(
        sideways * width * build.girth * squareness * loose,
        0.01 - front * (depth * build.girth * squareness + swell) * loose,
        height,
    )
    rise = np.interp(height, (1.34, 1.42), (0.0, 8.0))  # the shoulders look up into the light
    normals = unit(columns(sideways / width, -front / depth, rise))
    shape = Shape(points, normals, along, around)
    return _attach(shape, Part.TORSO, Bone.CHEST, Bone.PELVIS, np.clip((height - 1.0) / 0.2, 0, 1))


def _head(look: Look) -> list[Surface]:
    neck = tube(220, np.array([0, 0, 1.55]), np.array([0, 0.015, 1.43]), (0.050, 0.050))
    skull = ellipsoid(1000, np.array([0, -0.005, 1.60]), np.array([0.070, 0.090, 0.108]))
    return [_attach(neck, Part.NECK, Bone.HEAD), _attach(skull, Part.HEAD, Bone.HEAD)]


def _hair(look: Look) -> list[Surface]:
    hair = look.hair
    if hair.length < 0:
        return []
    radii = np.array([0.078, 0.099, 0.113]) * (1 + 0.08 * hair.volume)
    cap = ellipsoid(1100, np.array([0, 0.004, 1.610]), radii)
    forwards, upwards = -cap.normals[:, 1], cap.normals[:, 2]
    is_face = (forwards > (0.05 if hair.length else 0.30)) & (upwards < 0.42)
    keep = ~is_face & (upwards > -0.55)
    cap = Shape(cap.points[keep], cap.normals[keep], cap.along[keep], cap.around[keep])
    pieces = [_attach(cap, Part.HAIR, Bone.HEAD)]
    if hair.length:
        pieces.append(_long_hair(hair.length, hair.is_tied))
    return pieces


def _long_hair(length: float, is_tied: bool) -> Surface:
    """Hair down the neck: a curtain about the back of the head, or a pony tail."""
    along, around = spread(900)
    angle = around / 2 * (0.35 if is_tied else 1.15)  # 0 at the back
    radius = 0.045 * (1 - 0.3 * along) if is_tied else 0.080 * (1 + 0.18 * along)
    outwards = columns(np.sin(angle), np.cos(angle) * (1 if is_tied else 1.15), 0.0)
    axis = columns(0.0, (0.105 if is_tied else 0.0) + 0.03 * along, 1.61 - along * length)
    points = axis + outwards * radius[:, None]
    shape = Shape(points, unit(outwards), along, np.pi - angle)
    return _attach(shape, Part.HAIR, Bone.HEAD, Bone.CHEST, np.clip(1.1 - along, 0, 1))


def _arm(look: Look, pivots: np.ndarray, side: int) -> list[Surface]:
    girth, sleeve = look.build.girth, look.clothes.sleeve
    loose = look.clothes.top_looseness
    shoulder, elbow, wrist = (pivots[bones[side]] for bones in (ARM, FOREARM, HAND))
    outwards = (-1, 1)[side]

    def width(bare: float, covered_from: float) -> float:
        return bare * girth * (loose if sleeve > covered_from else 1)

    upper = (0.048 * girth * (1 + (loose - 1) * 0.6), width(0.041, 0.9))
    cap = ellipsoid(
        300,
        shoulder + np.array([-outwards * 0.016, 0, -0.030]),
        np.array([0.058, 0.054, 0.058]) * (0.85 + 0.15 * girth) * (1 + (loose - 1) * 0.3),
    )
    lower = (width(0.042, 1.2), width(0.029, 1.8))
    hand = ellipsoid(180, wrist + np.array([0, -0.005, -0.075]), np.array([0.022, 0.042, 0.085]))
    joint = ellipsoid(120, elbow, np.full(3, 0.042 * girth))
    start = shoulder + np.array([-outwards * 0.004, 0, -0.020])
    return [
        _attach(cap, Part.ARM, ARM[side], Bone.CHEST, 0.5),
        _attach(tube(800, start, elbow, upper), Part.ARM, ARM[side]),
        _attach(joint, Part.ARM if sleeve > 0.6 else Part.FOREARM, FOREARM[side], ARM[side], 0.5),
        _attach(tube(640, elbow, wrist, lower), Part.FOREARM, FOREARM[side]),
        _attach(hand, Part.HAND, HAND[side]),
    ]


def _leg(look: Look, pivots: np.ndarray, side: int) -> list[Surface]:
    girth, leg, loose = look.build.girth, look.clothes.leg, look.clothes.bottom_looseness
    hip, knee, ankle = (pivots[bones[side]] for bones in (THIGH, SHANK, FOOT))

    def width(bare: float, covered_from: float, factor: float = loose) -> float:
        return bare * girth * (factor if leg > covered_from else 1)

    upper = (0.082 * girth * (1 + (loose - 1) * 0.5), width(0.056, 0.9))
    lower = (width(0.056, 1.2), width(0.038, 1.7, loose * 1.1))
    thigh = tube(1700, hip + np.array([0, 0.005, 0.02]), knee, upper)
    shank = tube(1200, knee, ankle, lower, bulge=0.014 * girth)
    joint = ellipsoid(220, knee, np.full(3, 0.058 * girth))
    shoe = ellipsoid(360, ankle + np.array([0, -0.065, -0.045]), np.array([0.046, 0.135, 0.045]))
    heel = ellipsoid(120, ankle + np.array([0, 0.01, -0.02]), np.array([0.042, 0.055, 0.06]))
    follows = np.clip(0.35 + thigh.along * 4, 0, 1)
    return [
        _attach(thigh, Part.THIGH, THIGH[side], Bone.PELVIS, follows),
        _attach(joint, Part.THIGH if leg > 0.9 else Part.SHANK, SHANK[side], THIGH[side], 0.5),
        _attach(shank, Part.SHANK, SHANK[side]),
        _attach(shoe, Part.FOOT, FOOT[side]),
        _attach(heel, Part.FOOT, FOOT[side]),
    ]


def _skirt(look: Look) -> Surface:
    """A flaring skirt; its lower sides swing with the legs."""
    clothes = look.clothes
    along, around = spread(4600)
    radius = (0.142 + clothes.flare * along) * look.build.girth
    radius *= 1 + 0.05 * np.sin(around * 9) * along
    outwards = columns(np.sin(around), -np.cos(around) * 0.78, 0.0)
    points = outwards * radius[:, None] + columns(0.0, 0.0, WAIST - along * clothes.skirt)
    leg = np.where(np.sin(around) > 0, THIGH[1], THIGH[0])
    follows = np.clip(along * 0.9, 0, 0.75) * np.sqrt(np.abs(np.sin(around)))
    return _attach(
        Shape(points, unit(outwards), along, around), Part.SKIRT, leg, Bone.PELVIS, follows
    )


def _luggage(look: Look) -> list[Surface]:
    clothes, side = look.clothes, look.clothes.bag_side
    pieces = []
    if clothes.pack:
        half = np.array([0.15, 0.085, 0.20]) * clothes.pack
        pack = box(4200, np.array([0, 0.19 + 0.02 * clothes.pack, 1.24]), half)
        pieces.append(_attach(pack, Part.PACK, Bone.CHEST))
    if clothes.bag == "shoulder":
        centre = np.array([side * 0.215 * look.build.girth, 0.02, 0.93])
        bag = box(1600, centre, np.array([0.05, 0.14, 0.11]))
        pieces.append(_attach(bag, Part.BAG, Bone.PELVIS))
    if clothes.bag == "hand":
        bag = box(1600, np.array([side * 0.20, 0, 0.62]), np.array([0.05, 0.13, 0.13]))
        pieces.append(_attach(bag, Part.BAG, HAND[side > 0]))
    return pieces
