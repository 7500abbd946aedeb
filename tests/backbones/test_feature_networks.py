"""Networks of others as backbones: their names, their classifier and what is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import transforms

from reid_aug.backbones import BnNeck, build_backbone, feature_networks, load_starting_weights
from reid_aug.backbones.feature_networks import (
    FeatureBackbone,
    Renormalised,
    check_start,
    own_weights_sha256,
    register_backbone,
)
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.runtime.errors import UserError


class Small(nn.Module):
    """Features of 12 channels; it has names that reid-aug uses too."""

    def __init__(self, height, width):
        super().__init__()
        self.size = (height, width)
        self.body = nn.Conv2d(3, 12, 3, 2)
        self.backbone = nn.BatchNorm2d(12)

    def forward(self, images):
        assert images.shape[2:] == self.size
        return self.backbone(self.body(images)).relu().mean((2, 3))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(feature_networks, "_REGISTERED", {})
    register_backbone("small", Small)


def built(**given):
    return build_backbone("small", 5, 64, 32, **given)


def test_a_registered_network_gets_a_classifier():
    model, images = built(with_features=True), torch.randn(4, 3, 64, 32)

    logits, features = model.train()(images)

    torch.testing.assert_close(logits, F.linear(features, model.classifier.weight))
    assert features.shape == (4, 12)
    assert built().train()(images).shape == (4, 5)
    model.eval()
    torch.testing.assert_close(model(images), model.body(images))


def test_a_registered_network_gets_a_neck():
    model = built(bnneck=True)

    assert isinstance(model, BnNeck)
    torch.testing.assert_close(model.eval()(torch.randn(3, 3, 64, 32)).norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("bnneck", [False, True])
@pytest.mark.parametrize("what", ["ready network", "trained backbone", "trained neck"])
def test_weights_are_found_whatever_the_names_inside(tmp_path, what, bnneck):
    torch.manual_seed(1)
    whole = built(bnneck=what == "trained neck")
    inner = whole.backbone if isinstance(whole, BnNeck) else whole
    torch.save((inner.body if what == "ready network" else whole).state_dict(), tmp_path / "w.pth")
    model = built(bnneck=bnneck)

    load_starting_weights(model, tmp_path / "w.pth")

    found = model.backbone if bnneck else model
    torch.testing.assert_close(found.body.body.weight, inner.body.body.weight)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")

    with pytest.raises(UserError, match=r"other\.pth: must hold the weights of this backbone"):
        load_starting_weights(built(), tmp_path / "other.pth")


def test_images_are_renormalised():
    pixels = torch.rand(2, 3, 4, 4)
    mean, std = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)
    images = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)(pixels)

    found = Renormalised(mean, std)(images)

    torch.testing.assert_close(found, transforms.Normalize(mean, std)(pixels))
    assert not Renormalised(mean, std).state_dict()


def test_a_network_with_fixed_weights_is_refused_because_no_result_would_record_them():
    ready = Small(64, 32)
    register_backbone("ready", lambda height, width: ready)
    before = torch.random.get_rng_state()

    with pytest.raises(UserError) as caught:
        check_start("ready", 64, 32, "")
    check_start("ready", 64, 32, "own")
    check_start("ready", 64, 32, "other.pth")
    check_start("small", 64, 32, "")
    check_start("resnet18", 64, 32, "")

    assert str(caught.value) == (
        "backbone ready must start from random weights, got the same for two seeds; to start from "
        'these: train_reid.weights = "own"'
    )
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_weights_of_its_own_are_those_of_a_network_that_has_them(name):
    with pytest.raises(UserError) as caught:
        check_start(name, 64, 32, "own")

    assert str(caught.value) == (
        f"train_reid.weights must be a file for backbone {name}, got 'own', which is for a "
        f"registered network with weights of its own; ./own names a file of that name"
    )


def test_a_ready_network_is_copied_when_it_is_registered():
    ready = Small(64, 32)
    before = [weight.detach().clone() for weight in ready.parameters()]
    register_backbone("ready", ready)
    digest = own_weights_sha256("ready", 64, 32)
    with torch.no_grad():
        for weight in ready.parameters():
            weight.add_(1)

    one, other = (build_backbone("ready", 5, 64, 32) for _ in range(2))

    for made in (one, other):
        for weight, expected in zip(made.body.parameters(), before, strict=True):
            assert torch.equal(weight, expected)
    assert next(one.parameters()) is not next(other.parameters())
    assert own_weights_sha256("ready", 64, 32) == digest
    register_backbone("ready", ready)
    assert own_weights_sha256("ready", 64, 32) != digest


def test_buffers_count_as_weights_of_its_own():
    ready = Small(64, 32)
    register_backbone("ready", ready)
    digest = own_weights_sha256("ready", 64, 32)
    next(m for m in ready.modules() if isinstance(m, nn.BatchNorm2d)).running_mean.add_(1)
    register_backbone("ready", ready)

    assert own_weights_sha256("ready", 64, 32) not in (None, digest)


@pytest.mark.parametrize("name", ["", "timm:mine", "../mine", "two words"])
def test_a_name_that_cannot_be_a_folder_is_refused(name):
    with pytest.raises(UserError, match="must be letters, digits, and any of"):
        register_backbone(name, Small)


def test_a_size_that_does_not_fit_is_refused_with_those_that_fit():
    class Fixed(Small):
        def __init__(self, height, width):
            super().__init__(256, 128)

    register_backbone("fixed", Fixed)

    with pytest.raises(
        UserError, match=r"must have images of another size, got 64x32; these s"
    ) as e:
        build_backbone("fixed", 5, 64, 32)

    assert "these sizes fit: 256x128: --set" in str(e.value)


def test_last_stride_is_refused():
    with pytest.raises(UserError, match=r"last_stride must be 0 for small, which has no ResNet"):
        built(last_stride=1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: None, r"must be made from a height and a width, got .* takes 0 positional arg"),
        (
            lambda height, width: "text",
            r"must be a torch\.nn\.Module, got str; repair",
        ),
    ],
)
def test_what_makes_no_network_is_refused(make, words):
    register_backbone("wrong", make)

    with pytest.raises(UserError, match=f"backbone wrong {words}"):
        build_backbone("wrong", 5, 64, 32)


def test_the_name_of_another_network_is_refused():
    register_backbone("resnet18", Small)

    with pytest.raises(UserError, match="backbone resnet18: the name of a registered network must"):
        build_backbone("resnet18", 5, 64, 32)


class Entry:
    """An entry point of another package."""

    name, value = "acme", "acme:Net"

    def __init__(self, found):
        self.found = found

    def load(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_a_backbone_of_another_package_is_used_by_name(monkeypatch):
    entries = [Entry(Small)]
    monkeypatch.setattr(feature_networks, "entry_points", lambda **_: entries)

    assert isinstance(build_backbone("acme", 5, 64, 32).body, Small)
    assert isinstance(build_backbone("acme", 5, 64, 32), FeatureBackbone)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (ImportError("no acme"), r"acme \(acme:Net\): must be importable, got no acme; repair"),
        ("text", r"acme \(acme:Net\): must be a class or a function .*, got 'text'; repair"),
    ],
)
def test_a_broken_package_is_refused(monkeypatch, found, words):
    monkeypatch.setattr(feature_networks, "entry_points", lambda **_: [Entry(found)])

    with pytest.raises(UserError, match=words):
        build_backbone("acme", 5, 64, 32)
