"""The appearance of an identity: build, hair, clothes, luggage, colours and gait.

One random generator supplies all random numbers of one appearance.
"""

from dataclasses import dataclass

import numpy as np

from reid_aug.people.difficulty import Difficulty
from reid_aug.people.palette import Colours, pick, sample_colours

AGES = {"adult": 0.88, "child": 0.04, "old": 0.08}
HELD_SHARES = {"": 0.64, "bag": 0.24, "jacket": 0.06, "umbrella": 0.06}
BICYCLE_SHARES = {"": 0.92, "ridden": 0.05, "pushed": 0.03}


@dataclass(frozen=True, slots=True)
class Build:
    """The shape of a body. A factor of 1 is the average adult."""

    height: float  # factor
    girth: float  # factor of the width of trunk and limbs
    shoulders: float  # factor of the width
    hips: float  # factor of the width
    belly: float  # extra depth, metres
    bust: float  # extra depth, metres; 0 for men and children
    head: float  # factor of the size relative to the body; larger in children
    stoop: float  # forward lean of old people, radians


@dataclass(frozen=True, slots=True)
class Hair:
    """The hair of an identity."""

    length: float  # metres below the skull; 0 is short hair, a negative value is no hair
    volume: float  # in [0, 1]
    is_tied: bool  # a pony tail

    @property
    def covers_ears(self) -> bool:
        """Whether the hair hangs over the ears."""
        return self.length > 0 and not self.is_tied


@dataclass(frozen=True, slots=True)
class Clothes:
    """The clothes of an identity."""

    sleeve: float  # covered part of the arm: 0 none, 1 to the elbow, 2 to the wrist
    leg: float  # covered part of the leg: 0 none, 1 to the knee, 2 to the ankle
    top_looseness: float  # width of the cloth / width of the body
    bottom_looseness: float  # width of the cloth / width of the body
    hem: float  # height of the lower end of the top, metres
    skirt: float  # length of a skirt or coat below the waist, metres; 0: none
    flare: float  # widening of the skirt or coat, metres
    is_one_piece: bool  # a dress or a coat: top and bottom have one colour


@dataclass(frozen=True, slots=True)
class Luggage:
    """What an identity carries or rides; the same under all cameras."""

    pack: float  # size factor of a backpack; 0: none
    has_shoulder_bag: bool
    has_strap: bool  # a strap of the shoulder bag across the chest
    held: str  # "", "bag", "jacket" or "umbrella"
    bicycle: str  # "", "ridden" or "pushed"
    side: int  # side of the shoulder bag, the held object and a pushed bicycle: -1 right, 1 left


@dataclass(frozen=True, slots=True)
class Manner:
    """The gait of an identity; all angles are in radians."""

    stride: float  # amplitude of the hips
    knee: float  # amplitude of the knees
    swing: float  # amplitude of the arms
    elbow: float  # usual angle of the elbows
    spread: float  # usual angle between the arms and the trunk
    lean: float  # usual forward lean of the upper body


@dataclass(frozen=True, slots=True)
class Appearance:
    """The appearance of an identity."""

    build: Build
    hair: Hair
    clothes: Clothes
    luggage: Luggage
    colours: Colours
    manner: Manner


def sample_appearance(rng: np.random.Generator, difficulty: Difficulty) -> Appearance:
    """The appearance of a random pedestrian."""
    is_woman = bool(rng.random() < 0.5)
    build = _sample_build(rng, is_woman)
    return Appearance(
        build=build,
        hair=_sample_hair(rng, is_woman),
        clothes=_sample_clothes(rng, is_woman),
        luggage=_sample_luggage(rng),
        colours=sample_colours(rng, difficulty.vivid),
        manner=_sample_manner(rng, build.stoop),
    )


def _sample_build(rng: np.random.Generator, is_woman: bool) -> Build:
    age = pick(rng, AGES)
    size, slim, stoop = {"child": (0.8, 0.9, 0), "adult": (1, 1, 0), "old": (0.97, 1.06, 0.16)}[age]
    stout = 0.16 if rng.random() < 0.1 else 0.0
    return Build(
        height=size * rng.normal(0.975 if is_woman else 1.025, 0.04),
        girth=slim * rng.normal(0.92 if is_woman else 0.98, 0.06) + stout,
        shoulders=rng.normal(0.92 if is_woman else 1.03, 0.05),
        hips=rng.normal(1.04 if is_woman else 0.97, 0.04),
        belly=abs(rng.normal(0, 0.02)) + stout / 3,
        bust=rng.uniform(0.015, 0.035) if is_woman and age != "child" else 0.0,
        head=rng.normal(1.14 if age == "child" else 1.0, 0.02),
        stoop=float(stoop),
    )


def _sample_hair(rng: np.random.Generator, is_woman: bool) -> Hair:
    women, men = {0.0: 0.15, 0.22: 0.25, 0.34: 0.3, 0.45: 0.3}, {-1.0: 0.06, 0.0: 0.88, 0.1: 0.06}
    length = float(pick(rng, women if is_woman else men))
    is_tied = bool(rng.random() < 0.4) and length > 0.2
    return Hair(length=length, volume=rng.uniform(0, 1), is_tied=is_tied)


def _sample_clothes(rng: np.random.Generator, is_woman: bool) -> Clothes:
    sleeve = pick(rng, {0.0: 0.05, 0.55: 0.3, 0.75: 0.3, 1.5: 0.06, 2.0: 0.29})
    leg = pick(rng, {0.45: 0.1, 0.8: 0.16, 1.4: 0.06, 2.0: 0.68})
    skirt, flare, is_one_piece = 0.0, 0.0, False
    if is_woman and rng.random() < 0.38:
        skirt, flare = rng.uniform(0.34, 0.75), rng.uniform(0.04, 0.13)
        leg, is_one_piece = 0.0, bool(rng.random() < 0.5)
    elif rng.random() < 0.12:  # a coat
        skirt, flare = rng.uniform(0.28, 0.45), rng.uniform(0.02, 0.05)
        sleeve, is_one_piece = 2.0, True
    return Clothes(
        sleeve=sleeve,
        leg=leg,
        top_looseness=rng.uniform(1.03, 1.2),
        bottom_looseness=rng.uniform(1.03, 1.35),
        hem=rng.uniform(0.88, 0.97),
        skirt=skirt,
        flare=flare,
        is_one_piece=is_one_piece,
    )


def _sample_luggage(rng: np.random.Generator) -> Luggage:
    has_pack, bicycle, held = (
        bool(rng.random() < 0.26),
        pick(rng, BICYCLE_SHARES),
        pick(rng, HELD_SHARES),
    )
    return Luggage(
        pack=rng.uniform(0.8, 1.15) if has_pack else 0.0,
        has_shoulder_bag=bool(rng.random() < 0.25) and not has_pack,
        has_strap=bool(rng.random() < 0.7),
        held="" if bicycle else held,
        bicycle=bicycle,
        side=int(rng.choice([-1, 1])),
    )


def _sample_manner(rng: np.random.Generator, stoop: float) -> Manner:
    return Manner(
        stride=rng.uniform(0.25, 0.48),
        knee=rng.uniform(0.35, 0.65),
        swing=rng.uniform(0.15, 0.55),
        elbow=rng.uniform(0.2, 0.8),
        spread=rng.uniform(0.1, 0.28),
        lean=rng.normal(0.03, 0.03) + stoop,
    )
