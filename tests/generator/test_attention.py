"""The masks of the blocks, which gate the change of the image code, and the image of them."""

import numpy as np
import pytest
import torch

from reid_aug.data.dataset import read_market1501, resize
from reid_aug.data.keypoints import Pose, read_keypoints
from reid_aug.data.pictures import TITLE
from reid_aug.generator import Generator, GeneratorConfig
from reid_aug.generator.attention import (
    COVER,
    MASK_COLOURS,
    End,
    attention_picture,
    busiest_channel,
    over,
    read_end,
    watched,
)
from reid_aug.runtime.errors import UserError

CONFIG = GeneratorConfig(width=4, blocks=3, cameras=2, limbs=True)
SIZE = (32, 16)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Generator(CONFIG).eval()


@pytest.fixture
def ends():
    """A source and a target: noise in one pose, and a uniform colour in another."""
    rng = np.random.default_rng(0)
    places = (rng.random((2, 18, 2)) * SIZE[::-1]).astype(np.float32)
    images = rng.integers(0, 256, (*SIZE, 3), np.uint8), np.full((*SIZE, 3), 77, np.uint8)
    return [End(images[i], Pose(places[i]), 1 + i) for i in range(2)]


def test_a_mask_is_the_factor_of_the_change_of_the_image_code(generator):
    image, pose = torch.randn(2, 16, 8, 4), torch.randn(2, 16, 8, 4)
    block = generator.blocks[0]
    with watched(generator) as masks, torch.no_grad():
        after, _ = block(image, pose)
        change = block.image(image)

    assert masks[0].shape == (2, 16, 8, 4)
    assert torch.allclose(after - image, masks[0] * change, atol=1e-6)
    block(image, pose)
    assert len(masks) == 1  # the hook is removed


def test_the_busiest_channel_has_the_largest_variance_over_the_blocks():
    masks = torch.full((4, 3, 2, 2), 0.5)
    masks[:, 1, 0, 0] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    masks[:, 2] = torch.linspace(0.4, 0.6, 4)[:, None, None]

    assert busiest_channel(masks) == 1


def test_the_image_shows_source_target_generated_image_and_a_mask_per_block(generator, ends):
    image = np.asarray(attention_picture(generator, *ends))

    height, width = (2 * side for side in SIZE)
    second = TITLE + height + TITLE
    assert image.shape == (second + height + 2 * TITLE, 5 * width, 3)
    assert (image[TITLE : TITLE + height, :width] == resize(ends[0].image, height, width)).all()
    assert (image[second : second + height, :width] == 77).all()
    for top in (TITLE, second):
        masks = image[top : top + height, 2 * width :].astype(int)
        assert masks.reshape(-1, 3).std(0).min() > 0  # no empty panel


def test_masks_are_colours_over_the_image_from_the_least_to_the_largest():
    image = np.full((4, 2, 3), 100, np.uint8)
    masks = torch.tensor([[[0.25]], [[0.5]], [[0.75]]])

    least, middle, most = (one[0, 0] for one in over(masks, image))

    for found, colour in zip((least, middle, most), MASK_COLOURS, strict=True):
        assert np.abs(found - (COVER * colour + (1 - COVER) * 100)).max() <= 1


def test_masks_are_in_the_order_of_the_blocks(generator, ends):
    for number, block in enumerate(generator.blocks):
        torch.nn.init.zeros_(block.pose[-1].weight)
        block.pose[-1].bias = torch.nn.Parameter(torch.full((16,), float(number - 1)))

    image = np.asarray(attention_picture(generator, *ends)).astype(int)

    first, _, last = image[TITLE:, 4 * SIZE[1] :: 2 * SIZE[1]][10]
    assert first[0] < last[0]  # dark blue before yellow
    assert first[2] > last[2]


def test_an_end_is_an_image_of_the_data_set_with_its_pose(people):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    image = next(one for one in dataset.query if poses[one.name].has_torso)

    end = read_end(dataset, poses, image.name, (64, 32))

    assert (end.image.shape, end.camid) == ((64, 32, 3), image.camid)
    whole = poses[image.name].xy
    assert np.nanmax(np.abs(end.pose.xy - whole / 2)) < 1
    with pytest.raises(UserError, match=f"got none; did you mean {image.name}"):
        read_end(dataset, poses, image.name[:-1], (64, 32))
