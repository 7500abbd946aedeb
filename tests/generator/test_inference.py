"""A generator made ready to draw: the pictures of before, to the digits of single precision."""

import copy

import pytest
import torch

from reid_aug.generator import GeneratorConfig, ready_to_generate
from reid_aug.generator.inference import InferenceWinograd
from reid_aug.generator.winograd import Workspace
from tests.generator.test_generator import inputs, randomised

CPU = torch.device("cpu")


def plain(channels: int, out: int, bias: bool = True) -> torch.nn.Conv2d:
    torch.manual_seed(0)
    return torch.nn.Conv2d(channels, out, 3, bias=bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(6, 6), (10, 18), (34, 18)])
def test_a_convolution_is_that_of_the_plain_sum_to_single_precision(size, bias):
    layer = plain(64, 48, bias)
    picture = torch.randn(3, 64, *size)

    with torch.no_grad():
        found = InferenceWinograd(layer, Workspace())(picture)
        usual = layer(picture)
        exact = copy.deepcopy(layer).double()(picture.double())

    assert found.shape == exact.shape
    assert (found - exact).abs().max() < 5e-6
    assert (found - exact).std() < 6 * (usual - exact).std()


def test_a_size_that_no_tiles_fill_is_left_to_the_plain_sum():
    layer = plain(8, 8)
    picture = torch.randn(2, 8, 9, 18)

    with torch.no_grad():
        assert torch.equal(InferenceWinograd(layer, Workspace())(picture), layer(picture))


@pytest.mark.parametrize(("batch", "side"), [(1, 6), (2, 14)])
def test_layers_share_memory_and_do_not_spoil_each_other(batch, side):
    room, layer = Workspace(), plain(32, 64, bias=False)
    first, second = InferenceWinograd(layer, room), InferenceWinograd(plain(64, 32), room)
    picture = torch.randn(batch, 32, side, side)

    with torch.no_grad():
        before = first(picture)
        kept = before.clone()
        second(torch.nn.functional.pad(before, (1, 1, 1, 1)))

    assert torch.equal(before, kept)


def test_it_works_in_any_mode_after_any_other():
    layer, picture = InferenceWinograd(plain(32, 32), Workspace()), torch.randn(1, 32, 10, 10)

    with torch.inference_mode():
        drawn = layer(picture)

    with torch.no_grad():
        assert torch.equal(layer(picture), drawn)


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig(joints=5, width=24, blocks=3),
        GeneratorConfig(joints=5, width=24, blocks=3, norm="instance"),
        GeneratorConfig(joints=5, width=12, blocks=2, downsamplings=3, limbs=True),
    ],
    ids=lambda config: f"{config.norm}-{config.downsamplings}",
)
def test_a_generator_ready_to_draw_draws_as_before(config):
    generator = randomised(config)
    limbs = torch.rand(2, 4, 64, 32) if config.limbs else None
    batch = (*inputs(config, 64, 32), None, limbs)
    with torch.no_grad():
        before = generator(*batch)

    ready = ready_to_generate(generator, CPU)

    with torch.inference_mode():
        after = ready(*batch)
    assert any(isinstance(module, InferenceWinograd) for module in ready.modules())
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


def test_few_channels_stay_with_the_plain_sum():
    ready = ready_to_generate(randomised(GeneratorConfig(joints=5, width=8, blocks=2)), CPU)

    assert not any(isinstance(module, InferenceWinograd) for module in ready.modules())
