"""Networks of timm as backbones: features, size, normalisation and weights, without a download."""

import socket
import sys

import pytest
import torch
from torchvision import transforms

from reid_aug.backbones import build_backbone, load_starting_weights, timm_networks
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.runtime.errors import UserError

SMALL = ["timm:test_resnet", "timm:test_vit"]  # 0.4 and 0.3 million weights
HALF = (0.5, 0.5, 0.5)  # mean and deviation of both


@pytest.fixture
def timm(monkeypatch):
    found = pytest.importorskip("timm")

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return found


@pytest.mark.parametrize("name", SMALL)
def test_features_are_those_before_the_head_of_images_in_the_networks_normalisation(timm, name):
    torch.manual_seed(0)
    whole = timm.create_model(name.removeprefix("timm:"), num_classes=7, **size_of(name)).eval()
    model = build_backbone(name, 5, 64, 32).eval()
    model.body.load_state_dict(whole.state_dict(), strict=False)
    pixels = torch.rand(2, 3, 64, 32)

    with torch.inference_mode():
        found = model(transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)(pixels))
        maps = whole.forward_features(transforms.Normalize(HALF, HALF)(pixels))
        expected = whole.forward_head(maps, pre_logits=True)

    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def size_of(name):
    return {"img_size": (64, 32)} if "vit" in name else {}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("bnneck", [False, True])
def test_a_training_step_reaches_the_first_layer(timm, name, bnneck):
    model = build_backbone(name, 3, 64, 32, bnneck=bnneck, with_features=True).train()

    logits, features = model(torch.randn(4, 3, 64, 32))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0]))
    (loss + features.sum()).backward()

    first = next(model.parameters())
    assert first.grad is not None
    assert float(first.grad.abs().max()) > 0
    assert logits.shape == (4, 3)


def test_the_size_of_the_images_is_passed_to_a_transformer(timm):
    body = build_backbone("timm:test_vit", 3, 96, 48).body

    assert body.patch_embed.img_size == (96, 48)
    assert body.pos_embed.shape[1] == 1 + 6 * 3


@pytest.mark.parametrize("name", SMALL)
def test_published_weights_are_read_and_position_embeddings_are_resampled(timm, name, tmp_path):
    torch.manual_seed(0)
    plain, path = name.removeprefix("timm:"), tmp_path / "weights.pth"
    torch.save(timm.create_model(plain).state_dict(), path)  # of 160x160 images
    expected = timm.create_model(plain, num_classes=0, **size_of(name))
    convert = getattr(sys.modules[type(expected).__module__], "checkpoint_filter_fn", None)
    timm.models.load_checkpoint(expected, path, strict=False, filter_fn=convert)
    model = build_backbone(name, 3, 64, 32)

    line = load_starting_weights(model, path)

    for key, tensor in expected.state_dict().items():
        torch.testing.assert_close(model.body.state_dict()[key], tensor, msg=key)
    assert "2 in the file unused" in line


def test_weights_of_another_network_are_refused(timm, tmp_path):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "other.pth")

    with pytest.raises(UserError, match=r"other\.pth: must hold the weights of this backbone"):
        load_starting_weights(build_backbone("timm:test_vit", 3, 64, 32), tmp_path / "other.pth")


def test_the_tag_selects_the_normalisation(timm):
    name = "timm:test_vit.r160_in1k"

    assert build_backbone(name, 3, 64, 32).before.scale.flatten().tolist() == pytest.approx(
        [deviation / 0.5 for deviation in IMAGENET_STD]
    )


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("test_resnt", "got 'test_resnt'; did you mean timm:test_resnet?"),
        ("test_vit.nosuch", "got 'test_vit.nosuch'; did you mean timm:test_vit.r160_in1k?"),
        ("hf-hub:a/b", "got 'hf-hub:a/b'; timm.list_models() lists them"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(timm, name, end):
    with pytest.raises(UserError) as caught:
        build_backbone(f"timm:{name}", 3, 64, 32)

    version = timm.__version__
    assert str(caught.value) == f"backbone timm:NAME must be a network of timm {version}, {end}"


def test_a_network_of_one_size_is_refused_with_that_size(timm, monkeypatch):
    monkeypatch.setattr("reid_aug.backbones.SIZES", ((160, 64),))

    with pytest.raises(UserError) as caught:
        build_backbone("timm:efficientformer_l1", 3, 64, 32)

    assert "got 64x32; these sizes fit: 224x224: --set train_reid.height" in str(caught.value)


def test_last_stride_has_no_meaning_for_a_transformer_and_keeps_the_maps_of_a_resnet(timm):
    with pytest.raises(UserError, match="last_stride must be 0 for timm:test_vit, which has no R"):
        build_backbone("timm:test_vit", 3, 64, 32, last_stride=1)

    shapes = []
    for stride in (0, 1):
        model = build_backbone("timm:test_resnet", 3, 64, 32, last_stride=stride)
        shapes.append(model.body.forward_features(torch.zeros(1, 3, 64, 32)).shape[2:])
    assert shapes == [(2, 1), (4, 2)]


def test_a_missing_timm_is_one_sentence_with_the_remedy(monkeypatch):
    timm_networks.timm_library.cache_clear()
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(UserError) as caught:
        build_backbone("timm:resnet18", 3, 64, 32)

    assert str(caught.value).startswith("a backbone timm:NAME needs the package timm (")
    assert str(caught.value).endswith('; install it with: pip install "reid-aug[timm]"')
