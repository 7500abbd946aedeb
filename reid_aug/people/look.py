"""What an identity looks like: the build, the hair, the clothes and their colours.

The numbers of one look are drawn from one generator. Palettes are short and greyish on purpose:
on a street many people wear much the same, so colour alone does not tell them apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reid_aug.people.body import Manner

Key = TypeVar("Key")
Colour = tuple[float, float, float]  # RGB in [0, 255]

SKINS = np.array(
    [[224, 182, 152], [205, 160, 128], [190, 142, 110], [150, 105, 78], [105, 72, 54]], float
)
HAIRS = np.array([[22, 20, 20], [35, 28, 24], [58, 40, 28], [96, 66, 40], [120, 116, 112]], float)
CLOTHS = {
    "white": (234, 234, 232), "grey": (205, 204, 201), "black": (23, 23, 26),
    "charcoal": (46, 47, 54), "slate": (105, 107, 111), "navy": (32, 40, 73),
    "denim": (60, 86, 139), "sky": (118, 150, 188), "beige": (217, 204, 166),
}  # fmt: skip
TOPS = {"white": 14, "black": 14, "grey": 6, "charcoal": 6, "slate": 6, "navy": 5, "denim": 5}
BOTTOMS = {"black": 22, "navy": 14, "charcoal": 12, "denim": 10, "slate": 6, "sky": 5, "beige": 4}
SHOES = {"white": 1, "black": 1, "slate": 1}

PATTERNS = {
    "plain": 0.55, "across": 0.05, "upright": 0.02, "logo": 0.14,
    "open": 0.12, "back_print": 0.07, "two_blocks": 0.03, "plaid": 0.02,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Build:
    """The shape of a body; factors around 1, ``belly`` and ``bust`` in metres."""

    height: float
    girth: float
    shoulders: float
    hips: float
    belly: float
    bust: float


@dataclass(frozen=True, slots=True)
class Hair:
    """``length`` in metres below the skull; 0 is short hair, below 0 none."""

    length: float
    volume: float
    is_tied: bool


@dataclass(frozen=True, slots=True)
class Clothes:
    """What is worn and carried.

    ``sleeve`` and ``leg`` count limbs covered: 0 bare, 1 to the elbow or knee, 2 to the wrist or
    ankle. ``hem`` is the height where the top ends, ``skirt`` the length below the waist (0: none)
    and ``flare`` its widening, in metres. A one-piece (dress, coat) has one colour. ``pack`` is
    the size of a backpack (0: none); ``bag`` is "", "shoulder" or "hand", on side -1 (right) or 1.
    """

    sleeve: float
    leg: float
    top_looseness: float
    bottom_looseness: float
    hem: float
    skirt: float
    flare: float
    is_one_piece: bool
    pack: float
    bag: str
    bag_side: int
    has_strap: bool


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of a look, the pattern of its top, and where wrinkles fall (``phases``)."""

    skin: Colour
    hair: Colour
    top: Colour
    second: Colour
    bottom: Colour
    shoe: Colour
    pack: Colour
    bag: Colour
    pattern: str
    frequency: float
    phases: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """An identity."""

    build: Build
    hair: Hair
    clothes: Clothes
    colours: Colours
    manner: Manner


def sample_look(rng: np.random.Generator) -> Look:
    """A random pedestrian."""
    is_woman = bool(rng.random() < 0.5)
    return Look(
        build=_sample_build(rng, is_woman),
        hair=_sample_hair(rng, is_woman),
        clothes=_sample_clothes(rng, is_woman),
        colours=_sample_colours(rng),
        manner=_sample_manner(rng),
    )


def pick(rng: np.random.Generator, weights: Mapping[Key, float]) -> Key:
    """One key of ``weights``, as often as its value says."""
    shares = np.array(list(weights.values()), float)
    return list(weights)[rng.choice(len(shares), p=shares / shares.sum())]


def _sample_build(rng: np.random.Generator, is_woman: bool) -> Build:
    return Build(
        height=rng.normal(1.0, 0.05),
        girth=rng.normal(0.96 if is_woman else 1.03, 0.07),
        shoulders=rng.normal(0.92 if is_woman else 1.03, 0.04),
        hips=rng.normal(1.04 if is_woman else 0.97, 0.04),
        belly=abs(rng.normal(0, 0.02)),
        bust=rng.uniform(0.015, 0.035) if is_woman else 0.0,
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
    pack = rng.uniform(0.8, 1.15) if rng.random() < 0.26 else 0.0
    bag = pick(rng, {"": 0.62, "shoulder": 0.19, "hand": 0.19})
    return Clothes(
        sleeve=sleeve,
        leg=leg,
        top_looseness=rng.uniform(1.03, 1.2),
        bottom_looseness=rng.uniform(1.03, 1.35),
        hem=max(rng.uniform(0.86, 0.98), 0.88),
        skirt=skirt,
        flare=flare,
        is_one_piece=is_one_piece,
        pack=pack,
        bag="" if pack else bag,
        bag_side=int(rng.choice([-1, 1])),
        has_strap=bool(rng.random() < 0.7),
    )


def _sample_colours(rng: np.random.Generator) -> Colours:
    skins, hairs = (0.3, 0.34, 0.2, 0.1, 0.06), (0.5, 0.25, 0.13, 0.07, 0.05)
    return Colours(
        skin=_dye(rng, SKINS[rng.choice(5, p=skins)], 6),
        hair=_dye(rng, HAIRS[rng.choice(5, p=hairs)], 0),
        top=_cloth(rng, TOPS),
        second=_cloth(rng, TOPS),
        bottom=_cloth(rng, BOTTOMS),
        shoe=_dye(rng, CLOTHS[pick(rng, SHOES)], 0),
        pack=_cloth(rng, TOPS),
        bag=_cloth(rng, TOPS),
        pattern=pick(rng, PATTERNS),
        frequency=rng.uniform(5, 13),
        phases=tuple(rng.uniform(0, 6, 4)),
    )


def _cloth(rng: np.random.Generator, weights: dict[str, int]) -> Colour:
    return _dye(rng, CLOTHS[pick(rng, weights)], 4)


def _dye(rng: np.random.Generator, colour: Colour | np.ndarray, spread: float) -> Colour:
    return tuple(np.clip(colour + rng.normal(0, spread, 3), 8, 248))


def _sample_manner(rng: np.random.Generator) -> Manner:
    return Manner(
        stride=rng.uniform(0.22, 0.44),
        knee=rng.uniform(0.45, 0.9),
        swing=rng.uniform(0.15, 0.55),
        elbow=rng.uniform(0.15, 0.5),
        spread=rng.uniform(0.04, 0.16),
        lean=rng.normal(0.03, 0.03),
    )
