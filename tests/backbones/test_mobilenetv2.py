"""MobileNetV2 of torchvision and timm in torchreid's network: the same features."""

import re

import pytest
import torch
import torchvision

from reid_aug.backbones import build_backbone, load_starting_weights
from reid_aug.backbones.mobilenetv2 import torchreid_weights
from reid_aug.runtime.errors import UserError


@pytest.fixture(scope="module")
def theirs():
    """torchvision's network with random weights and batch norms that do something."""
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v2(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.5)
            torch.nn.init.normal_(module.running_mean, std=0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def features_of(network, images):
    return network.features(images).mean((2, 3))


def timm_name(name):
    """The name in timm of a tensor of torchvision's MobileNetV2."""
    ends = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head",
            "features.18.1": "bn2"}  # fmt: skip
    module, _, part = name.rpartition(".")
    if module in ends:
        return f"{ends[module]}.{part}"
    found = re.fullmatch(r"features\.(\d+)\.conv\.(.+)", module)
    if not found:
        return name
    starts = [1, 2, 4, 7, 11, 14, 17]
    group = max(place for place, start in enumerate(starts) if start <= int(found[1]))
    layers = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl",
              "3": "bn3"}  # fmt: skip
    first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    layer = (layers if group else first)[found[2]]
    return f"blocks.{group}.{int(found[1]) - starts[group]}.{layer}.{part}"


def old_name(name):
    """The name in torchvision 0.3, where every layer of a bottleneck has one number."""
    found = re.fullmatch(r"(features\.(\d+)\.conv)\.(\d(?:\.\d)?)\.(\w+)", name)
    if not found:
        return name
    layers = {"0.0": 0, "0.1": 1, "1.0": 3, "1.1": 4, "2": 6, "3": 7}
    first = {"0.0": 0, "0.1": 1, "1": 3, "2": 4}
    return f"{found[1]}.{(first if found[2] == '1' else layers)[found[3]]}.{found[4]}"


NAMES = {"torchvision": lambda name: name, "torchvision 0.3": old_name, "timm": timm_name}


@pytest.mark.parametrize("rename", NAMES.values(), ids=NAMES.keys())
def test_the_features_are_those_of_the_network_that_the_weights_are_of(theirs, rename, tmp_path):
    path = tmp_path / "imagenet.pth"
    torch.save({rename(name): tensor for name, tensor in theirs.state_dict().items()}, path)
    model = build_backbone("mobilenetv2_x1_0", 7, 64, 32)
    images = torch.randn(2, 3, 64, 32)

    report = load_starting_weights(model, path)

    assert "imagenet.pth: 265 of" in report
    assert "classifier" in report
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(images), features_of(theirs, images))


def test_another_network_keeps_its_names_and_a_part_of_one_is_refused(theirs, tmp_path):
    state = theirs.state_dict()
    del state["features.9.conv.0.0.weight"]
    torch.save(state, tmp_path / "part.pth")

    assert torchreid_weights({"conv1.weight": torch.zeros(1)}) is None
    assert torchreid_weights(state) is None
    with pytest.raises(UserError, match="must hold the weights of this backbone"):
        load_starting_weights(build_backbone("mobilenetv2_x1_0", 7, 64, 32), tmp_path / "part.pth")


def test_torchvision_s_resnet_needs_no_renaming(tmp_path):
    theirs = torchvision.models.resnet18(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    model = build_backbone("resnet18", 7, 64, 32)
    images = torch.randn(2, 3, 64, 32)

    load_starting_weights(model, tmp_path / "resnet.pth")

    with torch.inference_mode():
        theirs.fc = torch.nn.Identity()
        torch.testing.assert_close(model.eval()(images), theirs(images))
