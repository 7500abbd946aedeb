"""Winograd's convolutions: the sums and gradients of PyTorch's own, to the digits of precision."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reid_aug.generator import Generator, GeneratorConfig, ready_to_train
from reid_aug.generator.winograd import Convolution, Winograd, Workspace, transforms
from reid_aug.stages.train_generator.pairs import Batch
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.trainer import Trainer

CPU = torch.device("cpu")
NETWORK = GeneratorConfig(joints=18, width=24, blocks=2)
SETTINGS = TrainGeneratorConfig(
    steps=4, batch=4, discriminator_width=24, discriminator_blocks=1, pool=2
)


def batch(size: int = 4, height: int = 32, width: int = 32) -> Batch:
    """Noise; 16 tiles where the networks are deepest."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(2, size, height, width, 3), dtype=np.uint8)
    xy = (rng.random((2, size, 18, 2)) * (width, height)).astype(np.float32)
    return Batch(*(torch.from_numpy(one) for one in (*pixels, *xy, np.ones((size, 2), np.int64))))


def gradients(layer, picture, asked):
    """What comes out, and the gradients of the picture and of every parameter."""
    picture = picture.detach().requires_grad_()
    found = layer(picture)
    return [found, *torch.autograd.grad(found, [picture, *layer.parameters()], asked)]


def winograds(network: torch.nn.Module) -> int:
    return sum(isinstance(module, Winograd) for module in network.modules())


def test_the_maps_of_one_axis_give_four_sums_of_three_products():
    rng = np.random.default_rng(0)
    signal, taps = rng.normal(size=6), rng.normal(size=3)
    tile, kernel, back = transforms()

    found = back @ ((kernel @ taps) * (tile @ signal))

    np.testing.assert_allclose(found, np.correlate(signal, taps, "valid"), atol=1e-12)


@pytest.mark.parametrize("size", [(6, 6), (10, 14)])
def test_gradients_are_those_of_differences(size):
    room = Workspace(torch.float64)
    picture = torch.randn(2, 2, *size, dtype=torch.double, requires_grad=True)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.double, requires_grad=True)

    assert torch.autograd.gradcheck(lambda *both: Convolution.apply(*both, room), (picture, weight))


@pytest.mark.parametrize("asked_for", ["picture", "weight"])
def test_one_gradient_alone_is_as_with_the_other(asked_for):
    room = Workspace()
    picture, weight = torch.randn(2, 8, 10, 18), torch.randn(16, 8, 3, 3)
    one = picture if asked_for == "picture" else weight
    one.requires_grad_()

    Convolution.apply(picture, weight, room).square().sum().backward()

    found, one.grad = one.grad, None
    F.conv2d(picture, weight).square().sum().backward()
    torch.testing.assert_close(found, one.grad, atol=1e-2, rtol=1e-4)
    assert sum(tensor.grad is not None for tensor in (picture, weight)) == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "out"), [(256, 128), (128, 256)])
def test_sums_and_gradients_are_those_of_the_plain_sum_to_single_precision(channels, out, bias):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(channels, out, 3, bias=bias).to(memory_format=torch.channels_last)
    picture = torch.randn(2, channels, 34, 18).to(memory_format=torch.channels_last)
    asked = torch.randn(2, out, 32, 16)

    found = gradients(Winograd(layer, Workspace()), picture, asked)
    usual = gradients(layer, picture, asked)
    exact = gradients(copy.deepcopy(layer).double(), picture.double(), asked.double())

    for ours, theirs, true in zip(found, usual, exact, strict=True):
        assert ours.shape == true.shape
        assert (ours - true).abs().max() < 2e-5 * true.std()
        assert (ours - true).std() < 8 * (theirs - true).std()


@pytest.mark.parametrize("size", [(2, 8, 9, 18), (1, 8, 6, 6)], ids=["no tiles fill it", "few"])
def test_what_is_not_worth_it_is_left_to_the_plain_sum(size):
    layer, picture = torch.nn.Conv2d(8, 8, 3), torch.randn(size)

    assert torch.equal(Winograd(layer, Workspace())(picture), layer(picture))


def test_two_layers_of_one_workspace_keep_their_gradients_apart():
    torch.manual_seed(0)
    room = Workspace()
    pad, first, second = torch.nn.ReflectionPad2d(1), *(torch.nn.Conv2d(8, 8, 3) for _ in "ab")
    plain = torch.nn.Sequential(pad, first, pad, second)
    tiled = torch.nn.Sequential(pad, Winograd(first, room), pad, Winograd(second, room))
    picture, asked = torch.randn(2, 2, 8, 16, 16)

    found, usual = (gradients(layers, picture, asked) for layers in (tiled, plain))

    for ours, theirs in zip(found, usual, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_a_network_ready_to_learn_has_the_same_parameters_under_the_same_names():
    network = Generator(NETWORK)
    names = [name for name, _ in network.named_parameters()]
    tensors = list(network.parameters())
    keys = list(network.state_dict())

    ready_to_train([network])

    assert winograds(network) == 8
    assert [name for name, _ in network.named_parameters()] == names
    assert all(a is b for a, b in zip(network.parameters(), tensors, strict=True))
    assert list(network.state_dict()) == keys


def test_a_training_in_single_precision_on_a_cpu_is_by_tiles_and_no_other():
    trainers = {
        bf16: Trainer(NETWORK, replace(SETTINGS, bf16=bf16), 0, CPU) for bf16 in (False, True)
    }

    counts = {
        bf16: {name: winograds(network) for name, network in trainer.networks.items()}
        for bf16, trainer in trainers.items()
    }

    assert counts[False] == {"generator": 8, "appearance": 2, "pose": 2}
    assert set(counts[True].values()) == {0}


def test_a_step_by_tiles_is_that_of_plain_sums_to_single_precision(monkeypatch):
    given = batch()
    ours = Trainer(NETWORK, SETTINGS, 0, CPU)
    with monkeypatch.context() as patch:
        patch.setattr(
            "reid_aug.stages.train_generator.trainer.ready_to_train", lambda networks: None
        )
        plain = Trainer(NETWORK, SETTINGS, 0, CPU)
    before = {name: tensor.clone() for name, tensor in plain.state().items()}
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state().items())

    for number in range(2):
        losses = plain.step(given, number)
        assert ours.step(given, number) == pytest.approx(losses, rel=1e-3)

    after = plain.state()
    assert ours.state().keys() == after.keys()
    assert not all(torch.equal(after[name], tensor) for name, tensor in ours.state().items())


def test_a_training_by_tiles_that_is_restored_goes_on_to_the_same_bytes():
    given = batch()
    whole = Trainer(NETWORK, SETTINGS, 0, CPU)
    whole.step(given, 0)
    middle = {name: tensor.clone() for name, tensor in whole.state().items()}
    whole.step(given, 1)

    resumed = Trainer(NETWORK, SETTINGS, 0, CPU)
    resumed.restore(middle)
    resumed.step(given, 1)

    end = whole.state()
    assert all(torch.equal(end[name], tensor) for name, tensor in resumed.state().items())
    assert not torch.equal(
        end["generator/blocks.0.image.1.weight"], middle["generator/blocks.0.image.1.weight"]
    )
