"""The colours of a surface: skin, cloth, patterns, straps, the face and wrinkles."""

import numpy as np

from reid_aug.people.anatomy import WAIST
from reid_aug.people.appearance import Appearance
from reid_aug.people.body import Bone
from reid_aug.people.palette import Colour
from reid_aug.people.surface import Part, Surface

RUBBER = (34, 34, 36)
EDGE = 0.012  # half the width of the soft border between two garments, metres


def paint(surface: Surface, appearance: Appearance) -> np.ndarray:
    """The colour of every point under white light, (n, 3) float32 in [0, 255]."""
    colours = np.empty((len(surface.points), 3))
    colours[:] = appearance.colours.skin
    _dress_torso(colours, surface, appearance)
    _dress_limbs(colours, surface, appearance)
    _dress_below_waist(colours, surface, appearance)
    _load(colours, surface, appearance)
    _colour_head(colours, surface, appearance)
    _wrinkle(colours, surface, appearance)
    return np.clip(colours, 4, 252).astype(np.float32)


def _top_colours(surface: Surface, appearance: Appearance) -> np.ndarray:
    """The colour (n, 3) that each point has if it belongs to the top."""
    colours = np.empty((len(surface.points), 3))
    colours[:] = appearance.colours.top
    second, frequency = np.array(appearance.colours.second), appearance.colours.frequency
    sideways, _, height = surface.points.T
    aside, front = np.abs(sideways), np.cos(surface.around)
    if appearance.colours.pattern == "plaid":
        waves = np.sin(height * frequency * 8), np.sin(sideways * frequency * 9)
        lines = (np.stack(waves) > 0.3).sum(axis=0)
        result: np.ndarray = colours + lines[:, None] * 0.35 * (second - colours)
        return result
    where = {
        "plain": np.zeros(len(colours), bool),
        "across": np.sin(height * frequency * 9) > 0.2,
        "upright": np.sin(sideways * frequency * 14) > 0.4,
        "two_blocks": height > 1.26,
        "logo": (front > 0.45) & (aside < 0.085) & (height > 1.16) & (height < 1.31),
        "back_print": (front < -0.4) & (aside < 0.10) & (height > 1.12) & (height < 1.33),
        "open": (front > 0.2) & (aside < 0.055) & (height < 1.43),
    }
    colours[where[appearance.colours.pattern]] = second
    return colours


def _blend(colours: np.ndarray, share: np.ndarray, cloth: Colour | np.ndarray) -> None:
    """Mix ``cloth`` into ``colours`` in place; ``share`` is (n,) in [0, 1]."""
    colours += share[:, None] * (np.asarray(cloth) - colours)


def _below(height: np.ndarray, border: np.ndarray | float) -> np.ndarray:
    """1 below a border, 0 above it, with a linear transition between."""
    return np.clip((border - height) / (2 * EDGE) + 0.5, 0, 1)


def _dress_torso(colours: np.ndarray, surface: Surface, appearance: Appearance) -> None:
    clothes, height = appearance.clothes, surface.points[:, 2]
    is_torso = surface.part == Part.TORSO
    colours[is_torso] = _top_colours(surface, appearance)[is_torso]
    hem = clothes.hem + 0.01 * np.sin(surface.around * 3 + appearance.colours.phases[0])
    if not clothes.is_one_piece:
        shadow = _below(height, hem) * (1 - _below(height, hem - 0.035))
        _blend(colours, is_torso * _below(height, hem), appearance.colours.bottom)
        colours *= 1 - 0.3 * (is_torso * shadow)[:, None]  # shadow of the top on the garment below
    low_neck = (0.05 if clothes.sleeve < 0.5 else 0.02) * np.clip(np.cos(surface.around), 0, 1)
    _blend(colours, is_torso * (1 - _below(height, 1.435 - low_neck)), appearance.colours.skin)


def _dress_limbs(colours: np.ndarray, surface: Surface, appearance: Appearance) -> None:
    clothes, part, along = appearance.clothes, surface.part, surface.along
    is_shoulder = (surface.other_bone == Bone.CHEST) & (along < 0.2)
    has_sleeve = (part == Part.ARM) & ((along < clothes.sleeve) | is_shoulder)
    colours[has_sleeve] = appearance.colours.top
    if appearance.colours.pattern in ("across", "plaid"):
        colours[has_sleeve] = _top_colours(surface, appearance)[has_sleeve]
    colours[(part == Part.FOREARM) & (along < clothes.sleeve - 1)] = appearance.colours.top
    colours[(part == Part.THIGH) & (along < max(clothes.leg, 0.12))] = appearance.colours.bottom
    colours[(part == Part.SHANK) & (along < clothes.leg - 1)] = appearance.colours.bottom
    for above, below, covered in (
        (Part.ARM, Part.FOREARM, clothes.sleeve),
        (Part.THIGH, Part.SHANK, clothes.leg),
    ):
        beyond = along + (part == below) - covered  # in limb lengths; the cuff throws a shadow
        is_shaded = ((part == above) | (part == below)) & (beyond > 0) & (beyond < 0.09)
        colours[is_shaded & ~is_shoulder] *= 0.78
    shoe = np.array(appearance.colours.shoe)
    is_sole = surface.points[:, 2] < 0.012
    colours[part == Part.FOOT] = shoe
    colours[(part == Part.FOOT) & is_sole] = shoe * 0.7 + 25


def _dress_below_waist(colours: np.ndarray, surface: Surface, appearance: Appearance) -> None:
    """Colour the skirt and the body below it.

    A thigh point that lies outside the cloth of a skirt or a hem takes the colour of that cloth.
    """
    clothes, height = appearance.clothes, surface.points[:, 2]
    is_body = (surface.part == Part.TORSO) | (surface.part == Part.THIGH)
    cloth = np.array(appearance.colours.bottom)
    if clothes.is_one_piece:
        cloth = np.array(appearance.colours.top)
    if clothes.skirt:
        is_leg = is_body | (surface.part == Part.SHANK)
        colours[is_leg & (height < WAIST) & (height > WAIST - clothes.skirt + 0.02)] = cloth
        is_skirt = surface.part == Part.SKIRT
        colours[is_skirt] = (
            _top_colours(surface, appearance)[is_skirt] if clothes.is_one_piece else cloth
        )
        if clothes.is_one_piece and appearance.colours.pattern == "open":
            colours[is_skirt & (np.cos(surface.around) > 0.85)] = appearance.colours.bottom
    elif not clothes.is_one_piece:
        colours[(surface.part == Part.THIGH) & (height > clothes.hem)] = appearance.colours.top


def _load(colours: np.ndarray, surface: Surface, appearance: Appearance) -> None:
    """Colour bags, their straps, the held object and the bicycle."""
    carried, part = appearance.luggage, surface.part
    sideways, _, height = surface.points.T
    front = np.cos(surface.around)
    pack, bag = np.array(appearance.colours.pack), np.array(appearance.colours.bag)
    colours[part == Part.PACK] = pack
    colours[(part == Part.PACK) & (np.abs(height - 1.30) < 0.012)] = pack * 0.65
    colours[part == Part.BAG] = bag
    colours[part == Part.HELD] = appearance.colours.held
    if carried.held == "umbrella":
        panel = np.sign(np.sin(surface.around * 4))
        colours[part == Part.HELD] *= (1 + 0.06 * panel[part == Part.HELD])[:, None]
    colours[part == Part.METAL] = appearance.colours.bicycle
    colours[part == Part.RUBBER] = RUBBER
    is_torso = part == Part.TORSO
    if carried.pack:
        is_strap = (np.abs(np.abs(sideways) - 0.095) < 0.022) & (height > 1.08) & (front > -0.2)
        colours[is_torso & is_strap] = pack * 0.8
    if carried.has_shoulder_bag and carried.has_strap:
        slant = -1.6 * (sideways * carried.side + 0.13)
        is_strap = (np.abs(height - 1.42 - slant) < 0.03) & (height > 0.98)
        colours[is_torso & is_strap] = bag * 0.8


def _colour_head(colours: np.ndarray, surface: Surface, appearance: Appearance) -> None:
    colours[surface.part == Part.HAIR] = appearance.colours.hair
    sideways, backwards, height = surface.points.T
    aside = np.abs(sideways)
    skin, hair = np.array(appearance.colours.skin), np.array(appearance.colours.hair)
    is_face = (surface.part == Part.HEAD) & (backwards < -0.035)
    is_eye = (np.abs(height - 1.618) < 0.011) & (np.abs(aside - 0.032) < 0.017)
    is_brow = (np.abs(height - 1.638) < 0.007) & (np.abs(aside - 0.034) < 0.022)
    is_mouth = (np.abs(height - 1.553) < 0.008) & (aside < 0.024)
    is_under_nose = (np.abs(height - 1.578) < 0.008) & (aside < 0.016)
    colours[is_face & is_eye] = skin * 0.55
    colours[is_face & is_brow] = 0.5 * skin + 0.35 * hair
    colours[is_face & is_mouth] *= (0.84, 0.62, 0.62)
    colours[is_face & is_under_nose] *= 0.82
    colours[(surface.part == Part.HEAD) & (height < 1.53)] *= 0.85  # under the chin
    if appearance.hair.length < 0:
        return
    is_scalp = (surface.part == Part.HEAD) & (backwards > 0.0) & (height > 1.57)
    colours[is_scalp] = hair


def _wrinkle(colours: np.ndarray, surface: Surface, appearance: Appearance) -> None:
    """Vary the brightness: folds of cloth and strands of hair."""
    sideways, _, height = surface.points.T
    around, phases = surface.around, appearance.colours.phases
    folds = 0.045 * np.sin(height * 31 + np.sin(around * 2 + phases[0]) * 2 + phases[1])
    folds += 0.045 * np.sin(height * 57 + around * 3 + phases[2])
    folds += 0.03 * np.sin(sideways * 60 + phases[3])
    is_smooth = np.isin(surface.part, (Part.HEAD, Part.HAND, Part.NECK, Part.METAL))
    colours *= 1 + np.where(is_smooth, 0, folds)[:, None]
    strands = 0.13 * np.sin(around * 11) * (surface.part == Part.HAIR)
    colours *= 1 + strands[:, None]
