"""What a picture shows, before it is drawn: who, from where, in which posture and light.

A shot is all the chance there is: drawing one is a pure function, so two shots can exchange single
properties (the pose of one, the camera of the other) and be drawn again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reid_aug.people.body import STANDING, Manner, Posture, walk
from reid_aug.people.camera import CAMERAS
from reid_aug.people.look import Look, pick, sample_look

GESTURES = {
    "none": 0.72, "phone_at_ear": 0.07, "phone_in_hands": 0.08,
    "carrying": 0.06, "holding_strap": 0.07,
}  # fmt: skip
FACINGS = {"towards": 0.5, "away": 0.38, "across": 0.12}

# How often an estimator misses a joint that can be seen, in OpenPose order.
TURNS = 0.3  # chance that a person faces another way than in the shot before
MISSED = np.zeros(18)
MISSED[[3, 6]] = 0.06  # elbows
MISSED[[4, 7]] = 0.22  # wrists
MISSED[[10, 13]] = 0.14  # ankles
MISSED[[14, 15]] = 0.06  # eyes
MISSED[[16, 17]] = 0.09  # ears


@dataclass(frozen=True, slots=True)
class Crop:
    """The box a detector would draw.

    ``height`` counts heights of the person, ``width`` heights of the box; ``tightness`` is the
    least width as a share of the person's width; the shifts are shares of the box.
    """

    height: float
    width: float
    tightness: float
    shift_x: float
    shift_y: float


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a street that is behind: ``height`` in pixels, ``left`` in [0, 1) of the way."""

    height: int
    left: float


@dataclass(frozen=True, slots=True)
class Exposure:
    """What differs between two pictures of a camera.

    ``gain`` and ``blur`` scale those of the camera; ``shrink`` is the share of pixels a side that
    survives (1: all); ``noise_seed`` starts the grain.
    """

    gain: float
    blur: float
    shrink: float
    noise_seed: int


@dataclass(frozen=True, slots=True)
class Bystander:
    """A second person, ``aside`` (right is positive) and ``behind`` by metres."""

    pid: int
    yaw: float
    posture: Posture
    aside: float
    behind: float


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture to be drawn.

    ``camera`` is counted from 0; ``yaw`` is 0 towards the camera, pi away; ``distance`` is metres;
    ``missed`` says which of the 18 joints stay unseen even where they are in sight.
    """

    pid: int
    camera: int
    yaw: float
    posture: Posture
    distance: float
    crop: Crop
    window: Window
    exposure: Exposure
    missed: tuple[bool, ...]
    bystander: Bystander | None = None


def look_of(seed: int, pid: int) -> Look:
    """What identity ``pid`` looks like."""
    return sample_look(np.random.default_rng([seed, 1, pid]))


def sample_shots(seed: int, pid: int) -> Iterator[list[Shot]]:
    """The shots of an identity: two to five under each of three to five cameras."""
    rng = np.random.default_rng([seed, 2, pid])
    manner = look_of(seed, pid).manner
    others = [(other, look_of(seed, other).manner) for other in (pid + 1, pid + 2, pid + 3)]
    for camera in rng.permutation(CAMERAS)[: rng.integers(3, 6)]:
        yield list(_walk_past(rng, pid, int(camera), manner, others))


def _walk_past(
    rng: np.random.Generator,
    pid: int,
    camera: int,
    manner: Manner,
    others: list[tuple[int, Manner]],
) -> Iterator[Shot]:
    """One person passes one camera: much the same facing and distance until they turn round."""
    yaw, distance, phase = _facing(rng), rng.uniform(4.5, 11), rng.uniform(0, 6.3)
    if rng.random() < 0.2:
        manner = _standing(manner)
    gesture = pick(rng, GESTURES)
    for step in range(rng.integers(2, 6)):
        if step and rng.random() < TURNS:
            yaw = _facing(rng)
        yield Shot(
            pid=pid,
            camera=camera,
            yaw=yaw + rng.normal(0, 0.25),
            posture=walk(rng, manner, phase + step * rng.uniform(0.7, 2.2), gesture),
            distance=distance * rng.uniform(0.9, 1.1),
            crop=_sample_crop(rng),
            window=Window(int(rng.uniform(150, 210)), rng.random()),
            exposure=_sample_exposure(rng),
            missed=tuple((rng.random(18) < MISSED).tolist()),
            bystander=_sample_bystander(rng, others) if rng.random() < 0.2 else None,
        )


def _standing(manner: Manner) -> Manner:
    return Manner(elbow=manner.elbow, spread=manner.spread, lean=manner.lean, **STANDING)


def _facing(rng: np.random.Generator) -> float:
    facing = pick(rng, FACINGS)
    if facing == "across":
        return rng.choice([-1, 1]) * (np.pi / 2 + rng.normal(0, 0.25))
    return (np.pi if facing == "away" else 0) + rng.normal(0, 0.5)


def _sample_crop(rng: np.random.Generator) -> Crop:
    cuts_feet = rng.random() < 0.12
    return Crop(
        height=rng.uniform(1.03, 1.17),
        width=rng.uniform(0.36, 0.46),
        tightness=rng.uniform(0.82, 1.08),
        shift_x=rng.normal(0, 0.045),
        shift_y=rng.normal(0, 0.018) - (rng.uniform(0.05, 0.16) if cuts_feet else 0),
    )


def _sample_exposure(rng: np.random.Generator) -> Exposure:
    return Exposure(
        gain=rng.uniform(0.72, 1.18),
        blur=rng.uniform(0.6, 1.3),
        shrink=rng.uniform(0.35, 0.7) if rng.random() < 0.4 else 1.0,
        noise_seed=int(rng.integers(2**32)),
    )


def _sample_bystander(rng: np.random.Generator, others: list[tuple[int, Manner]]) -> Bystander:
    pid, manner = others[rng.integers(len(others))]
    return Bystander(
        pid=pid,
        yaw=_facing(rng),
        posture=walk(rng, manner, rng.uniform(0, 6)),
        aside=rng.choice([-1, 1]) * rng.uniform(0.3, 0.6),
        behind=rng.choice([-0.5, 0.6, 1.2]),
    )
