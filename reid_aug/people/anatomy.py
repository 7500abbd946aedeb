"""The clothed trunk, head, hair and limbs of a person, and a skirt, all in the rest pose."""

import numpy as np

from reid_aug.people.appearance import Appearance, Build
from reid_aug.people.body import ARM, FOOT, FOREARM, HAND, SHANK, THIGH, Bone
from reid_aug.people.shapes import Shape, columns, ellipsoid, spread, tube, unit
from reid_aug.people.surface import DENSITY, Part, Surface, attach, pivots_of

WAIST = 1.02  # height from which skirts and coats widen, metres
HEAD_BASE = 1.50  # height that stays fixed when the head is scaled, metres
FORWARDS = np.array([0.0, -0.035, 0.0])  # offset of the head from the middle of the neck
SLACK = 0.026  # gap between a skirt and the hips, metres

# Height, half width and half depth of the torso, metres.
TORSO_PROFILE = np.array([
    [0.82, 0.110, 0.090], [0.87, 0.146, 0.106], [0.93, 0.148, 0.108], [1.06, 0.124, 0.092],
    [1.18, 0.132, 0.098], [1.28, 0.150, 0.108], [1.34, 0.152, 0.100], [1.38, 0.136, 0.086],
    [1.41, 0.106, 0.070], [1.435, 0.076, 0.060], [1.46, 0.057, 0.055], [1.48, 0.050, 0.052],
])  # fmt: skip


def person(appearance: Appearance) -> list[Surface]:
    """The surfaces of a person without luggage."""
    pieces = [_torso(appearance), *_head(appearance), *_hair(appearance)]
    pivots = pivots_of(appearance)
    for side in (0, 1):
        pieces += [*_arm(appearance, pivots, side), *_leg(appearance, pivots, side)]
    if appearance.clothes.skirt:
        pieces.append(_skirt(appearance))
    return pieces


def _girth(build: Build, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half width and half depth of the bare torso at each height."""
    width, depth = (np.interp(height, TORSO_PROFILE[:, 0], TORSO_PROFILE[:, k]) for k in (1, 2))
    width = width * (1 + (build.shoulders - 1) * np.clip((height - 1.1) / 0.2, 0, 1))
    width = width * (1 + (build.hips - 1) * np.clip((1.1 - height) / 0.15, 0, 1))
    return width * build.girth, depth * build.girth


def _torso(appearance: Appearance) -> Surface:
    build, clothes = appearance.build, appearance.clothes
    along, around = spread(4200)
    height = 1.48 - 0.66 * along
    width, depth = _girth(build, height)
    front, sideways = np.cos(around), np.sin(around)
    swell = build.belly * np.exp(-(((height - 1.06) / 0.13) ** 2)) * (0.3 + 0.7 * (front > 0))
    swell += build.bust * np.exp(-(((height - 1.26) / 0.06) ** 2)) * (front > 0)
    loose = 1 + (clothes.top_looseness - 1) * 0.55 * np.clip((1.40 - height) / 0.2, 0, 1)
    loose *= 1 + 0.08 * np.clip((1.04 - height) / 0.1, 0, 1) * (height > clothes.hem)
    squareness = (sideways**4 + front**4) ** -0.07
    points = columns(
        sideways * width * squareness * loose,
        0.01 - front * (depth * squareness + swell) * loose,
        height,
    )
    rise = np.interp(height, (1.32, 1.42), (0.0, 8.0))  # normals of the shoulders point up
    normals = unit(columns(sideways / width, -front / depth, rise))
    shape = Shape(points, normals, along, around)
    return attach(shape, Part.TORSO, Bone.CHEST, Bone.PELVIS, np.clip((height - 1.0) / 0.2, 0, 1))


def _on_head(appearance: Appearance, shape: Shape, part: Part) -> Surface:
    """A shape on the head, scaled to the size of that head."""
    base = np.array([0, 0, HEAD_BASE])
    points = base + (shape.points - base) * appearance.build.head + FORWARDS
    return attach(Shape(points, shape.normals, shape.along, shape.around), part, Bone.HEAD)


def _head(appearance: Appearance) -> list[Surface]:
    neck = tube(240, np.array([0, -0.02, 1.55]), np.array([0, 0.015, 1.42]), (0.048, 0.054))
    skull = ellipsoid(800, np.array([0, -0.005, 1.615]), np.array([0.068, 0.088, 0.092]))
    jaw = ellipsoid(340, np.array([0, -0.022, 1.565]), np.array([0.054, 0.066, 0.068]))
    ears = [
        ellipsoid(50, np.array([side * 0.068, 0.008, 1.60]), np.array([0.010, 0.020, 0.030]))
        for side in (-1, 1)
    ]
    skin = [_on_head(appearance, shape, Part.HEAD) for shape in (skull, jaw, *ears)]
    return [attach(neck, Part.NECK, Bone.HEAD, Bone.CHEST, 1 - neck.along), *skin]


def _hair(appearance: Appearance) -> list[Surface]:
    hair = appearance.hair
    if hair.length < 0:
        return []
    radii = np.array([0.077, 0.097, 0.102]) * (1 + 0.08 * hair.volume)
    cap = ellipsoid(1000, np.array([0, 0.004, 1.618]), radii)
    forwards, upwards = -cap.normals[:, 1], cap.normals[:, 2]
    is_face = (forwards > (0.05 if hair.length else 0.25)) & (upwards < 0.45)
    is_over_ear = (np.abs(forwards) < 0.4) & (upwards < 0.05) & (hair.length == 0)
    keep = ~is_face & ~is_over_ear & (upwards > -0.55)
    cap = Shape(cap.points[keep], cap.normals[keep], cap.along[keep], cap.around[keep])
    pieces = [_on_head(appearance, cap, Part.HAIR)]
    if hair.length:
        pieces.append(_long_hair(hair.length, hair.is_tied))
    return pieces


def _long_hair(length: float, is_tied: bool) -> Surface:
    """Hair below the head: loose around the back of the head, or a pony tail."""
    along, around = spread(500 if is_tied else 1100)
    angle = around / 2 * (0.9 if is_tied else 1.2)  # 0 at the back
    end = np.clip((1 - along) / 0.15, 0.3, 1) ** 0.5  # tapers at the end
    radius = 0.036 * end * (1 - 0.3 * along) if is_tied else 0.080 * (1 + 0.12 * along * end)
    outwards = columns(np.sin(angle), np.cos(angle) * (1 if is_tied else 1.15), 0.0)
    axis = columns(0.0, (0.095 if is_tied else 0.0) + 0.03 * along, 1.625 - along * length)
    points = axis + outwards * radius[:, None] + FORWARDS * (1 - along)[:, None]
    shape = Shape(points, unit(outwards), along, np.pi - angle)
    return attach(shape, Part.HAIR, Bone.HEAD, Bone.CHEST, np.clip(1.1 - along, 0, 1))


def _arm(appearance: Appearance, pivots: np.ndarray, side: int) -> list[Surface]:
    girth, sleeve = appearance.build.girth, appearance.clothes.sleeve
    loose = appearance.clothes.top_looseness
    shoulder, elbow, wrist = (pivots[bones[side]] for bones in (ARM, FOREARM, HAND))
    outwards = (-1, 1)[side]

    def width(bare: float, covered_from: float) -> float:
        return bare * girth * (loose if sleeve > covered_from else 1)

    upper = (0.046 * girth * (1 + (loose - 1) * 0.6), width(0.040, 0.9))
    cap = ellipsoid(
        340,
        shoulder + np.array([-outwards * 0.022, 0, -0.028]),
        np.array([0.060, 0.052, 0.056]) * (0.85 + 0.15 * girth) * (1 + (loose - 1) * 0.3),
    )
    cap = Shape(cap.points, cap.normals, cap.along * 0.1, cap.around)  # a sleeve covers all of it
    lower = (width(0.041, 1.2), width(0.028, 1.8))
    hand = ellipsoid(180, wrist + np.array([0, -0.005, -0.075]), np.array([0.022, 0.042, 0.085]))
    joint = ellipsoid(110, elbow, np.full(3, 0.041 * girth))
    start = shoulder + np.array([-outwards * 0.004, 0, -0.024])
    upper_arm = tube(720, start, elbow, upper)
    forearm = tube(560, elbow, wrist, lower)
    joint_part = Part.ARM if sleeve > 0.9 else Part.FOREARM
    follows = np.clip(0.5 + upper_arm.along * 3, 0, 1)
    return [
        attach(cap, Part.ARM, ARM[side], Bone.CHEST, 0.5),
        attach(upper_arm, Part.ARM, ARM[side], Bone.CHEST, follows),
        attach(joint, joint_part, FOREARM[side], ARM[side], 0.5),
        attach(forearm, Part.FOREARM, FOREARM[side], ARM[side], _beyond(forearm)),
        attach(hand, Part.HAND, HAND[side]),
    ]


def _beyond(limb: Shape) -> np.ndarray:
    """Weight in [0.5, 1] of the limb's own bone against the bone above; 0.5 at the joint."""
    return np.clip(0.5 + limb.along * 4, 0, 1)


def _leg(appearance: Appearance, pivots: np.ndarray, side: int) -> list[Surface]:
    girth, leg, loose = (
        appearance.build.girth,
        appearance.clothes.leg,
        appearance.clothes.bottom_looseness,
    )
    hip, knee, ankle = (pivots[bones[side]] for bones in (THIGH, SHANK, FOOT))

    def width(bare: float, covered_from: float, factor: float = loose) -> float:
        return bare * girth * (factor if leg > covered_from else 1)

    upper = (0.082 * girth * (1 + (loose - 1) * 0.5), width(0.054, 0.9))
    lower = (width(0.054, 1.2), width(0.037, 1.7, loose * 1.1))
    thigh = tube(1450, hip + np.array([0, 0.005, 0.02]), knee, upper, tuck=0.28)
    shank = tube(1150, knee, ankle, lower, bulge=0.014 * girth)
    joint = ellipsoid(220, knee, np.full(3, 0.055 * girth))
    shoe = ellipsoid(330, ankle + np.array([0, -0.062, -0.045]), np.array([0.043, 0.125, 0.045]))
    heel = ellipsoid(120, ankle + np.array([0, 0.01, -0.02]), np.array([0.042, 0.055, 0.06]))
    follows = np.clip(0.35 + thigh.along * 4, 0, 1)
    joint_part = Part.THIGH if leg > 0.9 else Part.SHANK
    return [
        attach(thigh, Part.THIGH, THIGH[side], Bone.PELVIS, follows),
        attach(joint, joint_part, SHANK[side], THIGH[side], 0.5),
        attach(shank, Part.SHANK, SHANK[side], THIGH[side], _beyond(shank)),
        attach(shoe, Part.FOOT, FOOT[side]),
        attach(heel, Part.FOOT, FOOT[side]),
    ]


def _skirt(appearance: Appearance) -> Surface:
    """A flaring skirt or the lower part of a coat; it encloses the hips and the legs.

    Each half follows the leg on its side. The weight of that leg grows with the distance from the
    waist; at the waist, both legs have the same weight, so their movements cancel.
    """
    clothes, girth = appearance.clothes, appearance.build.girth
    area = 2 * np.pi * (0.16 + clothes.flare) * girth * clothes.skirt
    along, around = spread(int(1.1 * DENSITY * area))
    height = WAIST - along * clothes.skirt
    width, depth = _girth(appearance.build, np.maximum(height, 0.93))
    flare = clothes.flare * along * (1 + 0.15 * np.sin(around * 7)) + SLACK
    sideways, front = np.sin(around), np.cos(around)
    loose = 1 + (clothes.top_looseness - 1) * 0.55
    points = columns(
        sideways * (width * loose + flare), 0.01 - front * (depth * loose + 0.9 * flare), height
    )
    normals = unit(columns(sideways / width, -front / depth, clothes.flare * girth * 4))
    half = 0.5 + 0.45 * sideways * np.clip(along * 1.4, 0, 1)
    return attach(Shape(points, normals, along, around), Part.SKIRT, THIGH[1], THIGH[0], half)
