"""Move the limbs of a person to another pose, one by one and without learning.

Ten parts, each cut out of the picture along the source's joints, moved to the target's by its own
affine map, and laid over those before it, far ones first: legs, torso, arms, head. Nothing fills
the place where the person stood, and an arm behind the torso is laid in front of it. A part with a
joint unseen in either pose is left out, and so is one shorter than a pixel; without the torso,
which gives all others their width, nothing is left.

It is what a generator with ``limbs`` is shown beside the source, and by itself the cheapest
baseline of any generator. A map is sampled backwards: it takes places (x, y, 1) of the picture that
comes out to places (x, y) of the source.

Shapes: B pictures of H x W pixels, P parts; poses are (B, 18, 2) pixels, NaN where unseen.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = 2, 3, 4, 5, 6, 7
R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE = 8, 9, 10, 11, 12, 13
NECK, FACE = 1, [0, 14, 15, 16, 17]  # nose, eyes, ears: one of them is enough to place a head
CORNERS = [R_SHOULDER, L_SHOULDER, L_HIP, R_HIP]

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
LIMBS = (*LEGS, *ARMS)
TORSO = len(LEGS)  # its place among the parts; the head comes last
BEYOND = 0.5  # feet and hands lie this many half widths beyond ankle and wrist
SHORTEST = 1.0  # pixels
DIAGONAL = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0))  # there two triangles overlap


class Parts(NamedTuple):
    """Masks (B, P, H, W) in [0, 1], 0 where a part is left out, and maps (B, P, 2, 3)."""

    masks: Tensor
    maps: Tensor


def warp_limbs(image: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Bring a picture (B, 3, H, W) from pose ``source`` to pose ``target``.

    Returns:
        What the parts show, (B, 3, H, W), times how much of a pixel they cover, and that cover,
        (B, 1, H, W) in [0, 1].
    """
    masks, maps = parts(source, target, (image.shape[-2], image.shape[-1]))
    moved = _sampled(image, maps)
    shown, cover = torch.zeros_like(image), torch.zeros_like(image[:, :1])
    for place in range(masks.shape[1]):
        mask = masks[:, place, None]
        shown = shown.lerp(moved[:, :, place], mask)
        cover = cover.lerp(torch.ones_like(cover), mask)
    return shown, cover


def _sampled(image: Tensor, maps: Tensor) -> Tensor:
    """The whole picture under each map, borders repeated: (B, 3, P, H, W)."""
    height, width = image.shape[-2:]
    per_pixel = torch.tensor([2 / width, 2 / height], device=image.device)
    corner = torch.tensor([1 / width - 1, 1 / height - 1], device=image.device)
    maps = maps * per_pixel[:, None]  # from pixels to [-1, 1] between the outer edges
    maps = torch.cat([maps[..., :2], maps[..., 2:] + corner[:, None]], -1)
    places = _pixels(height, width, image.device).T @ maps.mT  # (B, P, H * W, 2)
    grid = places.reshape(len(image), -1, width, 2).to(image.dtype)
    moved = F.grid_sample(image.contiguous(), grid, padding_mode="border", align_corners=False)
    return moved.unflatten(2, (-1, height))


def _pixels(height: int, width: int, device: torch.device) -> Tensor:
    """(x, y, 1) of every pixel, (3, H * W), row by row."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).flatten(1).float()


def parts(source: Tensor, target: Tensor, size: tuple[int, int]) -> Parts:
    """Mask and map of the ten parts, far to near."""
    lengths = torso_length(source), torso_length(target)
    near, far, half = zip(*LIMBS, strict=True)
    ours, theirs = _limbs(source, near, far), _limbs(target, near, far)
    heads = _head(source), _head(target)
    ours, theirs = torch.cat([ours, heads[0]], 1), torch.cat([theirs, heads[1]], 1)
    halves = torch.tensor([*half, HEAD], device=source.device) * lengths[1][:, None]
    corners = torso_corners(source, lengths[0]), torso_corners(target, lengths[1])

    masks = [capsules(theirs, halves, size), quadrilaterals(corners[1], size)[:, None]]
    maps = [similarity(ours, theirs), affine(corners[1], corners[0])[:, None]]
    has_torso = (torch.stack(lengths).amin(0) >= SHORTEST)[:, None]  # False for NaN
    known = _in_order([_is_long(ours) & _is_long(theirs), has_torso]) & has_torso
    return Parts(
        torch.where(known[..., None, None], _in_order(masks), 0),
        torch.where(known[..., None, None], _in_order(maps), 0),
    )


def _limbs(xy: Tensor, near: tuple[int, ...], far: tuple[int, ...]) -> Tensor:
    """Both ends of limbs, (B, P, 2, 2)."""
    return torch.stack([xy[:, list(near)], xy[:, list(far)]], 2)


def _in_order(limbs_and_torso: list[Tensor]) -> Tensor:
    """What belongs to limbs and head, and what belongs to the torso, as parts are laid."""
    limbs, torso = limbs_and_torso
    return torch.cat([limbs[:, :TORSO], torso, limbs[:, TORSO:]], 1)


def _is_long(limbs: Tensor) -> Tensor:
    """Whether limbs (B, P, 2, 2) are seen, and long enough to know their direction: (B, P)."""
    return (limbs[:, :, 1] - limbs[:, :, 0]).norm(dim=-1) >= SHORTEST  # False for NaN


def torso_length(xy: Tensor) -> Tensor:
    """Pixels from the middle of the shoulders to that of the hips, (B,); NaN where unseen."""
    shoulders, hips = xy[:, [R_SHOULDER, L_SHOULDER]].mean(1), xy[:, [R_HIP, L_HIP]].mean(1)
    return (hips - shoulders).norm(dim=-1)


def torso_corners(xy: Tensor, length: Tensor) -> Tensor:
    """Shoulders and hips of poses, (B, 4, 2), each a bit further out than the joint.

    So a torso seen from the side, whose joints lie on one line, still has a width.
    """
    right, left = xy[:, [R_SHOULDER, R_HIP]].mean(1), xy[:, [L_SHOULDER, L_HIP]].mean(1)
    down = xy[:, [R_HIP, L_HIP]].mean(1) - xy[:, [R_SHOULDER, L_SHOULDER]].mean(1)
    aside = torch.stack([-down[:, 1], down[:, 0]], 1) / length[:, None]
    is_front = ((right - left) * aside).sum(1, keepdim=True) >= 0
    outward = PADDING * length[:, None] * torch.where(is_front, aside, -aside)
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0], device=xy.device)
    return xy[:, CORNERS] + outward[:, None] * signs[:, None]


def _head(xy: Tensor) -> Tensor:
    """From the neck to the mean of the joints seen on the head: (B, 1, 2, 2)."""
    return torch.stack([xy[:, NECK], xy[:, FACE].nanmean(1)], 1)[:, None]


def affine(places: Tensor, to: Tensor) -> Tensor:
    """The maps (B, 2, 3) that take places (B, n, 2), n at least 3, nearest to others (B, n, 2)."""
    ones = torch.ones_like(places[..., :1])
    known = torch.cat([places, ones], -1).nan_to_num().double()
    return (torch.linalg.pinv(known) @ to.nan_to_num().double()).transpose(-1, -2).float()


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """The maps (B, P, 2, 3) that turn and scale limbs of the target (B, P, 2, 2) into the source's.

    With limbs as complex numbers that is one division.
    """
    theirs, ours = target[:, :, 1] - target[:, :, 0], source[:, :, 1] - source[:, :, 0]
    scale = theirs.square().sum(-1)
    real = (ours * theirs).sum(-1) / scale
    imaginary = (ours[..., 1] * theirs[..., 0] - ours[..., 0] * theirs[..., 1]) / scale
    turn = torch.stack([real, -imaginary, imaginary, real], -1).unflatten(-1, (2, 2))
    shift = source[:, :, 0] - (turn @ target[:, :, 0, :, None])[..., 0]
    return torch.cat([turn, shift[..., None]], -1)


def capsules(limbs: Tensor, halves: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (B, P, H, W) of the pixels within ``halves`` (B, P) of limbs (B, P, 2, 2).

    They reach a bit beyond the far end; the edge is two pixels wide.
    """
    start, along = limbs[:, :, 0], limbs[:, :, 1] - limbs[:, :, 0]  # (B, P, 2)
    length = along.norm(dim=-1)
    x, y = (along / length[..., None]).unbind(-1)
    turn = torch.stack([x, y, -y, x], -1).unflatten(-1, (2, 2))  # to along and across the limb
    shift = -(turn @ start[..., None])
    u, v = (torch.cat([turn, shift], -1) @ _pixels(*size, limbs.device)).unbind(2)
    end = (length + BEYOND * halves)[..., None]
    beyond = u - torch.minimum(u.clamp(min=0), end)
    return _soft(halves[..., None] - torch.hypot(beyond, v)).unflatten(-1, size)


def quadrilaterals(corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (B, H, W) of the pixels inside four corners (B, 4, 2) in turn, edges two pixels wide.

    A quadrilateral is the union of two triangles, so one that crosses itself (a person who twists)
    is filled too; a triangle without area has no inside.
    """
    both = corners[:, [[0, 1, 2], [2, 3, 0]]]  # (B, 2, 3, 2); the last side is the diagonal
    sides = both.roll(-1, 2) - both
    area = _cross(sides[:, :, 0], sides[:, :, 1])  # of the parallelogram, signed
    inward = sides * area.sign()[..., None, None] / sides.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    x, y = inward.unbind(-1)
    lines = torch.stack([-y, x, -_cross(inward, both)], -1)  # (B, 2, 3, 3): depth of (x, y, 1)
    lines = lines + torch.tensor(DIAGONAL, device=corners.device)
    depth = (lines @ _pixels(*size, corners.device)).amin(2)  # (B, 2, H * W)
    depth = depth.masked_fill(area[..., None] == 0, -torch.inf)
    return _soft(depth.amax(1)).unflatten(-1, size)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _soft(depth: Tensor) -> Tensor:
    """From pixels inside an edge to a mask in [0, 1]."""
    return (depth / 2 + 0.5).clamp(0, 1)
