"""The networks of the metrics. Their weights are read from a path, never downloaded.

Each network takes images (B, H, W, 3) uint8 and returns one row of numbers per image. A file that
holds more than tensors is refused (:mod:`reid_aug.runtime.weights`), so the libraries get tensors,
not paths.
"""

import io
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import ssd300_vgg16

from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import read_weights

PERSON = 1  # the class of persons in COCO


class Network(ABC):
    """A network and the SHA-256 of its weights.

    Args:
        path: the file of weights.
        device: where the network computes.
    """

    def __init__(self, path: Path | str, device: torch.device) -> None:
        self.path, self.device = Path(path), device
        self.sha256 = sha256(path) if self.path.is_file() else ""
        self.model = self.build().to(device).eval()

    @abstractmethod
    def build(self) -> nn.Module:
        """Read the weights.

        Raises:
            UserError: If the file is missing or holds the weights of another network.
        """

    def load(self, model: nn.Module, state: dict[str, Tensor], what: str) -> None:
        """Load ``state`` into ``model``.

        Raises:
            UserError: If it does not fit.
        """
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()[:120]
            raise UserError(f"{self.path}: must hold the weights of {what}, got {reason}") from None

    def planes(self, images: np.ndarray) -> Tensor:
        """Move (B, H, W, 3) uint8 to the device as (B, 3, H, W) uint8."""
        return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(self.device)


class Inception(Network):
    """TensorFlow's Inception of 2015-12-05, as ported by torch-fidelity; IS and FID use it."""

    def build(self) -> nn.Module:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        file = io.BytesIO()
        torch.save(read_weights(self.path), file)
        file.seek(0)
        features = ["2048", "logits_unbiased"]
        try:
            result: nn.Module = FeatureExtractorInceptionV3("inception", features, file)
            return result
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()[:120]
            raise UserError(
                f"{self.path}: must hold torch-fidelity's Inception, got {reason}"
            ) from None

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features (B, 2048), and logits (B, 1008) without bias."""
        features, logits = self.model(self.planes(images))
        return features.cpu(), logits.cpu()


class Perception(Network):
    """LPIPS of torchmetrics, on torchvision's AlexNet; torchmetrics ships the linear layers."""

    def build(self) -> nn.Module:
        from torchmetrics.functional.image.lpips import _LPIPS

        state = read_weights(self.path)
        model = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
        own = model.net.state_dict()
        # torchvision's "features.3.weight" is the third layer of one of the five slices
        layers = {name.split(".", 1)[1]: name for name in own}
        found = {layers[name]: state[f"features.{name}"] for name in layers
                 if f"features.{name}" in state}  # fmt: skip
        self.load(model.net, found, "torchvision's AlexNet")
        return model

    @torch.inference_mode()
    def __call__(self, images: np.ndarray, others: np.ndarray) -> Tensor:
        """The distances of ``images`` to ``others``, (B,)."""
        signed = (self.planes(part).float() / 127.5 - 1 for part in (images, others))
        result: Tensor = self.model(*signed).flatten().cpu()
        return result


class PersonDetector(Network):
    """torchvision's SSD-300 VGG-16, trained on COCO.

    The published detector is that of Caffe, trained on VOC.
    """

    def build(self) -> nn.Module:
        state = read_weights(self.path)
        model = ssd300_vgg16(weights=None, weights_backbone=None, score_thresh=0.01)
        self.load(model, state, "torchvision's ssd300_vgg16")
        result: nn.Module = model
        return result

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Tensor:
        """The highest confidence of a person in each image, 0 if no person is found, (B,)."""
        found = self.model(list(self.planes(images).float() / 255))
        scores = [each["scores"][each["labels"] == PERSON] for each in found]
        return torch.stack([s.max() if len(s) else s.new_zeros(()) for s in scores]).cpu()


class IdentityNetwork(Network):
    """A re-ID network that ``reid-aug train-reid`` trained."""

    def build(self) -> nn.Module:
        network = load_reid_network(self.path)
        self.size = network.size
        return network.model

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Tensor:
        """Features of length 1, (B, D)."""
        planes = F.interpolate(
            self.planes(images).float() / 255, self.size, mode="bilinear", antialias=True
        )
        mean, std = (
            torch.tensor(values, device=self.device).view(3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        return F.normalize(self.model((planes - mean) / std), dim=1).cpu()
