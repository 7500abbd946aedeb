"""A pose transfer that learns nothing: parts of the picture, cut out and laid where they belong.

Torso, head and the eight halves of arms and legs are carried from the source's joints to the
target's, each by its own affine map, and painted over the source picture, far parts first: legs,
torso, arms, head. Nothing fills the place where the person stood, and an arm behind the torso is
painted in front of it. A part with a joint unseen in either pose is left out; so are torso and
limbs of a length below a pixel.

A map is sampled backwards: it takes places (x, y, 1) of the picture that comes out to places (x, y)
of the source, and is stored as (2, 3).
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw
from skimage.transform import warp

R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = 2, 3, 4, 5, 6, 7
R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE = 8, 9, 10, 11, 12, 13
NECK, FACE = 1, (0, 14, 15, 16, 17)  # nose, eyes, ears: one of them is enough to place a head
CORNERS = (R_SHOULDER, L_SHOULDER, L_HIP, R_HIP)

# Half widths as parts of the torso's length, chosen by eye: a quarter more changes next to nothing.
PADDING, HEAD = 0.1, 0.28
LEGS = (
    (R_HIP, R_KNEE, 0.19),
    (L_HIP, L_KNEE, 0.19),
    (R_KNEE, R_ANKLE, 0.15),
    (L_KNEE, L_ANKLE, 0.15),
)
ARMS = (
    (R_SHOULDER, R_ELBOW, 0.13), (L_SHOULDER, L_ELBOW, 0.13),
    (R_ELBOW, R_WRIST, 0.1), (L_ELBOW, L_WRIST, 0.1),
)  # fmt: skip
BEYOND = 0.5  # feet and hands lie this many half widths beyond ankle and wrist
SHORTEST = 1.0  # pixels
SMOOTH = 4  # times larger a quadrilateral is drawn, for a soft edge

Limb = tuple[np.ndarray, np.ndarray]  # both ends, (2,) each
Part = tuple[np.ndarray, np.ndarray]  # mask (H, W) in [0, 1] and map (2, 3)


def limb_warp(image: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) uint8 of pose ``source`` brought to pose ``target``, both (18, 2)."""
    drawn = image.astype(float)
    for mask, back in parts(source, target, image.shape[:2]):
        whole = np.vstack([back, [0, 0, 1]])
        moved = warp(image, whole, order=1, mode="edge", preserve_range=True)
        drawn += mask[..., None] * (moved - drawn)
    return np.rint(drawn).astype(np.uint8)


def parts(source: np.ndarray, target: np.ndarray, size: tuple[int, int]) -> Iterator[Part]:
    """Mask and map of every part that both poses (18, 2) have, far to near."""
    lengths = torso_length(source), torso_length(target)
    if np.isnan(lengths).any() or min(lengths) < SHORTEST:
        return
    yield from _limbs(LEGS, source, target, lengths, size)
    corners = torso_corners(target, lengths[1])
    yield quadrilateral(corners, size), affine(corners, torso_corners(source, lengths[0]))
    yield from _limbs(ARMS, source, target, lengths, size)
    ours, theirs = ((xy[NECK], head_centre(xy)) for xy in (source, target))
    if is_drawn(ours) and is_drawn(theirs):
        yield capsule(theirs, HEAD * lengths[1], size), similarity(ours, theirs)


def _limbs(
    limbs: tuple[tuple[int, int, float], ...],
    source: np.ndarray,
    target: np.ndarray,
    lengths: tuple[float, float],
    size: tuple[int, int],
) -> Iterator[Part]:
    for near, far, half in limbs:
        ours, theirs = ((xy[near], xy[far]) for xy in (source, target))
        if is_drawn(ours) and is_drawn(theirs):
            yield capsule(theirs, half * lengths[1], size), similarity(ours, theirs)


def is_drawn(limb: Limb) -> bool:
    """Whether a limb is seen, and long enough to know its direction."""
    return bool(np.linalg.norm(limb[1] - limb[0]) >= SHORTEST)  # False for NaN


def torso_length(xy: np.ndarray) -> float:
    """Pixels from the middle of the shoulders to that of the hips; NaN where one is unseen."""
    shoulders, hips = xy[[R_SHOULDER, L_SHOULDER]].mean(0), xy[[R_HIP, L_HIP]].mean(0)
    return float(np.linalg.norm(hips - shoulders))


def torso_corners(xy: np.ndarray, length: float) -> np.ndarray:
    """Shoulders and hips of a pose, (4, 2), each a bit further out than the joint.

    So a torso seen from the side, whose joints lie on one line, still has a width.
    """
    right, left = xy[[R_SHOULDER, R_HIP]].mean(0), xy[[L_SHOULDER, L_HIP]].mean(0)
    x, y = xy[[R_HIP, L_HIP]].mean(0) - xy[[R_SHOULDER, L_SHOULDER]].mean(0)
    aside = np.array([-y, x]) / length  # a unit, to the person's right if seen from the front
    outward = PADDING * length * (aside if (right - left) @ aside >= 0 else -aside)
    return xy[list(CORNERS)] + outward * np.array([[1], [-1], [-1], [1]])


def head_centre(xy: np.ndarray) -> np.ndarray:
    """Mean of the joints seen on the head, (2,); NaN where there is none."""
    seen = xy[list(FACE)][~np.isnan(xy[list(FACE), 0])]
    return seen.mean(0) if len(seen) else np.full(2, np.nan)


def affine(places: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The map (2, 3) that takes places (n, 2), n at least 3, nearest to others (n, 2)."""
    ones = np.ones((len(places), 1))
    return np.linalg.lstsq(np.hstack([places, ones]), to, rcond=None)[0].T


def similarity(source: Limb, target: Limb) -> np.ndarray:
    """The map (2, 3) that turns and scales the target's limb into the source's."""
    (a, b), (c, d) = source, target
    ratio = complex(*(b - a)) / complex(*(d - c))
    turn = np.array([[ratio.real, -ratio.imag], [ratio.imag, ratio.real]])
    return np.hstack([turn, (a - turn @ c)[:, None]])


def capsule(limb: Limb, half: float, size: tuple[int, int]) -> np.ndarray:
    """Mask (H, W) in [0, 1] of the pixels within ``half`` of a limb and a bit beyond its far end.

    The edge is two pixels wide.
    """
    a, b = limb
    along = b - a
    reach = 1 + BEYOND * half / np.linalg.norm(along)
    y, x = np.mgrid[: size[0], : size[1]]
    place = np.stack([x, y], -1) - a
    nearest = np.clip(place @ along / (along @ along), 0, reach)
    away = np.linalg.norm(place - nearest[..., None] * along, axis=-1)
    return np.clip((half - away) / 2 + 0.5, 0, 1)


def quadrilateral(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mask (H, W) in [0, 1] of the pixels inside four corners (4, 2)."""
    large = Image.new("L", (size[1] * SMOOTH, size[0] * SMOOTH))
    ImageDraw.Draw(large).polygon([tuple(xy) for xy in (corners + 0.5) * SMOOTH], fill=255)
    return np.asarray(large.reduce(SMOOTH)) / 255
