"""The identity loss: the difference of a generated and a true image for a re-ID network.

Beyond the paper: the perceptual loss of the generator needs VGG weights, which are trained on
ImageNet and not on people. The identity loss uses a re-ID network of ``reid-aug train-reid``
instead. For this network, a generated image should have the features of the true image: the feature
maps after each of its stages, and the one feature vector that identifies a person.

The images that trained the network count as training images of the generator
(:mod:`reid_aug.data.provenance`).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_aug.backbones import BnNeck
from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD


class IdentityModel(nn.Module):
    """The distance of two images for a re-ID network; 0 if their features are equal.

    It has two terms. The first is the mean absolute difference of the feature maps, relative to the
    mean absolute value of the true map, averaged over the stages. The second is one minus the
    cosine of the two feature vectors. A stage is a submodule that has submodules itself and returns
    feature maps, as ``layer1`` to ``layer4`` of a ResNet.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        network = load_reid_network(path)
        self.model, self.size, self.trained_on = network.model, network.size, network.trained_on
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), False)
        self._maps: list[Tensor] = []
        body = self.model.backbone if isinstance(self.model, BnNeck) else self.model
        for stage in body.children():
            if any(True for _ in stage.children()):
                stage.register_forward_hook(self._keep)

    def _keep(self, stage: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            self._maps.append(output)

    def forward(self, generated: Tensor, target: Tensor) -> Tensor:
        """The distance of two (B, 3, H, W) batches in [-1, 1], 0 or more."""
        with torch.no_grad():
            true_maps, true_features = self._features(target)
        maps, features = self._features(generated)
        apart = [F.l1_loss(a, b) / b.abs().mean() for a, b in zip(maps, true_maps, strict=True)]
        alike = F.cosine_similarity(features, true_features).mean()
        return torch.stack(apart).mean() + 1 - alike if apart else 1 - alike

    def _features(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """The feature maps after each stage, and the feature vectors (B, D)."""
        self._maps = []
        image = F.interpolate(image, self.size, mode="bilinear", antialias=True)
        features = self.model(((image + 1) / 2 - self.mean) / self.std)
        maps, self._maps = self._maps, []
        return [found.float() for found in maps], features.float()
