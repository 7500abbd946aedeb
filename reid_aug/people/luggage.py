"""The surfaces of luggage: bags, a jacket over the arm, an umbrella, a bicycle."""

import numpy as np

from reid_aug.people.appearance import Appearance, Luggage
from reid_aug.people.body import GRIP, HAND, HELD_BONES, Bone
from reid_aug.people.shapes import Shape, box, ellipsoid, ring, rod
from reid_aug.people.surface import Part, Surface, attach, pivots_of

CANOPY, DOME, POLE = 0.47, 0.22, 0.37  # of an umbrella: radius, height and pole to the rim, metres
WHEEL = 0.33  # radius, metres
BESIDE = 0.48  # distance of a pushed bicycle from the person, metres


def luggage(appearance: Appearance) -> list[Surface]:
    """The surfaces of everything that an identity carries or rides."""
    carried = appearance.luggage
    pieces = [*_pack(appearance), *_shoulder_bag(appearance)]
    if carried.held:
        make = {"bag": _hand_bag, "jacket": _jacket, "umbrella": _umbrella}[carried.held]
        is_left = carried.side > 0
        grip = pivots_of(appearance)[HAND[is_left]] + GRIP
        pieces += [attach(*piece, HELD_BONES[is_left]) for piece in make(grip, carried.side)]
    if carried.bicycle:
        pieces += _bicycle(carried)
    return pieces


def _pack(appearance: Appearance) -> list[Surface]:
    size = appearance.luggage.pack
    if not size:
        return []
    back = 0.11 * appearance.build.girth
    half = np.array([0.14, 0.085, 0.20]) * size
    body = box(3600, np.array([0, back + half[1] * 0.95, 1.23]), half)
    pocket_half = half * np.array([0.8, 0.35, 0.42])
    pocket = box(1100, np.array([0, back + half[1] * 2.1, 1.13]), pocket_half)
    return [attach(shape, Part.PACK, Bone.CHEST) for shape in (body, pocket)]


def _shoulder_bag(appearance: Appearance) -> list[Surface]:
    if not appearance.luggage.has_shoulder_bag:
        return []
    centre = np.array([appearance.luggage.side * 0.20 * appearance.build.girth, 0.02, 0.95])
    return [attach(box(1500, centre, np.array([0.05, 0.13, 0.11])), Part.BAG, Bone.PELVIS)]


def _hand_bag(grip: np.ndarray, side: int) -> list[tuple[Shape, Part]]:
    handle = ring(220, grip - np.array([0, 0, 0.05]), 0.07, 0.008)
    return [
        (box(1500, grip - np.array([0, 0, 0.20]), np.array([0.045, 0.13, 0.13])), Part.HELD),
        (handle, Part.HELD),
    ]


def _jacket(grip: np.ndarray, side: int) -> list[tuple[Shape, Part]]:
    """A jacket over the forearm, which points forwards and lies in the fold."""
    fold = ellipsoid(700, grip + np.array([0, 0.14, 0.02]), np.array([0.062, 0.12, 0.06]))
    sheets = box(2000, grip + np.array([0, 0.14, -0.17]), np.array([0.055, 0.115, 0.20]))
    return [(fold, Part.HELD), (sheets, Part.HELD)]


def _umbrella(grip: np.ndarray, side: int) -> list[tuple[Shape, Part]]:
    """An umbrella: the pole leans back over the head; the canopy has an outer and an inner side."""
    top = grip + POLE * np.array([-side * 0.3, 0.42, 0.86])
    dome = ellipsoid(14_000, top, np.array([CANOPY, CANOPY, DOME]))
    is_canopy = dome.normals[:, 2] > 0
    points, normals = dome.points[is_canopy], dome.normals[is_canopy]
    along, around = dome.along[is_canopy], dome.around[is_canopy]
    canopy = Shape(points, normals, along, around)
    lining = Shape(points - normals * 0.012, -normals, along, around)
    pole = rod(260, grip - np.array([0, 0, 0.08]), top + np.array([0, 0, DOME]), 0.009)
    return [(canopy, Part.HELD), (lining, Part.HELD), (pole, Part.METAL)]


def _bicycle(carried: Luggage) -> list[Surface]:
    """A city bicycle below its rider, or beside the person who pushes it."""
    is_ridden = carried.bicycle == "ridden"
    place = np.zeros(3) if is_ridden else np.array([carried.side * BESIDE, -0.1, 0])
    rear, front = np.array([0, 0.56, WHEEL]), np.array([0, -0.54, WHEEL])
    crank, seat = np.array([0, 0.05, 0.30]), np.array([0, 0.12, 0.80])
    head = np.array([0, -0.36, 0.84])
    bar, half_bar = np.array([0, -0.34, 1.02]), np.array([0.27, 0, 0])
    tubes = [(crank, seat), (crank, head), (seat, head), (rear, seat), (rear, crank), (head, front)]
    wheels = [ring(1900, centre, WHEEL, 0.017) for centre in (rear, front)]
    metal = [rod(380, start, end, 0.014) for start, end in tubes]
    metal += [rod(150, head, bar, 0.014), rod(380, bar - half_bar, bar + half_bar, 0.014)]
    metal.append(box(900, np.array([0, -0.52, 0.88]), np.array([0.13, 0.11, 0.10])))  # the basket
    saddle = ellipsoid(200, seat + np.array([0, 0, 0.03]), np.array([0.07, 0.12, 0.035]))
    pieces = [(shape, Part.METAL) for shape in metal] + [(saddle, Part.RUBBER)]
    pieces += [(shape, Part.RUBBER) for shape in wheels]
    return [
        attach(Shape(s.points + place, s.normals, s.along, s.around), part, Bone.BICYCLE)
        for s, part in pieces
    ]
