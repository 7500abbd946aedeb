"""Shots: the complete description of an image before it is rendered.

A shot contains every random choice: identity, camera, posture, crop and exposure. Rendering is a
pure function of the shot. So single properties can be exchanged between two shots, for example the
pose of one and the camera of the other, and the result can be rendered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reid_aug.people.appearance import Appearance, sample_appearance
from reid_aug.people.body import Posture
from reid_aug.people.camera import CAMERAS
from reid_aug.people.difficulty import Difficulty
from reid_aug.people.estimator import sample_missed
from reid_aug.people.gait import GAITS, GESTURES, posture
from reid_aug.people.palette import pick
from reid_aug.runtime.random_streams import PeopleStream

FACINGS = {"towards": 0.55, "away": 0.395, "across": 0.055}
TURN_PROBABILITY = 0.3  # probability that a person changes direction between two shots


@dataclass(frozen=True, slots=True)
class Crop:
    """The simulated box of a person detector."""

    height: float  # in heights of the person
    width: float  # in heights of the box
    tightness: float  # least width, as a share of the width of the person
    shift_x: float  # in widths of the box, right is positive
    shift_y: float  # in heights of the box, down is positive


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a street that is the background."""

    height: int  # pixels of the street
    left: float  # horizontal position in [0, 1): 0 is the left end of the street, 1 the right end


@dataclass(frozen=True, slots=True)
class Exposure:
    """The image properties that differ between two images of one camera."""

    gain: float  # factor of the gain of the camera
    blur: float  # factor of the blur of the camera
    shrink: float  # resolution per side relative to the full resolution, in (0, 1]
    noise_seed: int  # seed of the noise


@dataclass(frozen=True, slots=True)
class Bystander:
    """A second person in the image."""

    pid: int
    yaw: float  # radians, 0 towards the camera
    posture: Posture
    aside: float  # metres to the right of the first person
    behind: float  # metres behind the first person


@dataclass(frozen=True, slots=True)
class Shot:
    """The complete description of an image."""

    pid: int
    camera: int  # counted from 0
    yaw: float  # direction of the person in radians: 0 towards the camera, pi away from it
    posture: Posture
    distance: float  # of the person from the camera, metres
    crop: Crop
    window: Window
    exposure: Exposure
    missed: tuple[bool, ...]  # 18 values: joints that are missing even if they are visible
    bystander: Bystander | None = None


def appearance_of(seed: int, pid: int, difficulty: Difficulty) -> Appearance:
    """The appearance of identity ``pid``."""
    return sample_appearance(
        np.random.default_rng([seed, PeopleStream.APPEARANCE, pid]), difficulty
    )


def sample_shots(seed: int, pid: int, difficulty: Difficulty) -> Iterator[list[Shot]]:
    """The shots of an identity per camera: two to five for each of three to five cameras."""
    rng = np.random.default_rng([seed, PeopleStream.SHOTS, pid])
    appearance = appearance_of(seed, pid, difficulty)
    others = {
        other: appearance_of(seed, other, difficulty) for other in (pid + 1, pid + 2, pid + 3)
    }
    for camera in rng.permutation(CAMERAS)[: rng.integers(3, 6)]:
        yield list(_walk_past(rng, pid, int(camera), appearance, others, difficulty))


def _walk_past(
    rng: np.random.Generator,
    pid: int,
    camera: int,
    appearance: Appearance,
    others: dict[int, Appearance],
    difficulty: Difficulty,
) -> Iterator[Shot]:
    """The shots of one person and one camera; direction and distance are similar until a turn."""
    yaw, distance, phase = _facing(rng), rng.uniform(4.5, 11), rng.uniform(0, 6.3)
    gait, gesture = pick(rng, GAITS), pick(rng, GESTURES)
    for step in range(rng.integers(2, 6)):
        if step and rng.random() < TURN_PROBABILITY:
            yaw = _facing(rng)
        facing = yaw + rng.normal(0, 0.25)
        window, exposure = sample_sight(rng, difficulty)
        has_company = rng.random() < difficulty.bystanders
        yield Shot(
            pid=pid,
            camera=camera,
            yaw=facing,
            posture=posture(rng, appearance, gait, gesture, phase + step * rng.uniform(0.7, 2.2)),
            distance=distance * rng.uniform(0.9, 1.1),
            crop=_sample_crop(rng, difficulty),
            window=window,
            exposure=exposure,
            missed=tuple(sample_missed(rng, facing, appearance.hair.covers_ears).tolist()),
            bystander=_sample_bystander(rng, others) if has_company else None,
        )


def _facing(rng: np.random.Generator) -> float:
    facing = pick(rng, FACINGS)
    if facing == "across":
        result: float = rng.choice([-1, 1]) * (np.pi / 2 + rng.normal(0, 0.25))
        return result
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
    """A random part of the street and a random exposure."""
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
