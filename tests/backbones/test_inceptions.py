"""Open-ReID's Inception; test_backbones.py tests BN-Inception."""

import pytest
import torch
from torch.nn import functional as F

from reid_aug.backbones.inceptions import OpenReidInception

CLASSES = 5


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return OpenReidInception(CLASSES)


def test_it_is_the_network_of_open_reid(network):
    blocks = [
        ("keep", 32, 64), ("halve", 256, 64), ("keep", 384, 128), ("halve", 512, 128),
        ("keep", 768, 256), ("halve", 1024, 256),
    ]  # fmt: skip
    expected = 3 * 32 * 9 + 2 * 32 * 32 * 9 + 3 * 64  # three convolutions and their norms
    for kind, channels, out in blocks:
        ones, threes = (4, 3) if kind == "keep" else (2, 3)
        expected += ones * channels * out + threes * out * out * 9 + 2 * out * (ones + threes)
    expected += 1536 * 128 + 128 + 2 * 128 + 128 * CLASSES + CLASSES

    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize("size", [(144, 56), (128, 64), (64, 32), (32, 16), (33, 17)])
def test_it_accepts_images_of_many_sizes(network, size):
    with torch.inference_mode():
        features = network.eval()(torch.randn(2, 3, *size))

    assert features.shape == (2, 128)
    assert (features >= 0).all()


def test_gradients_reach_every_parameter(network):
    logits = network.train()(torch.randn(4, 3, 64, 32))

    F.cross_entropy(logits, torch.arange(4)).backward()

    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_features_are_the_input_of_the_classifier_without_dropout():
    torch.manual_seed(0)
    network = OpenReidInception(CLASSES, with_features=True)
    network.dropout.p = 0.0

    logits, features = network.train()(torch.randn(4, 3, 64, 32))

    torch.testing.assert_close(logits, network.classifier(features))
