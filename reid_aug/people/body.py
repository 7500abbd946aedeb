"""The skeleton: its bones, the joint angles of a posture, and the resulting place of every bone.

Coordinates of a person: x points to the person's left, y backwards (the face points along -y),
z up. Lengths are in metres for a person 1.70 m tall. Angles are in radians. Pairs are (right,
left).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

Pair = tuple[float, float]


class Bone(IntEnum):
    """A rigid part of the skeleton; a parent has a smaller number than its children.

    The last three members are not bones but carriers of objects: an object in the right or the
    left hand, which stays upright, and a bicycle, which only turns with the person.
    """

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
    RIGHT_HELD = 15
    LEFT_HELD = 16
    BICYCLE = 17


ARM = (Bone.RIGHT_ARM, Bone.LEFT_ARM)
FOREARM = (Bone.RIGHT_FOREARM, Bone.LEFT_FOREARM)
HAND = (Bone.RIGHT_HAND, Bone.LEFT_HAND)
THIGH = (Bone.RIGHT_THIGH, Bone.LEFT_THIGH)
SHANK = (Bone.RIGHT_SHANK, Bone.LEFT_SHANK)
FOOT = (Bone.RIGHT_FOOT, Bone.LEFT_FOOT)
HELD_BONES = (Bone.RIGHT_HELD, Bone.LEFT_HELD)
PARENT = (-1, 0, 1, 1, 1, 3, 4, 5, 6, 0, 0, 9, 10, 11, 12)

# The centre of rotation of each bone in the rest pose: standing upright with hanging arms.
PIVOTS = np.array([
    [0, 0, 0.95], [0, 0.01, 1.12], [0, 0.015, 1.47],
    [-0.165, 0.01, 1.39], [0.165, 0.01, 1.39], [-0.18, 0.01, 1.11], [0.18, 0.01, 1.11],
    [-0.185, 0, 0.86], [0.185, 0, 0.86], [-0.09, 0, 0.90], [0.09, 0, 0.90],
    [-0.09, -0.005, 0.485], [0.09, -0.005, 0.485], [-0.09, 0.02, 0.08], [0.09, 0.02, 0.08],
])  # fmt: skip
GRIP = np.array([0.0, -0.01, -0.08])  # offset of the grip of a hand from the pivot of the hand

# OpenPose joint: (bone on which it lies, metres from the bone's pivot down the bone).
# A pose estimator places a hip where the thigh meets the trunk, below the anatomical joint.
BONE_JOINTS = {
    2: (Bone.RIGHT_ARM, 0.0), 3: (Bone.RIGHT_FOREARM, 0.0), 4: (Bone.RIGHT_HAND, 0.0),
    5: (Bone.LEFT_ARM, 0.0), 6: (Bone.LEFT_FOREARM, 0.0), 7: (Bone.LEFT_HAND, 0.0),
    8: (Bone.RIGHT_THIGH, 0.05), 9: (Bone.RIGHT_SHANK, 0.02), 10: (Bone.RIGHT_FOOT, 0.0),
    11: (Bone.LEFT_THIGH, 0.05), 12: (Bone.LEFT_SHANK, 0.02), 13: (Bone.LEFT_FOOT, 0.0),
}  # fmt: skip
HEAD_JOINTS = {
    0: (0.0, -0.140, 1.585), 14: (-0.030, -0.123, 1.613), 15: (0.030, -0.123, 1.613),
    16: (-0.072, -0.035, 1.595), 17: (0.072, -0.035, 1.595),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Posture:
    """Joint angles in radians; pairs are (right, left)."""

    hip: Pair  # positive: the thigh swings forwards
    knee: Pair
    shoulder: Pair  # positive: the arm swings forwards
    elbow: Pair
    spread: Pair  # between the arm and the trunk, sideways
    twist: float  # of the chest about the vertical axis
    lean: float  # of the upper body, forwards
    roll: float  # of the hips; positive: the right hip is lower
    head_yaw: float
    head_pitch: float
    rides: bool = False  # the person sits on a bicycle


def rotation(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation by ``angle`` about axis 0, 1 or 2."""
    matrix = np.identity(3)
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -np.sin(angle)
    return matrix


def _turns(posture: Posture) -> list[np.ndarray]:
    """The rotation (3, 3) of each bone relative to its parent."""
    turns = [np.identity(3) for _ in PARENT]
    roll = rotation(1, posture.roll)
    pelvis_lean, pelvis_twist = posture.lean * 0.4, -posture.twist * 0.5
    turns[Bone.PELVIS] = rotation(0, pelvis_lean) @ rotation(2, pelvis_twist) @ roll
    turns[Bone.CHEST] = rotation(0, posture.lean) @ rotation(2, posture.twist) @ roll.T @ roll.T
    nod = -posture.head_pitch - posture.lean * 0.8
    turns[Bone.HEAD] = roll @ rotation(2, posture.head_yaw) @ rotation(0, nod)
    for side, outwards in enumerate((1, -1)):
        hip, knee = posture.hip[side], posture.knee[side]
        spread = rotation(1, outwards * posture.spread[side])
        turns[ARM[side]] = rotation(0, -posture.shoulder[side]) @ spread
        inwards = rotation(
            1, -outwards * 0.7 * max(posture.spread[side], 0)
        )  # the forearm hangs vertically again
        turns[FOREARM[side]] = inwards @ rotation(0, -posture.elbow[side])
        turns[THIGH[side]] = roll.T @ rotation(0, -hip) @ rotation(1, -outwards * 0.02)
        turns[SHANK[side]] = rotation(0, knee)
        turns[FOOT[side]] = rotation(0, -0.3 * knee + 0.3 * max(-hip, 0))
    return turns


def place_bones(posture: Posture, yaw: float, pivots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rigid motion of each bone from the rest pose to a posture.

    A point of a bone moves to ``rotations[bone] @ point + shifts[bone]``.

    Args:
        posture: The angles of the joints.
        yaw: Direction of the person in radians; 0 is towards the camera, pi away from it.
        pivots: (15, 3) centres of rotation of the bones in the rest pose.

    Returns:
        (18, 3, 3) rotations and (18, 3) shifts.
    """
    rotations, shifts = np.empty((len(Bone), 3, 3)), np.zeros((len(Bone), 3))
    upright = rotation(2, yaw)
    for bone, turn in enumerate(_turns(posture)):
        parent = PARENT[bone]
        if parent < 0:
            rotations[bone] = upright @ turn
            place = upright @ pivots[bone]
        else:
            rotations[bone] = rotations[parent] @ turn
            place = rotations[parent] @ pivots[bone] + shifts[parent]
        shifts[bone] = place - rotations[bone] @ pivots[bone]
    rotations[len(PARENT) :] = upright
    for hand, held in zip(HAND, HELD_BONES, strict=True):
        grip = pivots[hand] + GRIP
        shifts[held] = rotations[hand] @ grip + shifts[hand] - upright @ grip
    return rotations, shifts


def joints(rotations: np.ndarray, shifts: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """The 18 OpenPose joints of a posed skeleton, (18, 3) metres."""
    places = np.zeros((18, 3))
    for joint, (bone, below) in BONE_JOINTS.items():
        places[joint] = rotations[bone] @ (pivots[bone] - (0, 0, below)) + shifts[bone]
    for joint, point in HEAD_JOINTS.items():
        places[joint] = rotations[Bone.HEAD] @ np.array(point) + shifts[Bone.HEAD]
    places[1] = (places[2] + places[5]) / 2
    return places
