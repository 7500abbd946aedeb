"""The masks of the blocks: those that gate the change of the image, and the picture of them."""

import numpy as np
import pytest
import torch

from reid_aug.attention import attention_picture, busiest_channel, watched
from reid_aug.generator import Generator, GeneratorConfig
from reid_aug.pictures import TITLE
from reid_aug.poses import Pose

CONFIG = GeneratorConfig(width=4, blocks=3, cameras=2, limbs=True)
SIZE = (32, 16)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Generator(CONFIG).eval()


@pytest.fixture
def poses():
    rng = np.random.default_rng(0)
    return tuple(Pose((rng.random((18, 2)) * SIZE[::-1]).astype(np.float32)) for _ in range(2))


def test_a_mask_is_what_the_change_of_the_image_is_multiplied_with(generator):
    image, pose = torch.randn(2, 16, 8, 4), torch.randn(2, 16, 8, 4)
    block = generator.blocks[0]
    with watched(generator) as masks, torch.no_grad():
        after, _ = block(image, pose)
        change = block.image(image)

    assert masks[0].shape == (2, 16, 8, 4)
    assert torch.allclose(after - image, masks[0] * change, atol=1e-6)
    block(image, pose)
    assert len(masks) == 1  # watched no longer


def test_the_busiest_channel_is_that_of_the_largest_variance_over_blocks():
    masks = torch.full((4, 3, 2, 2), 0.5)
    masks[:, 1, 0, 0] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    masks[:, 2] = torch.linspace(0.4, 0.6, 4)[:, None, None]

    assert busiest_channel(masks) == 1


def test_the_picture_shows_source_pose_drawing_and_a_mask_a_block(generator, poses):
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    flat = np.full_like(image, 77)

    picture = np.asarray(attention_picture(generator, image, poses, (1, 2), flat))

    height, width = (2 * side for side in SIZE)
    assert picture.shape == (TITLE + 2 * height, 5 * width, 3)
    assert (picture[TITLE + height :, :width] == 77).all()
    masks = picture[TITLE:, 2 * width :].astype(int)
    assert (masks[..., 0] == masks[..., 1]).all()
    assert masks.min() >= 0
    assert masks.std() > 0


def test_each_mask_has_its_place_in_the_order_of_the_blocks(generator, poses):
    for number, block in enumerate(generator.blocks):
        torch.nn.init.zeros_(block.pose[-1].weight)
        block.pose[-1].register_parameter(
            "bias", torch.nn.Parameter(torch.full((16,), float(number - 1)))
        )
    image = np.zeros((*SIZE, 3), np.uint8)

    picture = np.asarray(attention_picture(generator, image, poses, (1, 1)))

    columns = picture[TITLE:, 4 * SIZE[1] :: 2 * SIZE[1]][10, :, 0]
    assert columns.tolist() == [round(255 / (1 + np.exp(-v))) for v in (-1, 0, 1)]
