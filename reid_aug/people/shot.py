"""What a picture shows, before it is drawn: who, from where, in which posture and light.

A shot is all the chance there is: drawing one is a pure function, so two shots can exchange single
properties (the pose of one, the camera of the other) and be drawn again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reid_aug.people.body import Posture
from reid_aug.people.camera import CAMERAS
from reid_aug.people.difficulty import Difficulty
from reid_aug.people.estimator import sample_missed
from reid_aug.people.gait import GAITS, GESTURES, posture
from reid_aug.people.look import Appearance, sample_appearance
from reid_aug.people.palette import pick
from reid_aug.runtime.random_streams import PeopleStream

FACINGS = {"towards": 0.55, "away": 0.395, "across": 0.055}
TURNS = 0.3  # chance that a person faces another way than in the shot before


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


def appearance_of(seed: int, pid: int, difficulty: Difficulty) -> Appearance:
    """What identity ``pid`` looks like."""
    return sample_appearance(
        np.random.default_rng([seed, PeopleStream.APPEARANCE, pid]), difficulty
    )


def sample_shots(seed: int, pid: int, difficulty: Difficulty) -> Iterator[list[Shot]]:
    """The shots of an identity: two to five under each of three to five cameras."""
    rng = np.random.default_rng([seed, PeopleStream.SHOTS, pid])
    look = appearance_of(seed, pid, difficulty)
    others = {
        other: appearance_of(seed, other, difficulty) for other in (pid + 1, pid + 2, pid + 3)
    }
    for camera in rng.permutation(CAMERAS)[: rng.integers(3, 6)]:
        yield list(_walk_past(rng, pid, int(camera), look, others, difficulty))


def _walk_past(
    rng: np.random.Generator,
    pid: int,
    camera: int,
    look: Appearance,
    others: dict[int, Appearance],
    difficulty: Difficulty,
) -> Iterator[Shot]:
    """One person passes one camera: much the same facing and distance until they turn round."""
    yaw, distance, phase = _facing(rng), rng.uniform(4.5, 11), rng.uniform(0, 6.3)
    gait, gesture = pick(rng, GAITS), pick(rng, GESTURES)
    for step in range(rng.integers(2, 6)):
        if step and rng.random() < TURNS:
            yaw = _facing(rng)
        facing = yaw + rng.normal(0, 0.25)
        window, exposure = sample_sight(rng, difficulty)
        has_company = rng.random() < difficulty.bystanders
        yield Shot(
            pid=pid,
            camera=camera,
            yaw=facing,
            posture=posture(rng, look, gait, gesture, phase + step * rng.uniform(0.7, 2.2)),
            distance=distance * rng.uniform(0.9, 1.1),
            crop=_sample_crop(rng, difficulty),
            window=window,
            exposure=exposure,
            missed=tuple(sample_missed(rng, facing, look.hair.covers_ears).tolist()),
            bystander=_sample_bystander(rng, others) if has_company else None,
        )


def _facing(rng: np.random.Generator) -> float:
    facing = pick(rng, FACINGS)
    if facing == "across":
        return rng.choice([-1, 1]) * (np.pi / 2 + rng.normal(0, 0.25))
    return (np.pi if facing == "away" else 0) + rng.normal(0, 0.52)


def _sample_crop(rng: np.random.Generator, difficulty: Difficulty) -> Crop:
    cut = rng.uniform(0.05, 0.14) if rng.random() < difficulty.cut else 0.0
    sideways, upright = difficulty.shift
    return Crop(
        height=rng.uniform(1.0, 1.11),
        width=rng.uniform(0.33, 0.41),
        tightness=rng.uniform(0.8, 1.02),
        shift_x=rng.normal(0, sideways),
        shift_y=rng.normal(0.014, upright) - cut,
    )


def sample_sight(rng: np.random.Generator, difficulty: Difficulty) -> tuple[Window, Exposure]:
    """Where a camera looks, and how it sees."""
    window = Window(int(rng.uniform(150, 210)), rng.random())
    is_coarse = rng.random() < difficulty.coarse
    exposure = Exposure(
        gain=rng.uniform(*difficulty.exposure),
        blur=rng.uniform(0.6, 1.3),
        shrink=rng.uniform(0.42, 0.75) if is_coarse else 1.0,
        noise_seed=int(rng.integers(2**32)),
    )
    return window, exposure


def _sample_bystander(rng: np.random.Generator, others: dict[int, Appearance]) -> Bystander:
    pid = list(others)[rng.integers(len(others))]
    gait = pick(rng, GAITS)
    return Bystander(
        pid=pid,
        yaw=_facing(rng),
        posture=posture(rng, others[pid], gait, "none", rng.uniform(0, 6)),
        aside=rng.choice([-1, 1]) * rng.uniform(0.3, 0.6),
        behind=rng.choice([-0.5, 0.6, 1.2]),
    )
