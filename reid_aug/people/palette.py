"""The colours of an appearance and the palettes that supply them.

The palette of ordinary clothes is deliberately short and greyish. Many people wear similar colours,
so colour is not sufficient to distinguish them. The difficulty setting defines the share of
garments that have a saturated colour instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Key = TypeVar("Key")
Colour = tuple[float, float, float]  # RGB in [0, 255]

SKINS = np.array(
    [[224, 182, 152], [205, 160, 128], [190, 142, 110], [150, 105, 78], [105, 72, 54]], float
)
HAIRS = np.array([[22, 20, 20], [35, 28, 24], [58, 40, 28], [96, 66, 40], [120, 116, 112]], float)
CLOTHS = {
    "white": (234, 234, 232),
    "grey": (205, 204, 201),
    "black": (23, 23, 26),
    "charcoal": (46, 47, 54),
    "slate": (105, 107, 111),
    "navy": (32, 40, 73),
    "denim": (62, 80, 118),
    "sky": (122, 146, 176),
    "beige": (196, 178, 142),
    "khaki": (128, 112, 84),
    "brown": (92, 70, 56),
}
VIVID = {
    "red": (186, 38, 44), "orange": (224, 122, 36), "yellow": (226, 200, 60),
    "green": (48, 134, 72), "teal": (28, 138, 146), "blue": (44, 82, 184),
    "purple": (122, 62, 150), "pink": (222, 110, 150), "magenta": (180, 40, 110),
}  # fmt: skip
TOPS = {"white": 14, "black": 14, "grey": 6, "charcoal": 6, "slate": 6, "navy": 5, "denim": 5}
BOTTOMS = {
    "black": 22, "navy": 14, "charcoal": 12, "denim": 10, "slate": 6, "sky": 4, "beige": 4,
    "khaki": 5, "brown": 2,
}  # fmt: skip
SHOES = {"white": 1, "black": 1, "slate": 1}

PATTERNS = {
    "plain": 0.55, "across": 0.05, "upright": 0.02, "logo": 0.14,
    "open": 0.12, "back_print": 0.07, "two_blocks": 0.03, "plaid": 0.02,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of an appearance and the pattern of its top."""

    skin: Colour
    hair: Colour
    top: Colour
    second: Colour  # of the pattern of the top
    bottom: Colour
    shoe: Colour
    pack: Colour
    bag: Colour
    held: Colour
    bicycle: Colour
    pattern: str  # a key of PATTERNS
    frequency: float  # of a striped or plaid pattern
    phases: tuple[float, float, float, float]  # positions of the wrinkles, radians


def sample_colours(rng: np.random.Generator, vivid: float) -> Colours:
    """Random colours; ``vivid`` is the probability of a saturated garment, in [0, 1]."""
    skins, hairs = (0.3, 0.34, 0.2, 0.1, 0.06), (0.5, 0.25, 0.13, 0.07, 0.05)
    return Colours(
        skin=_dye(rng, SKINS[rng.choice(5, p=skins)], 6),
        hair=_dye(rng, HAIRS[rng.choice(5, p=hairs)], 0),
        top=_cloth(rng, TOPS, vivid),
        second=_cloth(rng, TOPS, vivid),
        bottom=_cloth(rng, BOTTOMS, vivid * 0.7),
        shoe=_dye(rng, CLOTHS[pick(rng, SHOES)], 0),
        pack=_cloth(rng, TOPS, vivid),
        bag=_cloth(rng, TOPS, vivid),
        held=_cloth(rng, TOPS, max(vivid, 0.4)),
        bicycle=_cloth(rng, BOTTOMS, vivid),
        pattern=pick(rng, PATTERNS),
        frequency=rng.uniform(5, 13),
        phases=tuple(rng.uniform(0, 6, 4)),
    )


def pick(rng: np.random.Generator, weights: Mapping[Key, float]) -> Key:
    """A random key of ``weights``; its probability is proportional to its value."""
    shares = np.array(list(weights.values()), float)
    return list(weights)[rng.choice(len(shares), p=shares / shares.sum())]


def _cloth(rng: np.random.Generator, weights: dict[str, int], vivid: float) -> Colour:
    greyish, saturated = CLOTHS[pick(rng, weights)], VIVID[pick(rng, dict.fromkeys(VIVID, 1))]
    return _dye(rng, saturated if rng.random() < vivid else greyish, 4)


def _dye(rng: np.random.Generator, colour: Colour | np.ndarray, spread: float) -> Colour:
    return tuple(np.clip(colour + rng.normal(0, spread, 3), 8, 248))
