"""The colours of a surface: skin, cloth, patterns, straps, a face, and wrinkles."""

import numpy as np

from reid_aug.people.body import Bone
from reid_aug.people.look import Look
from reid_aug.people.surface import WAIST, Part, Surface


def paint(surface: Surface, look: Look) -> np.ndarray:
    """The colour of every point under white light, (n, 3) float32 in [0, 255]."""
    colours = np.empty((len(surface.points), 3))
    colours[:] = look.colours.skin
    _dress_torso(colours, surface, look)
    _dress_limbs(colours, surface, look)
    _dress_below_waist(colours, surface, look)
    _load(colours, surface, look)
    _draw_head(colours, surface, look)
    _wrinkle(colours, surface, look)
    return np.clip(colours, 4, 252).astype(np.float32)


def _top_colours(surface: Surface, look: Look) -> np.ndarray:
    """What every point would have if it lay on the top: (n, 3)."""
    colours = np.empty((len(surface.points), 3))
    colours[:] = look.colours.top
    second, frequency = np.array(look.colours.second), look.colours.frequency
    sideways, _, height = surface.points.T
    aside, front = np.abs(sideways), np.cos(surface.around)
    if look.colours.pattern == "plaid":
        lines = (np.sin(height * frequency * 8) > 0.3) + 1.0 * (
            np.sin(sideways * frequency * 9) > 0.3
        )
        return colours + lines[:, None] * 0.35 * (second - colours)
    where = {
        "plain": np.zeros(len(colours), bool),
        "across": np.sin(height * frequency * 9) > 0.2,
        "upright": np.sin(sideways * frequency * 14) > 0.4,
        "two_blocks": height > 1.26,
        "logo": (front > 0.45) & (aside < 0.085) & (height > 1.16) & (height < 1.31),
        "back_print": (front < -0.4) & (aside < 0.10) & (height > 1.12) & (height < 1.33),
        "open": (front > 0.2) & (aside < 0.055) & (height < 1.43),
    }
    colours[where[look.colours.pattern]] = second
    return colours


def _dress_torso(colours: np.ndarray, surface: Surface, look: Look) -> None:
    clothes, height = look.clothes, surface.points[:, 2]
    is_torso = surface.part == Part.TORSO
    colours[is_torso] = _top_colours(surface, look)[is_torso]
    is_below_hem = height < clothes.hem + 0.012 * np.sin(surface.around * 3)
    if not clothes.is_one_piece:
        colours[is_torso & is_below_hem] = look.colours.bottom
    low_neck = 0.05 * np.clip(np.cos(surface.around), 0, 1) * (clothes.sleeve < 0.5)
    colours[is_torso & (height > 1.445 - low_neck)] = look.colours.skin


def _dress_limbs(colours: np.ndarray, surface: Surface, look: Look) -> None:
    clothes, part, along = look.clothes, surface.part, surface.along
    is_shoulder = surface.other_bone == Bone.CHEST
    has_sleeve = (part == Part.ARM) & ((along < clothes.sleeve) | is_shoulder)
    colours[has_sleeve] = look.colours.top
    if look.colours.pattern in ("across", "plaid"):
        colours[has_sleeve] = _top_colours(surface, look)[has_sleeve]
    colours[(part == Part.FOREARM) & (along < clothes.sleeve - 1)] = look.colours.top
    colours[(part == Part.THIGH) & (along < max(clothes.leg, 0.12))] = look.colours.bottom
    colours[(part == Part.SHANK) & (along < clothes.leg - 1)] = look.colours.bottom
    shoe = np.array(look.colours.shoe)
    is_sole = surface.points[:, 2] < 0.012
    colours[part == Part.FOOT] = shoe
    colours[(part == Part.FOOT) & is_sole] = shoe * 0.5 + 60


def _dress_below_waist(colours: np.ndarray, surface: Surface, look: Look) -> None:
    """The skirt and what lies under it.

    A thigh that pushes through a skirt or a hem takes the colour of the cloth it would push out.
    """
    clothes, height = look.clothes, surface.points[:, 2]
    is_body = (surface.part == Part.TORSO) | (surface.part == Part.THIGH)
    cloth = np.array(look.colours.bottom)
    if clothes.is_one_piece:
        cloth = np.array(look.colours.top)
    if clothes.skirt:
        is_leg = is_body | (surface.part == Part.SHANK)
        colours[is_leg & (height < WAIST) & (height > WAIST - clothes.skirt + 0.02)] = cloth
        is_skirt = surface.part == Part.SKIRT
        colours[is_skirt] = _top_colours(surface, look)[is_skirt] if clothes.is_one_piece else cloth
        if clothes.is_one_piece and look.colours.pattern == "open":
            colours[is_skirt & (np.cos(surface.around) > 0.85)] = look.colours.bottom
    elif not clothes.is_one_piece:
        colours[(surface.part == Part.THIGH) & (height > clothes.hem)] = look.colours.top


def _load(colours: np.ndarray, surface: Surface, look: Look) -> None:
    """Backpack, bag and their straps."""
    clothes, part = look.clothes, surface.part
    sideways, _, height = surface.points.T
    front = np.cos(surface.around)
    pack, bag = np.array(look.colours.pack), np.array(look.colours.bag)
    is_pack = part == Part.PACK
    colours[is_pack] = pack
    colours[is_pack & (surface.along > 0.55) & (front < 0)] = pack * 0.75
    colours[part == Part.BAG] = bag
    is_torso = part == Part.TORSO
    if clothes.pack:
        is_strap = (np.abs(np.abs(sideways) - 0.10) < 0.022) & (height > 1.08) & (front > -0.2)
        colours[is_torso & is_strap] = pack * 0.8
    if clothes.bag == "shoulder" and clothes.has_strap:
        slant = -1.6 * (sideways * clothes.bag_side + 0.13)
        is_strap = (np.abs(height - 1.42 - slant) < 0.03) & (height > 0.98)
        colours[is_torso & is_strap] = bag * 0.8


def _draw_head(colours: np.ndarray, surface: Surface, look: Look) -> None:
    colours[surface.part == Part.HAIR] = look.colours.hair
    sideways, backwards, height = surface.points.T
    aside = np.abs(sideways)
    is_face = (surface.part == Part.HEAD) & (backwards < 0)
    is_eye = (np.abs(height - 1.618) < 0.012) & (np.abs(aside - 0.032) < 0.016)
    is_brow = (np.abs(height - 1.638) < 0.006) & (np.abs(aside - 0.034) < 0.022)
    is_mouth = (np.abs(height - 1.553) < 0.007) & (aside < 0.025)
    colours[is_face & is_eye] = 45
    colours[is_face & is_brow] = look.colours.hair
    colours[is_face & is_mouth] *= (0.78, 0.55, 0.55)


def _wrinkle(colours: np.ndarray, surface: Surface, look: Look) -> None:
    """Cloth is never one colour; hair has strands."""
    sideways, _, height = surface.points.T
    around, phases = surface.around, look.colours.phases
    folds = 0.055 * np.sin(height * 31 + np.sin(around * 2 + phases[0]) * 2 + phases[1])
    folds += 0.045 * np.sin(height * 57 + around * 3 + phases[2])
    folds += 0.03 * np.sin(sideways * 60 + phases[3])
    is_skin = np.isin(surface.part, (Part.HEAD, Part.HAND, Part.NECK))
    colours *= 1 + np.where(is_skin, 0, folds)[:, None]
    strands = 0.25 * np.sin(around * 11) * (surface.part == Part.HAIR)
    colours *= 1 + strands[:, None]
