"""The skeleton: its bones, the posture of a walking person, and where both put every bone.

The frame of a person: x to the person's left, y backwards (so the face looks along -y), z up.
Lengths are metres of a person 1.70 m tall; angles are radians. Pairs are (right, left).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

Pair = tuple[float, float]


class Bone(IntEnum):
    """A rigid part of the skeleton; a parent has a smaller number than its children."""

    PELVIS = 0
    CHEST = 1
    HEAD = 2
    RIGHT_ARM = 3
    LEFT_ARM = 4
    RIGHT_FOREARM = 5
    LEFT_FOREARM = 6
    RIGHT_HAND = 7
    LEFT_HAND = 8
    RIGHT_THIGH = 9
    LEFT_THIGH = 10
    RIGHT_SHANK = 11
    LEFT_SHANK = 12
    RIGHT_FOOT = 13
    LEFT_FOOT = 14


ARM = (Bone.RIGHT_ARM, Bone.LEFT_ARM)
FOREARM = (Bone.RIGHT_FOREARM, Bone.LEFT_FOREARM)
HAND = (Bone.RIGHT_HAND, Bone.LEFT_HAND)
THIGH = (Bone.RIGHT_THIGH, Bone.LEFT_THIGH)
SHANK = (Bone.RIGHT_SHANK, Bone.LEFT_SHANK)
FOOT = (Bone.RIGHT_FOOT, Bone.LEFT_FOOT)
PARENT = (-1, 0, 1, 1, 1, 3, 4, 5, 6, 0, 0, 9, 10, 11, 12)

# Where each bone turns, in the rest pose: standing upright, arms hanging.
PIVOTS = np.array([
    [0, 0, 0.95], [0, 0.01, 1.12], [0, 0.015, 1.47],
    [-0.165, 0.01, 1.40], [0.165, 0.01, 1.40], [-0.18, 0.01, 1.11], [0.18, 0.01, 1.11],
    [-0.185, 0, 0.86], [0.185, 0, 0.86], [-0.09, 0, 0.92], [0.09, 0, 0.92],
    [-0.09, -0.005, 0.50], [0.09, -0.005, 0.50], [-0.09, 0.02, 0.08], [0.09, 0.02, 0.08],
])  # fmt: skip

# Of the 18 OpenPose joints: those that are the pivot of a bone, and those fixed to the head.
PIVOT_JOINTS = {
    2: Bone.RIGHT_ARM, 3: Bone.RIGHT_FOREARM, 4: Bone.RIGHT_HAND,
    5: Bone.LEFT_ARM, 6: Bone.LEFT_FOREARM, 7: Bone.LEFT_HAND,
    8: Bone.RIGHT_THIGH, 9: Bone.RIGHT_SHANK, 10: Bone.RIGHT_FOOT,
    11: Bone.LEFT_THIGH, 12: Bone.LEFT_SHANK, 13: Bone.LEFT_FOOT,
}  # fmt: skip
HEAD_JOINTS = {
    0: (0.0, -0.105, 1.59), 14: (-0.030, -0.088, 1.618), 15: (0.030, -0.088, 1.618),
    16: (-0.072, 0.0, 1.60), 17: (0.072, 0.0, 1.60),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manner:
    """How somebody walks: amplitudes of the gait and the habitual angles, in radians."""

    stride: float
    knee: float
    swing: float
    elbow: float
    spread: float
    lean: float


STANDING = {"stride": 0.05, "knee": 0.1, "swing": 0.08}  # a manner with these stands still


@dataclass(frozen=True, slots=True)
class Posture:
    """Joint angles: positive ``hip`` and ``shoulder`` swing the limb forwards."""

    hip: Pair
    knee: Pair
    shoulder: Pair
    elbow: Pair
    spread: Pair
    twist: float
    lean: float
    head_yaw: float
    head_pitch: float


# What a gesture does to the arms: (right, left) angles, None where the gait decides.
GESTURES: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "none": {},
    "phone_at_ear": {"shoulder": (0.55, None), "elbow": (2.1, None), "spread": (0.15, None)},
    "phone_in_hands": {"shoulder": (0.35, 0.35), "elbow": (1.55, 1.45)},
    "carrying": {"shoulder": (None, 0.05), "elbow": (None, 0.1)},
    "holding_strap": {"shoulder": (0.1, None), "elbow": (2.0, None), "spread": (0.35, None)},
}


def walk(rng: np.random.Generator, manner: Manner, phase: float, gesture: str = "none") -> Posture:
    """The posture at ``phase`` of the gait cycle (radians), a little different every time."""
    wave = np.sin(phase)
    swing = manner.swing * wave
    arms = {
        "shoulder": (swing - 0.05, -swing - 0.05),
        "elbow": (
            manner.elbow + 0.25 * max(swing, 0),
            manner.elbow + 0.25 * max(-swing, 0),
        ),
        "spread": (manner.spread, manner.spread),
    }
    for angle, pair in GESTURES[gesture].items():
        right, left = (
            old if new is None else new for old, new in zip(arms[angle], pair, strict=True)
        )
        arms[angle] = (right, left)
    looks_down = gesture == "phone_in_hands"

    def near(value: float) -> float:
        return float(value + rng.normal(0, 0.03))

    return Posture(
        hip=(near(-manner.stride * wave), near(manner.stride * wave)),
        knee=(near(_knee(manner, phase)), near(_knee(manner, phase + np.pi))),
        shoulder=(near(arms["shoulder"][0]), near(arms["shoulder"][1])),
        elbow=(near(arms["elbow"][0]), near(arms["elbow"][1])),
        spread=(near(arms["spread"][0]), near(arms["spread"][1])),
        twist=near(0.12 * wave * manner.stride / 0.45),
        lean=near(manner.lean),
        head_yaw=float(rng.normal(0, 0.3)),
        head_pitch=float(rng.normal(-0.45 if looks_down else -0.05, 0.12)),
    )


def _knee(manner: Manner, phase: float) -> float:
    """The knee bends most while its leg swings forwards, and gives a little under load."""
    swinging = manner.knee * max(np.sin(phase - 2.4), 0) ** 1.5
    return 0.08 + swinging + 0.08 * max(-np.sin(phase), 0)


def rotation(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation by ``angle`` about axis 0, 1 or 2."""
    matrix = np.eye(3)
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -np.sin(angle)
    return matrix


def _turns(posture: Posture) -> list[np.ndarray]:
    """The rotation of each bone against its parent."""
    turns = [np.eye(3) for _ in Bone]
    turns[Bone.PELVIS] = rotation(0, posture.lean * 0.4) @ rotation(2, -posture.twist * 0.5)
    turns[Bone.CHEST] = rotation(0, posture.lean) @ rotation(2, posture.twist)
    nod = -posture.head_pitch - posture.lean * 0.8
    turns[Bone.HEAD] = rotation(2, posture.head_yaw) @ rotation(0, nod)
    for side, outwards in enumerate((1, -1)):
        hip, knee = posture.hip[side], posture.knee[side]
        spread = rotation(1, outwards * posture.spread[side])
        turns[ARM[side]] = rotation(0, -posture.shoulder[side]) @ spread
        turns[FOREARM[side]] = rotation(0, -posture.elbow[side]) @ rotation(2, outwards * 0.1)
        turns[THIGH[side]] = rotation(0, -hip) @ rotation(1, outwards * 0.02)
        turns[SHANK[side]] = rotation(0, knee)
        turns[FOOT[side]] = rotation(0, -0.3 * knee + 0.3 * max(-hip, 0))
    return turns


def place_bones(posture: Posture, yaw: float, pivots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How each bone moves a point of the rest pose: ``rotations[bone] @ point + shifts[bone]``.

    Args:
        posture: The angles of the joints.
        yaw: Where the person faces; 0 is towards the camera, pi away from it.
        pivots: (15, 3) where the bones turn in the rest pose.

    Returns:
        (15, 3, 3) rotations and (15, 3) shifts.
    """
    rotations, shifts = np.empty((len(Bone), 3, 3)), np.empty((len(Bone), 3))
    for bone, turn in enumerate(_turns(posture)):
        parent = PARENT[bone]
        if parent < 0:
            rotations[bone] = rotation(2, yaw) @ turn
            place = rotation(2, yaw) @ pivots[bone]
        else:
            rotations[bone] = rotations[parent] @ turn
            place = rotations[parent] @ pivots[bone] + shifts[parent]
        shifts[bone] = place - rotations[bone] @ pivots[bone]
    return rotations, shifts


def joints(rotations: np.ndarray, shifts: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """The 18 OpenPose joints of a placed skeleton, (18, 3)."""
    places = np.zeros((18, 3))
    for joint, bone in PIVOT_JOINTS.items():
        places[joint] = rotations[bone] @ pivots[bone] + shifts[bone]
    for joint, point in HEAD_JOINTS.items():
        places[joint] = rotations[Bone.HEAD] @ np.array(point) + shifts[Bone.HEAD]
    places[1] = (places[2] + places[5]) / 2
    return places
