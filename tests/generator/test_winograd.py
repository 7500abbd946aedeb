"""Winograd's convolutions: sums and gradients equal PyTorch's own to the precision of the type."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reid_aug.generator import Generator, GeneratorConfig, ready_to_train
from reid_aug.generator.winograd import Convolution, Winograd, Workspace, transforms
from reid_aug.stages.train_generator.pairs import PairBatch
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.trainer import Trainer

CPU = torch.device("cpu")
NETWORK = GeneratorConfig(joints=18, width=24, blocks=2)
SETTINGS = TrainGeneratorConfig(
    steps=4, batch=4, discriminator_width=24, discriminator_blocks=1, pool=2
)


def batch(size: int = 4, height: int = 32, width: int = 32) -> PairBatch:
    """Noise; 16 tiles at the smallest size of the networks."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(2, size, height, width, 3), dtype=np.uint8)
    xy = (rng.random((2, size, 18, 2)) * (width, height)).astype(np.float32)
    return PairBatch(
        *(torch.from_numpy(one) for one in (*pixels, *xy, np.ones((size, 2), np.int64)))
    )


def gradients(layer, features, gradient):
    """The output of a layer, and the gradients of the input and of every parameter."""
    features = features.detach().requires_grad_()
    found = layer(features)
    return [found, *torch.autograd.grad(found, [features, *layer.parameters()], gradient)]


def winograds(network: torch.nn.Module) -> int:
    return sum(isinstance(module, Winograd) for module in network.modules())


def test_the_maps_of_one_axis_give_four_sums_of_three_products():
    rng = np.random.default_rng(0)
    signal, taps = rng.normal(size=6), rng.normal(size=3)
    tile, kernel, output = transforms()

    found = output @ ((kernel @ taps) * (tile @ signal))

    np.testing.assert_allclose(found, np.correlate(signal, taps, "valid"), atol=1e-12)


@pytest.mark.parametrize("size", [(6, 6), (10, 14)])
def test_gradients_equal_finite_differences(size):
    workspace = Workspace(torch.float64)
    features = torch.randn(2, 2, *size, dtype=torch.double, requires_grad=True)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.double, requires_grad=True)

    assert torch.autograd.gradcheck(
        lambda *both: Convolution.apply(*both, workspace), (features, weight)
    )


@pytest.mark.parametrize("of", ["features", "weight"])
def test_a_single_gradient_equals_that_of_the_direct_sum(of):
    workspace = Workspace()
    features, weight = torch.randn(2, 8, 10, 18), torch.randn(16, 8, 3, 3)
    one = features if of == "features" else weight
    one.requires_grad_()

    Convolution.apply(features, weight, workspace).square().sum().backward()

    found, one.grad = one.grad, None
    F.conv2d(features, weight).square().sum().backward()
    torch.testing.assert_close(found, one.grad, atol=1e-2, rtol=1e-4)
    assert sum(tensor.grad is not None for tensor in (features, weight)) == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "out"), [(256, 128), (128, 256)])
def test_sums_and_gradients_equal_the_direct_ones_to_single_precision(channels, out, bias):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(channels, out, 3, bias=bias).to(memory_format=torch.channels_last)
    features = torch.randn(2, channels, 34, 18).to(memory_format=torch.channels_last)
    gradient = torch.randn(2, out, 32, 16)

    found = gradients(Winograd(layer, Workspace()), features, gradient)
    direct = gradients(layer, features, gradient)
    exact = gradients(copy.deepcopy(layer).double(), features.double(), gradient.double())

    for ours, theirs, true in zip(found, direct, exact, strict=True):
        assert ours.shape == true.shape
        assert (ours - true).abs().max() < 2e-5 * true.std()
        assert (ours - true).std() < 8 * (theirs - true).std()


@pytest.mark.parametrize("size", [(2, 8, 9, 18), (1, 8, 6, 6)], ids=["no tiles fill it", "few"])
def test_the_direct_sum_computes_few_tiles_and_sizes_that_tiles_do_not_fill(size):
    layer, features = torch.nn.Conv2d(8, 8, 3), torch.randn(size)

    assert torch.equal(Winograd(layer, Workspace())(features), layer(features))


def test_two_layers_of_one_workspace_have_separate_gradients():
    torch.manual_seed(0)
    workspace = Workspace()
    pad, first, second = torch.nn.ReflectionPad2d(1), *(torch.nn.Conv2d(8, 8, 3) for _ in "ab")
    plain = torch.nn.Sequential(pad, first, pad, second)
    tiled = torch.nn.Sequential(pad, Winograd(first, workspace), pad, Winograd(second, workspace))
    features, gradient = torch.randn(2, 2, 8, 16, 16)

    found, direct = (gradients(layers, features, gradient) for layers in (tiled, plain))

    for ours, theirs in zip(found, direct, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_a_network_prepared_for_training_keeps_its_parameters_and_their_names():
    network = Generator(NETWORK)
    names = [name for name, _ in network.named_parameters()]
    tensors = list(network.parameters())
    keys = list(network.state_dict())

    ready_to_train([network])

    assert winograds(network) == 8
    assert [name for name, _ in network.named_parameters()] == names
    assert all(a is b for a, b in zip(network.parameters(), tensors, strict=True))
    assert list(network.state_dict()) == keys


def test_only_training_in_single_precision_on_a_cpu_uses_tiles():
    trainers = {
        bf16: Trainer(NETWORK, replace(SETTINGS, bf16=bf16), 0, CPU) for bf16 in (False, True)
    }

    counts = {
        bf16: {name: winograds(network) for name, network in trainer.networks.items()}
        for bf16, trainer in trainers.items()
    }

    assert counts[False] == {"generator": 8, "appearance": 2, "pose": 2}
    assert set(counts[True].values()) == {0}


def test_a_training_step_with_tiles_equals_that_of_direct_sums_to_single_precision(monkeypatch):
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


def test_a_restored_training_with_tiles_ends_in_the_same_bytes():
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
