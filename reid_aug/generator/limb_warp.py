"""Move the limbs of a person to another pose, part by part and without learning.

There are ten parts. Each is cut out of the image along the joints of the source, moved to the
joints of the target by its own affine map, and composited over the parts before it, in the order
legs, torso, arms, head. Nothing fills the source position of the person, and an arm behind the
torso appears in front of it. A part is omitted if one of its joints is unseen in either pose or if
it is shorter than a pixel. All parts are omitted without the torso, whose length sets their widths.

The result is an input of a limb-conditioned generator, and by itself the cheapest baseline for any
generator. Maps are sampled backwards: a map takes positions (x, y, 1) of the output to positions
(x, y) of the source.

Shapes: B images of H x W pixels, P parts; poses are (B, 18, 2) pixels, NaN for unseen joints.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = 2, 3, 4, 5, 6, 7
R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE = 8, 9, 10, 11, 12, 13
NECK, FACE = 1, [0, 14, 15, 16, 17]  # nose, eyes, ears: one of them suffices to locate the head
CORNERS = [R_SHOULDER, L_SHOULDER, L_HIP, R_HIP]

# Half widths as fractions of the torso's length, chosen by inspection: a change of 25% has hardly
# any effect.
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
MOVED_LIMBS = (*LEGS, *ARMS)
TORSO_PART = len(LEGS)  # its index among the parts; the head is the last part
BEYOND = 0.5  # feet and hands extend this many half widths beyond ankle and wrist
SHORTEST = 1.0  # pixels
DIAGONAL_LIMBS = (
    (0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0),
    (0.0, 0.0, 1.0),
)  # makes two triangles overlap at their common side


class Parts(NamedTuple):
    """The masks and maps of the parts."""

    masks: Tensor
    """(B, P, H, W) in [0, 1]; 0 for an omitted part."""

    maps: Tensor
    """(B, P, 2, 3), from the output to the source; 0 for an omitted part."""


def warp_limbs(image: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Move the parts of images (B, 3, H, W) from pose ``source`` to pose ``target``.

    Returns:
        The composited parts (B, 3, H, W), premultiplied by their coverage, and the coverage of
        each pixel, (B, 1, H, W) in [0, 1].
    """
    masks, maps = parts(source, target, (image.shape[-2], image.shape[-1]))
    moved = _sampled(image, maps)
    composite, cover = torch.zeros_like(image), torch.zeros_like(image[:, :1])
    for place in range(masks.shape[1]):
        mask = masks[:, place, None]
        composite = composite.lerp(moved[:, :, place], mask)
        cover = cover.lerp(torch.ones_like(cover), mask)
    return composite, cover


def _sampled(image: Tensor, maps: Tensor) -> Tensor:
    """The image sampled by each map, (B, 3, P, H, W); its border pixels are repeated outside."""
    height, width = image.shape[-2:]
    per_pixel = torch.tensor([2 / width, 2 / height], device=image.device)
    corner = torch.tensor([1 / width - 1, 1 / height - 1], device=image.device)
    maps = maps * per_pixel[:, None]  # from pixels to [-1, 1] between the outer edges
    maps = torch.cat([maps[..., :2], maps[..., 2:] + corner[:, None]], -1)
    places = _pixels(height, width, image.device).T @ maps.mT  # (B, P, H * W, 2)
    grid = places.reshape(len(image), -1, width, 2).to(image.dtype)
    moved = F.grid_sample(image.contiguous(), grid, padding_mode="border", align_corners=False)
    result: Tensor = moved.unflatten(2, (-1, height))
    return result


def _pixels(height: int, width: int, device: torch.device) -> Tensor:
    """The (x, y, 1) of every pixel, (3, H * W), row by row."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).flatten(1).float()


def parts(source: Tensor, target: Tensor, size: tuple[int, int]) -> Parts:
    """The mask and map of each of the ten parts, in the order in which they are composited."""
    lengths = torso_length(source), torso_length(target)
    near, far, half = zip(*MOVED_LIMBS, strict=True)
    source_limbs = torch.cat([_limbs(source, near, far), _head(source)], 1)
    target_limbs = torch.cat([_limbs(target, near, far), _head(target)], 1)
    halves = torch.tensor([*half, HEAD], device=source.device) * lengths[1][:, None]
    corners = torso_corners(source, lengths[0]), torso_corners(target, lengths[1])

    masks = [capsules(target_limbs, halves, size), quadrilaterals(corners[1], size)[:, None]]
    maps = [similarity(source_limbs, target_limbs), affine(corners[1], corners[0])[:, None]]
    has_torso = (torch.stack(lengths).amin(0) >= SHORTEST)[:, None]  # False for NaN
    known = _in_order([_is_long(source_limbs) & _is_long(target_limbs), has_torso]) & has_torso
    return Parts(
        torch.where(known[..., None, None], _in_order(masks), 0),
        torch.where(known[..., None, None], _in_order(maps), 0),
    )


def _limbs(xy: Tensor, near: tuple[int, ...], far: tuple[int, ...]) -> Tensor:
    """Both ends of each limb, (B, P, 2, 2)."""
    return torch.stack([xy[:, list(near)], xy[:, list(far)]], 2)


def _in_order(limbs_and_torso: list[Tensor]) -> Tensor:
    """Insert the value of the torso among those of limbs and head, at :data:`TORSO_PART`."""
    limbs, torso = limbs_and_torso
    return torch.cat([limbs[:, :TORSO_PART], torso, limbs[:, TORSO_PART:]], 1)


def _is_long(limbs: Tensor) -> Tensor:
    """Whether limbs (B, P, 2, 2) are seen and long enough to have a direction: (B, P) bool."""
    result: Tensor = (limbs[:, :, 1] - limbs[:, :, 0]).norm(dim=-1) >= SHORTEST  # False for NaN
    return result


def torso_length(xy: Tensor) -> Tensor:
    """The distance from mid-shoulder to mid-hip in pixels, (B,); NaN if a joint is unseen."""
    shoulders, hips = xy[:, [R_SHOULDER, L_SHOULDER]].mean(1), xy[:, [R_HIP, L_HIP]].mean(1)
    result: Tensor = (hips - shoulders).norm(dim=-1)
    return result


def torso_corners(xy: Tensor, length: Tensor) -> Tensor:
    """Shoulders and hips of poses, (B, 4, 2), each moved outwards by a padding.

    The padding gives a width to a torso in profile, whose joints lie on one line.
    """
    right, left = xy[:, [R_SHOULDER, R_HIP]].mean(1), xy[:, [L_SHOULDER, L_HIP]].mean(1)
    down = xy[:, [R_HIP, L_HIP]].mean(1) - xy[:, [R_SHOULDER, L_SHOULDER]].mean(1)
    aside = torch.stack([-down[:, 1], down[:, 0]], 1) / length[:, None]
    is_front = ((right - left) * aside).sum(1, keepdim=True) >= 0
    outward = PADDING * length[:, None] * torch.where(is_front, aside, -aside)
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0], device=xy.device)
    return xy[:, CORNERS] + outward[:, None] * signs[:, None]


def _head(xy: Tensor) -> Tensor:
    """The neck and the mean of the seen joints of the head: (B, 1, 2, 2)."""
    return torch.stack([xy[:, NECK], xy[:, FACE].nanmean(1)], 1)[:, None]


def affine(points: Tensor, to: Tensor) -> Tensor:
    """The least-squares maps (B, 2, 3) of points (B, n, 2), n at least 3, to points (B, n, 2)."""
    ones = torch.ones_like(points[..., :1])
    known = torch.cat([points, ones], -1).nan_to_num().double()
    result: Tensor = (torch.linalg.pinv(known) @ to.nan_to_num().double()).transpose(-1, -2).float()
    return result


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """The similarity maps (B, P, 2, 3) of target limbs (B, P, 2, 2) to source limbs (B, P, 2, 2).

    With limbs as complex numbers this is one division.
    """
    a, b = source[:, :, 1] - source[:, :, 0], target[:, :, 1] - target[:, :, 0]
    scale = b.square().sum(-1)
    real = (a * b).sum(-1) / scale
    imaginary = (a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1]) / scale
    turn = torch.stack([real, -imaginary, imaginary, real], -1).unflatten(-1, (2, 2))
    shift = source[:, :, 0] - (turn @ target[:, :, 0, :, None])[..., 0]
    return torch.cat([turn, shift[..., None]], -1)


def capsules(limbs: Tensor, halves: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (B, P, H, W) of the pixels within ``halves`` (B, P) of limbs (B, P, 2, 2).

    They extend beyond the far end by :data:`BEYOND` half widths; the soft edge is two pixels wide.
    """
    start, along = limbs[:, :, 0], limbs[:, :, 1] - limbs[:, :, 0]  # (B, P, 2)
    length = along.norm(dim=-1)
    x, y = (along / length[..., None]).unbind(-1)
    turn = torch.stack([x, y, -y, x], -1).unflatten(-1, (2, 2))  # to along and across the limb
    shift = -(turn @ start[..., None])
    u, v = (torch.cat([turn, shift], -1) @ _pixels(*size, limbs.device)).unbind(2)
    end = (length + BEYOND * halves)[..., None]
    beyond = u - torch.minimum(u.clamp(min=0), end)
    result: Tensor = _soft(halves[..., None] - torch.hypot(beyond, v)).unflatten(-1, size)
    return result


def quadrilaterals(corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (B, H, W) of the pixels inside four consecutive corners (B, 4, 2).

    The soft edge is two pixels wide. A quadrilateral is the union of two triangles, so that one
    that crosses itself (a twisted torso) is filled too; a triangle without area has no interior.
    """
    both = corners[:, [[0, 1, 2], [2, 3, 0]]]  # (B, 2, 3, 2); the last side is the diagonal
    sides = both.roll(-1, 2) - both
    area = _cross(sides[:, :, 0], sides[:, :, 1])  # of the parallelogram, signed
    inward = sides * area.sign()[..., None, None] / sides.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    x, y = inward.unbind(-1)
    lines = torch.stack([-y, x, -_cross(inward, both)], -1)  # (B, 2, 3, 3): depth of (x, y, 1)
    lines = lines + torch.tensor(DIAGONAL_LIMBS, device=corners.device)
    depth = (lines @ _pixels(*size, corners.device)).amin(2)  # (B, 2, H * W)
    depth = depth.masked_fill(area[..., None] == 0, -torch.inf)
    result: Tensor = _soft(depth.amax(1)).unflatten(-1, size)
    return result


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _soft(depth: Tensor) -> Tensor:
    """The depth inside an edge, in pixels, to a mask in [0, 1]."""
    return (depth / 2 + 0.5).clamp(0, 1)
