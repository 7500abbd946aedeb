"""The limbs of a person moved to another pose."""

import numpy as np
import pytest
import torch
from PIL import Image

from reid_aug.generator import to_signed
from reid_aug.generator.limb_warp import Parts, parts, quadrilaterals, warp_limbs

SIZE = (128, 64)
STANDING = torch.tensor(
    [[
        (32, 14), (32, 26), (22, 28), (18, 42), (16, 56), (42, 28), (46, 42), (48, 56),
        (26, 60), (25, 84), (24, 108), (38, 60), (39, 84), (40, 108),
        (30, 12), (34, 12), (28, 13), (36, 13),
    ]],
    dtype=torch.float32,
)  # fmt: skip
AWAY = torch.tensor([6.0, 4.0])


@pytest.fixture
def image():
    """Smooth noise, (1, 3, 128, 64) in [-1, 1]."""
    small = np.random.default_rng(0).integers(0, 256, (16, 8, 3), np.uint8)
    large = Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC)
    return to_signed(torch.from_numpy(np.array(large))[None])


def included(found: Parts) -> list[bool]:
    """Which of the ten parts are not omitted."""
    return [bool(mask.any()) for mask in found.masks[0]]


def test_equal_poses_do_not_change_the_covered_pixels(image):
    composite, cover = warp_limbs(image, STANDING, STANDING)

    assert all(included(parts(STANDING, STANDING, SIZE)))
    assert 1500 < cover.sum() < 3500
    torch.testing.assert_close(composite, cover * image, atol=1e-4, rtol=0)


def test_a_translated_pose_translates_the_parts(image):
    composite, cover = warp_limbs(image, STANDING, STANDING + AWAY)

    before = warp_limbs(image, STANDING, STANDING)[1]
    torch.testing.assert_close(cover[..., 4:, 6:], before[..., :-4, :-6], atol=1e-4, rtol=0)
    inside = (cover == 1)[0, 0, 4:, 6:]
    moved, original = composite[0, :, 4:, 6:], image[0, :, :-4, :-6]
    torch.testing.assert_close(moved[:, inside], original[:, inside], atol=1e-3, rtol=0)
    assert not composite[:, :, cover[0, 0] == 0].any()


def test_a_limb_turns_about_its_joint(image):
    raised = STANDING.clone()
    raised[0, [3, 4], :] = torch.tensor([(8.0, 28.0), (-6.0, 28.0)])  # the right arm, sideways

    masks, maps = parts(STANDING, raised, SIZE)

    upper_arm = maps[0, 5]
    for joint in (2, 3):
        place = upper_arm[:, :2] @ raised[0, joint] + upper_arm[:, 2]
        torch.testing.assert_close(place, STANDING[0, joint], atol=1e-3, rtol=0)
    assert masks[0, 5, 28, 12] == 1
    assert masks[0, 5, 42, 18] == 0


def test_near_parts_cover_far_ones():
    image = torch.zeros(1, 3, *SIZE)
    image[:, :, 36:, :20] = 1  # the right forearm and hand
    crossed = STANDING.clone()
    crossed[0, [3, 4]] = torch.tensor([(20.0, 42.0), (34.0, 44.0)])  # in front of the belly

    composite, cover = warp_limbs(image, STANDING, crossed)

    assert cover[0, 0, 44, 30] == 1
    assert (composite[0, :, 44, 30] > 0.9).all()
    assert (composite[0, :, 54, 32] < 0.1).all()


def test_a_torso_has_no_seam_and_a_torso_in_profile_has_a_width():
    side = STANDING.clone()
    side[0, [2, 5, 8, 11], 0] = 32

    for pose, least, most in ((STANDING, 14, 24), (side, 5, 10)):
        masks, maps = parts(STANDING, pose, SIZE)
        torso = masks[0, 4]
        assert least < torso[45].sum() < most
        assert (torso[40:50, 31:34] == 1).all()
        assert abs(torch.linalg.det(maps[0, 4, :, :2])) < 10
        assert maps.isfinite().all()
        assert masks.isfinite().all()


def test_a_torso_that_crosses_itself_is_filled():
    twisted = STANDING.clone()
    twisted[0, [8, 11]] = STANDING[0, [11, 8]]

    torso = parts(STANDING, twisted, SIZE).masks[0, 4]

    assert torso[32, 32] == 1
    assert torso[56, 30] == 1
    assert torso[44, 19] == 0


@pytest.mark.parametrize(
    "corners",
    [
        [(35, 30), (29, 30), (40, 60), (24, 60)],  # two padded corners coincide
        [(29.5, 30), (34.5, 30), (32, 60), (32, 60)],
    ],
)
def test_a_triangle_without_area_has_no_interior(image, corners):
    odd = STANDING.clone()
    odd[0, [2, 5, 11, 8]] = torch.tensor(corners, dtype=torch.float32)

    composite, cover = warp_limbs(image, STANDING, odd)

    assert composite.isfinite().all()
    assert not cover[..., :40, :8].any()


def test_three_collinear_corners_have_no_interior():
    line = torch.tensor([[(10.0, 10.0), (10.0, 20.0), (10.0, 30.0), (20.0, 20.0)]])

    mask = quadrilaterals(line, SIZE)[0]

    assert mask.isfinite().all()
    assert 80 < mask.sum() < 130
    assert not mask[:, 30:].any()


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(("joint", "lost"), [(4, 1), (3, 2), (9, 2), (1, 1), (0, 0), (2, 10)])
def test_parts_with_an_unseen_joint_are_omitted(image, joint, lost, both):
    blind = STANDING.clone()
    blind[0, joint] = torch.nan

    poses = (STANDING, blind) if both else (blind, STANDING)

    assert sum(included(parts(*poses, SIZE))) == 10 - lost
    assert all(one.isfinite().all() for one in warp_limbs(image, *poses))


def test_a_limb_shorter_than_a_pixel_is_omitted():
    short = STANDING.clone()
    short[0, 4] = short[0, 3] + 0.5

    assert included(parts(short, STANDING, SIZE)) == [True] * 7 + [False] + [True] * 2


def test_images_of_a_batch_are_independent(image):
    images = torch.cat([image, -image])
    sources = torch.cat([STANDING, STANDING - AWAY])
    targets = torch.cat([STANDING + AWAY, STANDING])

    together = warp_limbs(images, sources, targets)

    for row in range(2):
        single = warp_limbs(*(one[row : row + 1] for one in (images, sources, targets)))
        for one, part in zip(single, together, strict=True):
            torch.testing.assert_close(one[0], part[row])
