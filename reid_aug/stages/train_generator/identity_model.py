"""A re-ID network that tells a generator whom its drawings show.

Beyond the paper: the generator's perceptual loss needs VGG weights, which come from ImageNet and
know nothing of people. A re-ID network that ``reid-aug train-reid`` trained is at hand instead. A
drawing should look to it as the true picture does: in the maps of features behind each of its
stages, and in the one vector by which people are told apart.

Its images count as seen by the generator (:mod:`reid_aug.data.provenance`).
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
    """How differently a re-ID network sees two pictures: 0 if it cannot tell them apart.

    The mean over its stages of the mean absolute difference of their maps, as a part of the mean
    size of the true one's, plus one minus the cosine of the two feature vectors. A stage is a part
    of the network that has parts itself and gives maps, as ``layer1`` to ``layer4`` of a ResNet.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        network = load_reid_network(path)
        self.model, self.size, self.seen = network.model, network.size, network.seen
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
        """Distance of two (B, 3, H, W) batches in [-1, 1]."""
        with torch.no_grad():
            true_maps, true_features = self._look(target)
        maps, features = self._look(generated)
        apart = [F.l1_loss(a, b) / b.abs().mean() for a, b in zip(maps, true_maps, strict=True)]
        alike = F.cosine_similarity(features, true_features).mean()
        return torch.stack(apart).mean() + 1 - alike if apart else 1 - alike

    def _look(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the network makes of pictures: maps behind its stages, and features (B, D)."""
        self._maps = []
        image = F.interpolate(image, self.size, mode="bilinear", antialias=True)
        features = self.model(((image + 1) / 2 - self.mean) / self.std)
        maps, self._maps = self._maps, []
        return [found.float() for found in maps], features.float()
