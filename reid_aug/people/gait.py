"""Postures of walking, standing and riding people, with the gestures of their arms.

Angles are radians; pairs are (right, left). See :class:`reid_aug.people.body.Posture`.
"""

import math
from dataclasses import replace

import numpy as np

from reid_aug.people.appearance import Appearance, Manner
from reid_aug.people.body import Pair, Posture

Arm = tuple[float, float, float]  # shoulder, elbow and spread

GAITS = {"walking": 0.66, "slow": 0.09, "fast": 0.08, "standing": 0.09, "resting": 0.08}
GESTURES = {
    "none": 0.66, "phone_at_ear": 0.05, "phone_in_hands": 0.06, "holding_strap": 0.05,
    "in_pocket": 0.05, "in_pockets": 0.03, "behind_back": 0.03, "folded": 0.03,
    "at_hair": 0.02, "reaching": 0.02,
}  # fmt: skip
ONE_ARM: dict[str, Arm] = {
    "phone_at_ear": (0.55, 2.1, 0.15),
    "holding_strap": (0.1, 2.0, 0.35),
    "in_pocket": (-0.2, 0.6, 0.2),
    "at_hair": (1.2, 2.2, 0.3),
    "reaching": (0.9, 0.3, 0.1),
}
BOTH_ARMS: dict[str, Arm] = {
    "phone_in_hands": (0.35, 1.5, 0.02),
    "in_pockets": (-0.2, 0.6, 0.2),
    "behind_back": (-0.45, 0.5, -0.06),
    "folded": (0.4, 1.75, -0.1),
}
HOLDING: dict[str, Arm] = {
    "bag": (0.05, 0.12, 0.1),
    "jacket": (0.1, 1.45, 0.12),
    "umbrella": (0.45, 2.0, 0.1),
}
PUSHING: Arm = (0.55, 0.45, 0.1)
PACE = {"slow": 0.6, "walking": 1.0, "fast": 1.2, "standing": 0.12, "resting": 0.1}

# Centre of the crank from the hip (forwards, down), length of the crank, length of thigh or shank.
CRANK, PEDAL, LEG = (0.10, 0.56), 0.16, 0.41  # metres
MEAN_LEAN = 0.14  # of cyclists, forwards, radians


def posture(
    rng: np.random.Generator, appearance: Appearance, gait: str, gesture: str, phase: float
) -> Posture:
    """The posture at ``phase`` (radians) of a gait, with small random deviations."""
    if appearance.luggage.bicycle == "ridden":
        return _ride(rng, phase)
    mean = mean_posture(appearance, gait, gesture, phase)
    turning = rng.normal(0, 0.3) if rng.random() < 0.08 else 0.0
    pairs = mean.shoulder, mean.elbow, mean.spread, mean.hip, mean.knee
    shoulder, elbow, spread, hip, knee = (_near(rng, pair) for pair in pairs)
    return replace(
        mean,
        hip=hip,
        knee=knee,
        shoulder=shoulder,
        elbow=elbow,
        spread=spread,
        twist=float(mean.twist + turning + rng.normal(0, 0.03)),
        lean=float(mean.lean + rng.normal(0, 0.03)),
        head_yaw=float(rng.normal(0, 0.4) + turning),
        head_pitch=float(rng.normal(mean.head_pitch, 0.12)),
    )


def mean_posture(appearance: Appearance, gait: str, gesture: str, phase: float) -> Posture:
    """The posture at ``phase`` (radians) of a gait, without deviations."""
    if appearance.luggage.bicycle == "ridden":
        return _riding(phase, MEAN_LEAN)
    manner = _paced(appearance.manner, PACE[gait])
    swing = manner.swing * np.sin(phase)
    arms = [_swinging_arm(manner, swing), _swinging_arm(manner, -swing)]
    _gesticulate(arms, appearance, gesture)
    hip, knee = _resting_legs(phase) if gait == "resting" else _walking_legs(manner, phase)
    shoulder, elbow, spread = zip(*arms, strict=True)
    return Posture(
        hip=hip,
        knee=knee,
        shoulder=shoulder,
        elbow=elbow,
        spread=spread,
        twist=float(0.25 * manner.stride * np.sin(phase)),
        lean=float(manner.lean + (0.05 if gait == "fast" else 0.0)),
        roll=math.copysign(0.08, math.sin(phase)) if gait == "resting" else 0.0,
        head_yaw=0.0,
        head_pitch=-0.45 if gesture == "phone_in_hands" else -0.05,
    )


def _paced(manner: Manner, pace: float) -> Manner:
    knee = manner.knee * max(pace, 0.15)
    return replace(manner, stride=manner.stride * pace, swing=manner.swing * pace, knee=knee)


def _near(rng: np.random.Generator, pair: Pair) -> Pair:
    return float(pair[0] + rng.normal(0, 0.03)), float(pair[1] + rng.normal(0, 0.03))


def _swinging_arm(manner: Manner, swing: float) -> Arm:
    return swing - 0.05, manner.elbow + 0.25 * max(swing, 0), manner.spread


def _gesticulate(arms: list[Arm], appearance: Appearance, gesture: str) -> None:
    """Replace the angles of the arms by those of a gesture; a holding arm keeps holding."""
    luggage = appearance.luggage
    if gesture in BOTH_ARMS and not luggage.held:
        arms[:] = [BOTH_ARMS[gesture]] * 2
    elif gesture in ONE_ARM:
        arms[luggage.side < 0] = ONE_ARM[gesture]
    if luggage.bicycle:
        arms[:] = [PUSHING] * 2
    if luggage.held:
        arms[luggage.side > 0] = HOLDING[luggage.held]


def _walking_legs(manner: Manner, phase: float) -> tuple[Pair, Pair]:
    swing = manner.stride * math.sin(phase)
    return (-swing, swing), (_knee(manner, phase), _knee(manner, phase + np.pi))


def _knee(manner: Manner, phase: float) -> float:
    """Angle of a knee: large while the leg swings forwards, small while it carries the weight."""
    swinging = manner.knee * max(math.sin(phase - 2.4), 0) ** 1.5
    result: float = 0.06 + swinging + 0.06 * max(-math.sin(phase), 0)
    return result


def _resting_legs(phase: float) -> tuple[Pair, Pair]:
    """Hips and knees of a person who stands on one leg and bends the other."""
    hip, knee = (0.0, 0.2), (0.03, 0.38)
    if math.sin(phase) > 0:
        return hip, knee
    return hip[::-1], knee[::-1]


def _ride(rng: np.random.Generator, phase: float) -> Posture:
    """The posture of a cyclist, with small random deviations."""
    mean = _riding(phase, float(rng.normal(MEAN_LEAN, 0.04)))
    shoulder, elbow, spread = (_near(rng, p) for p in (mean.shoulder, mean.elbow, mean.spread))
    yaw, pitch = float(rng.normal(0, 0.25)), float(rng.normal(0, 0.1))
    return replace(
        mean, shoulder=shoulder, elbow=elbow, spread=spread, head_yaw=yaw, head_pitch=pitch
    )


def _riding(phase: float, lean: float) -> Posture:
    """The posture of a cyclist: hands on the bar, feet on the pedals."""
    right, left = _pedalling_leg(phase), _pedalling_leg(phase + np.pi)
    return Posture(
        hip=(right[0] + lean * 0.4, left[0] + lean * 0.4),
        knee=(right[1], left[1]),
        shoulder=(0.78 + 1.2 * lean,) * 2,
        elbow=(0.28, 0.28),
        spread=(0.1, 0.1),
        twist=0.0,
        lean=lean,
        roll=0.0,
        head_yaw=0.0,
        head_pitch=0.0,
        rides=True,
    )


def _pedalling_leg(phase: float) -> Pair:
    """The angles of hip and knee for which the foot is on its pedal."""
    ahead, down = CRANK[0] + PEDAL * math.cos(phase), CRANK[1] + PEDAL * math.sin(phase)
    reach = min(math.hypot(ahead, down), 2 * LEG * 0.995)
    half = math.acos(reach / (2 * LEG))
    return math.atan2(ahead, down) + half, 2 * half
