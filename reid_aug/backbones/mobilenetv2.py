"""Weights of MobileNetV2 in the names of torchvision and timm, for torchreid's network.

The three libraries build the same network (Sandler et al., CVPR 2018, arXiv:1801.04381) with other
names. Only torchreid's first bottleneck has one convolution more, 1x1 from 32 to 32 channels with
batch norm and ReLU6. Its input is the output of a ReLU6, so the identity in its place computes what
the other two compute: a kernel of ones on the diagonal, mean 0, and variance 1 - eps, since batch
norm divides by sqrt(variance + eps).
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

EXTRA = "conv2.0.conv1"  # the convolution that only torchreid has
CHANNELS, EPS = 32, 1e-5
BOTTLENECKS = {  # the groups of bottlenecks in torchreid's network, and how many each has
    "conv2": 1, "conv3": 2, "conv4": 3, "conv5": 4, "conv6": 3, "conv7": 3, "conv8": 1,
}  # fmt: skip
CONVOLUTION = ("weight",)
NORM = ("weight", "bias", "running_mean", "running_var")
BLOCK_PARTS = ("conv1.conv", "conv1.bn", "dwconv2.conv", "dwconv2.bn", "conv3.0", "conv3.1")
Layer = tuple[str, str]  # (name in the file, name in torchreid's network)


def torchreid_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors of a MobileNetV2 of torchvision or timm under torchreid's names.

    The classifier is left out. None if ``state`` is not such a network.
    """
    for layers in (_torchvision_layers, _old_torchvision_layers, _timm_layers):
        names = dict(_tensors(layers()))
        if names.keys() <= state.keys():
            return {ours: state[theirs] for theirs, ours in names.items()} | _identity()
    return None


def _tensors(layers: Iterator[Layer]) -> Iterator[Layer]:
    """The names of all tensors of convolutions and batch norms that take turns."""
    for place, (theirs, ours) in enumerate(layers):
        for part in NORM if place % 2 else CONVOLUTION:
            yield f"{theirs}.{part}", f"{ours}.{part}"


def _blocks() -> Iterator[tuple[int, int, str]]:
    """(group, place in it, name in torchreid's network) of every bottleneck."""
    for group, (name, count) in enumerate(BOTTLENECKS.items()):
        for place in range(count):
            yield group, place, f"{name}.{place}"


def _torchvision_layers(
    expanded: str = "0.0 0.1 1.0 1.1 2 3", plain: str = "0.0 0.1 1 2"
) -> Iterator[Layer]:
    yield from (("features.0.0", "conv1.conv"), ("features.0.1", "conv1.bn"))
    for number, (group, _, ours) in enumerate(_blocks(), 1):
        names = (expanded if group else plain).split()
        for theirs, own in zip(names, BLOCK_PARTS[-len(names) :], strict=True):
            yield f"features.{number}.conv.{theirs}", f"{ours}.{own}"
    yield from (("features.18.0", "conv9.conv"), ("features.18.1", "conv9.bn"))


def _old_torchvision_layers() -> Iterator[Layer]:
    """The names of torchvision 0.3, which counted the activations too."""
    return _torchvision_layers("0 1 3 4 6 7", "0 1 3 4")


def _timm_layers() -> Iterator[Layer]:
    yield from (("conv_stem", "conv1.conv"), ("bn1", "conv1.bn"))
    for group, place, ours in _blocks():
        names = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
        names = names if group else ["conv_dw", "bn1", "conv_pw", "bn2"]
        for theirs, own in zip(names, BLOCK_PARTS[-len(names) :], strict=True):
            yield f"blocks.{group}.{place}.{theirs}", f"{ours}.{own}"
    yield from (("conv_head", "conv9.conv"), ("bn2", "conv9.bn"))


def _identity() -> dict[str, Tensor]:
    """The tensors of the convolution that only torchreid has."""
    ones, zeros = torch.ones(CHANNELS), torch.zeros(CHANNELS)
    return {
        f"{EXTRA}.conv.weight": torch.eye(CHANNELS)[:, :, None, None],
        f"{EXTRA}.bn.weight": ones,
        f"{EXTRA}.bn.bias": zeros,
        f"{EXTRA}.bn.running_mean": zeros.clone(),
        f"{EXTRA}.bn.running_var": ones - EPS,
    }
