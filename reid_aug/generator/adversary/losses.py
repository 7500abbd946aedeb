"""The losses of a generated image: adversarial, and perceptual by VGG-19's features."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import read_weights

GAN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": F.binary_cross_entropy_with_logits,
    "lsgan": F.mse_loss,
}


def gan_loss(logits: Tensor, is_real: bool, kind: str) -> Tensor:
    """The loss of a discriminator's logits for the label real or generated, averaged over the map.

    Args:
        kind: "bce" (Market-1501) or "lsgan" (DeepFashion: the squared distance to the label).
    """
    label = torch.full_like(logits, float(is_real))
    return GAN_LOSSES[kind](logits, label)


class Perceptual(nn.Module):
    """The mean absolute difference between relu1_2 features of a frozen VGG-19."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | str) -> None:
        super().__init__()
        self.features = nn.Sequential(  # VGG-19 up to relu1_2, with torchvision's names
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()
        )
        wanted = self.state_dict()
        state = read_weights(weights)
        if any(name not in state or state[name].shape != wanted[name].shape for name in wanted):
            raise UserError(f"{weights}: must be torchvision's VGG-19 weights, got other tensors")
        self.load_state_dict({name: state[name] for name in wanted})
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), False)

    def forward(self, generated: Tensor, target: Tensor) -> Tensor:
        """The distance between two batches (B, 3, H, W) in [-1, 1], a scalar."""
        return F.l1_loss(self._code(generated), self._code(target).detach())

    def _code(self, image: Tensor) -> Tensor:
        result: Tensor = self.features(((image + 1) / 2 - self.mean) / self.std)
        return result
