import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as fidelity
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision.models import alexnet
from torchvision.models.detection import ssd300_vgg16

from reid_aug.backbones import build_backbone
from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.data.keypoints import NO_POSE
from reid_aug.image_quality.metrics import (
    DetectorMetric,
    IdentityMetric,
    InceptionMetric,
    PerceptualMetric,
    frechet,
)
from reid_aug.image_quality.networks import (
    IdentityNetwork,
    Inception,
    Perception,
    PersonDetector,
)
from reid_aug.image_quality.protocols import View
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import write_tensors

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


def saved(path: Path, state) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def inception(folder) -> Path:
    torch.manual_seed(0)
    kind = fidelity.FeatureExtractorInceptionV3
    with (
        patch.object(fidelity, "load_state_dict_from_url", return_value={}),
        patch.object(kind, "load_state_dict"),
    ):
        return saved(folder / "inception.pth", kind("x", ["2048"]).state_dict())


@pytest.fixture(scope="session")
def alex(folder) -> Path:
    torch.manual_seed(0)
    return saved(folder / "alexnet.pth", alexnet(weights=None).state_dict())


@pytest.fixture(scope="session")
def reid(folder) -> Path:
    torch.manual_seed(0)
    path = folder / "model.safetensors"
    recipe = {"backbone": "osnet_x0_25", "height": 64, "width": 32}
    write_tensors(
        path,
        build_backbone("osnet_x0_25", 3, 64, 32).state_dict(),
        {"format": MODEL_FORMAT, "recipe": recipe},
    )
    return path


@pytest.fixture(scope="session")
def ssd(folder) -> Path:
    torch.manual_seed(0)
    model = ssd300_vgg16(weights=None, weights_backbone=None)
    return saved(folder / "ssd.pth", model.state_dict())


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch):
    def fetch(*_, **__):
        raise AssertionError("a file was requested from the internet")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fetch)
    monkeypatch.setattr("torch.hub.download_url_to_file", fetch)


def test_inception_gives_features_and_logits_of_each_image(inception):
    network = Inception(inception, CPU)

    features, logits = network(IMAGES)

    assert (features.shape, logits.shape) == ((3, 2048), (3, 1008))
    weight = network.model.state_dict()["fc.weight"]
    torch.testing.assert_close(logits, features @ weight.T, rtol=1e-3, atol=1e-4)  # no bias


def test_inception_measures_generated_images_masked_ones_and_targets(inception):
    class Means:
        """In place of the network: the mean of each picture, as features and as logits."""

        def __call__(self, images):
            means = torch.tensor(images.reshape(len(images), -1).mean(1))[:, None]
            return means.repeat(1, 2) * torch.tensor([1.0, 2.0]), means

    metric = InceptionMetric("patn", Means())
    views = [View(*IMAGES[[0, 1, place]]) for place in (0, 1, 2)]

    metric.update(views[:2], [NO_POSE] * 2)
    metric.update(views[2:], [NO_POSE])

    generated, real = torch.cat(metric.generated), torch.cat(metric.targets)
    np.testing.assert_allclose(generated[:, 0], IMAGES.reshape(3, -1).mean(1))
    np.testing.assert_allclose(real[:, 0], IMAGES[1].mean())
    assert not torch.cat(metric.masked).any()  # without a joint every pixel is black
    assert metric.scores()["FID"] == pytest.approx(frechet(generated, real))


def test_lpips_is_zero_for_equal_images_and_grows(alex):
    network = Perception(alex, CPU)
    near = (IMAGES.astype(int) + 3).clip(0, 255).astype(np.uint8)

    same, close, far = (network(IMAGES, other) for other in (IMAGES, near, IMAGES[::-1]))

    assert same.tolist() == [0, 0, 0]
    assert (close > 0).all()
    assert (far[[0, 2]] > close[[0, 2]]).all()


def test_lpips_is_torchmetrics_own_with_the_same_weights(alex, monkeypatch):
    state = torch.load(alex)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision deprecates these names
        own = LearnedPerceptualImagePatchSimilarity("alex", reduction="sum")
    signed = (torch.tensor(part.copy()).permute(0, 3, 1, 2) / 127.5 - 1
              for part in (IMAGES, IMAGES[::-1]))  # fmt: skip

    found = Perception(alex, CPU)(IMAGES, IMAGES[::-1])

    assert float(found.sum()) == pytest.approx(float(own(*signed)), rel=1e-5)


def test_lpips_uses_the_weights_of_the_file(alex, folder):
    state = torch.load(alex)
    state["features.10.weight"] = state["features.10.weight"] * 0
    changed = Perception(saved(folder / "changed.pth", state), CPU)

    other = IMAGES[::-1]
    assert (changed(IMAGES, other) != Perception(alex, CPU)(IMAGES, other)).any()


def test_the_lpips_metric_compares_generated_image_and_target(alex):
    network = Perception(alex, CPU)
    metric = PerceptualMetric("clean", network)

    metric.update([View(*IMAGES)], [NO_POSE])
    metric.update([View(IMAGES[0], IMAGES[1], IMAGES[1])], [NO_POSE])

    expected = float(network(IMAGES[[2]], IMAGES[[1]])) / 2
    assert metric.scores() == {"LPIPS": pytest.approx(expected)}


def test_identity_is_a_cosine(reid):
    network = IdentityNetwork(reid, CPU)

    features = network(IMAGES)

    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)


def test_the_identity_metric_compares_with_the_source(reid):
    network = IdentityNetwork(reid, CPU)
    metric = IdentityMetric("clean", network)

    metric.update([View(IMAGES[0], IMAGES[1], IMAGES[0])], [NO_POSE])

    source, real = network(IMAGES[:2])
    assert metric.scores() == {
        "identity": pytest.approx(1, abs=1e-5),
        "identity of real": pytest.approx(float(source @ real), abs=1e-5),
    }


def test_a_re_id_network_of_another_program_is_refused(alex, folder):
    path = folder / "strange.safetensors"
    write_tensors(path, {"a": torch.zeros(2)}, {})

    with pytest.raises(UserError, match="must be a network that reid-aug train-reid wrote"):
        IdentityNetwork(path, CPU)


def test_the_detector_gives_the_confidence_of_the_best_person(ssd, monkeypatch):
    network = PersonDetector(ssd, CPU)
    scores = network(IMAGES[:1])
    assert scores.shape == (1,)
    assert 0 <= scores[0] <= 1

    found = [
        {"labels": torch.tensor([3, 1, 1]), "scores": torch.tensor([0.9, 0.2, 0.5])},
        {"labels": torch.tensor([3]), "scores": torch.tensor([0.9])},
    ]
    monkeypatch.setattr(network, "model", lambda _: found)
    assert network(IMAGES[:2]).tolist() == [0.5, 0]


def test_the_detector_metric_measures_generated_image_and_target():
    metric = DetectorMetric("patn", lambda images: torch.tensor(images.mean((1, 2, 3)) / 255))

    metric.update([View(*IMAGES)], [NO_POSE])

    assert metric.scores() == {
        "DS": pytest.approx(IMAGES[2].mean() / 255),
        "DS of real": pytest.approx(IMAGES[1].mean() / 255),
    }


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (Inception, "torch-fidelity's Inception"),
        (Perception, "torchvision's AlexNet"),
        (PersonDetector, "torchvision's ssd300_vgg16"),
    ],
)
def test_weights_of_another_network_are_refused(kind, what, folder):
    path = saved(folder / "other.pth", {"a": torch.zeros(2)})

    with pytest.raises(UserError, match=f"other.pth: must hold .*{what}"):
        kind(path, CPU)


@pytest.mark.parametrize("kind", [Inception, Perception, PersonDetector, IdentityNetwork])
def test_missing_weights_are_named(kind, folder):
    with pytest.raises(UserError, match=r"gone.pth is missing"):
        kind(folder / "gone.pth", CPU)


class Runs:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("kind", [Inception, Perception, PersonDetector])
def test_weights_that_ask_to_run_code_are_refused(kind, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(folder / "evil.pth", {"a": Runs()})

    with pytest.raises(UserError, match="a pickle that would run code"):
        kind(path, CPU)
    assert not Path("ran").exists()
