"""The identity_model: a re-ID network's distance of two pictures, and what it hands on of its
past."""

from dataclasses import asdict

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.functional import resize

from reid_aug.backbones import build_backbone
from reid_aug.backbones.checkpoint import MODEL_FORMAT, load_reid_network
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages.train_generator.identity_model import IdentityModel
from reid_aug.stages.train_reid.settings import TrainReidConfig

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = build_backbone("resnet18", 3, 64, 32)
    model(torch.randn(8, 3, 64, 32))  # running statistics of its own
    return model.eval()


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("identity_model") / "model.safetensors"
    recipe = asdict(TrainReidConfig("resnet18", height=64, width=32))
    notes = {"format": MODEL_FORMAT, "recipe": recipe, "trained_on": "0123456789ab"}
    write_tensors(path, network.state_dict(), notes)
    return path


def pictures(seed):
    return torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def look(model, image):
    """The maps behind layer1 to layer4, and the features, layer by layer."""
    x = ((image + 1) / 2 - MEAN) / STD
    x, maps = model.maxpool(model.relu(model.bn1(model.conv1(x)))), []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
        maps.append(x)
    return maps, x.mean((2, 3))


def test_the_distance_is_that_of_a_direct_computation(network, path):
    one, other = pictures(1), pictures(2)
    with torch.no_grad():
        (maps, features), (true_maps, true_features) = look(network, one), look(network, other)
        apart = [(a - b).abs().mean() / b.abs().mean() for a, b in zip(maps, true_maps)]  # noqa: B905
        alike = F.cosine_similarity(features, true_features).mean()

        found = IdentityModel(path)(one, other)

    assert len(apart) == 4
    assert float(found) == pytest.approx(float(sum(apart) / 4 + 1 - alike), rel=1e-5)


def test_a_picture_is_not_apart_from_itself(path):
    assert float(IdentityModel(path)(pictures(1), pictures(1))) == pytest.approx(0, abs=1e-6)


def test_larger_pictures_are_made_as_large_as_those_that_trained_it(path):
    large, identity_model = (
        [torch.rand(2, 3, 128, 64) * 2 - 1 for _ in range(2)],
        IdentityModel(path),
    )
    small = [resize(picture, [64, 32], antialias=True) for picture in large]

    assert float(identity_model(*large)) == pytest.approx(float(identity_model(*small)), rel=1e-4)


def test_the_generated_image_has_a_gradient_and_the_identity_model_has_none(path):
    generated, identity_model = pictures(1).requires_grad_(True), IdentityModel(path)
    before = {name: tensor.clone() for name, tensor in identity_model.state_dict().items()}

    identity_model(generated, pictures(2)).backward()

    assert generated.grad.abs().sum() > 0
    assert all(one.grad is None for one in identity_model.parameters())
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in identity_model.state_dict().items()
    )


def test_a_network_without_stages_is_asked_for_its_features_alone(tmp_path):
    torch.manual_seed(0)
    model = build_backbone("inception_v2", 3, 64, 32)
    recipe = asdict(TrainReidConfig("inception_v2", height=64, width=32))
    write_tensors(
        tmp_path / "model.safetensors",
        model.state_dict(),
        {"format": MODEL_FORMAT, "recipe": recipe},
    )
    normal = [((picture + 1) / 2 - MEAN) / STD for picture in (pictures(1), pictures(2))]
    with torch.no_grad():
        features = [model.eval()(picture) for picture in normal]
        found = IdentityModel(tmp_path / "model.safetensors")(pictures(1), pictures(2))

    assert float(found) == pytest.approx(1 - float(F.cosine_similarity(*features).mean()), abs=1e-5)


def test_it_says_what_it_has_seen(path):
    network = load_reid_network(path)

    assert (network.size, network.trained_on) == ((64, 32), "0123456789ab")


def test_a_generator_is_no_re_id_network(tmp_path):
    write_tensors(
        tmp_path / "g.safetensors", {"a": torch.zeros(1)}, {"format": "reid_aug.generator/1"}
    )

    rule = r"wrote \(reid_aug\.reid/1\), got format 'reid_aug\.generator/1'; name the model"
    with pytest.raises(UserError, match=rule):
        load_reid_network(tmp_path / "g.safetensors")


def test_a_file_that_is_no_re_id_network_is_refused(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        IdentityModel(tmp_path / "model.safetensors")
    write_tensors(tmp_path / "model.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(UserError, match="must be a network that reid-aug train-reid wrote"):
        IdentityModel(tmp_path / "model.safetensors")


@pytest.mark.parametrize("size", [{"height": 10**6}, {"height": "64"}, {"width": 32.5}], ids=str)
def test_a_re_id_network_of_no_size_is_refused_before_it_is_tried(tmp_path, size):
    recipe = {"backbone": "resnet50", "height": 64, "width": 32, **size}
    write_tensors(
        tmp_path / "model.safetensors",
        {"a": torch.zeros(1)},
        {"format": MODEL_FORMAT, "recipe": recipe},
    )

    key = "width" if "width" in size else "height"
    rule = rf"model\.safetensors: recipe\.{key} must be a whole number in \[16, 2048\]"
    with pytest.raises(UserError, match=rule):
        load_reid_network(tmp_path / "model.safetensors")
