"""What the generator is trained against: two discriminators, and the losses of PATN.

One discriminator judges *appearance* (is this the person of the condition image?), one judges
*pose* (is the person in the target pose?). Both are one class with different inputs, and both end
in a map of ``4 * width`` channels, not in one score: the loss is a mean over the whole map, as in
the authors' code. Logits come out; the sigmoid of the published network is in the loss (the same
number, and it survives low precision).

Losses, with the published weights: gan (5) averaged over the two discriminators, l1 (10) between
images in [-1, 1], perceptual (10) between relu1_2 features of VGG-19. The perceptual term needs VGG
weights from a path; without them it is off, and every log and checkpoint says so.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_aug.errors import UserError
from reid_aug.generator import check_dropout, check_norm, conv3, encoder, load_official
from reid_aug.weights import read_weights

GAN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": F.binary_cross_entropy_with_logits,
    "lsgan": F.mse_loss,
}


class Discriminator(nn.Module):
    """Judge pictures with a condition stacked onto their channels."""

    def __init__(
        self,
        channels: int,
        width: int = 64,
        blocks: int = 3,
        norm: str = "batch",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_norm(norm)
        check_dropout(dropout)
        self.encode = encoder(channels, width, 2, norm)
        self.blocks = nn.Sequential(*(Residual(4 * width, norm, dropout) for _ in range(blocks)))

    def forward(self, stack: Tensor) -> Tensor:
        """(B, channels, H, W), picture first, to (B, 4 * width, H / 4, W / 4) logits."""
        return self.blocks(self.encode(stack))


class Residual(nn.Module):
    """x + f(x) with dropout between the two convolutions of f."""

    def __init__(self, channels: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *conv3(channels, channels, norm),
            nn.Dropout(dropout),
            *conv3(channels, channels, norm, activation=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        return x + self.change(x)


def import_official_discriminator(path: Path | str) -> Discriminator:
    """Read a discriminator released by the PATN authors (``latest_net_netD_PP.pth``, ``..._PB``).

    Raises:
        UserError: If the tensors are not those of a PATN discriminator.
    """
    state = read_weights(path)
    if "model.1.weight" not in state:
        raise UserError(f"{path}: must be a released PATN discriminator, got no model.1.weight")
    width, channels = state["model.1.weight"].shape[:2]
    blocks = sorted({int(name.split(".")[1]) for name in state if ".conv_block." in name})
    norm = "instance" if "model.1.bias" in state else "batch"
    network = Discriminator(channels, width, len(blocks), norm)
    names = {"encode.": "model.", ".change.": ".conv_block."}
    names |= {f"blocks.{i}.": f"model.{index}." for i, index in enumerate(blocks)}
    load_official(network, state, names, path)
    return network


def gan_loss(logits: Tensor, is_real: bool, kind: str) -> Tensor:
    """Mean over the whole map of "these are (not) real".

    Args:
        kind: "bce" (Market-1501) or "lsgan" (DeepFashion: squared distance to the label).
    """
    label = torch.full_like(logits, float(is_real))
    return GAN_LOSSES[kind](logits, label)


class Perceptual(nn.Module):
    """Mean absolute difference between relu1_2 features of a frozen VGG-19."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | str) -> None:
        super().__init__()
        self.features = nn.Sequential(  # VGG-19 up to relu1_2, under torchvision's names
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
        """Distance of two (B, 3, H, W) batches in [-1, 1]."""
        return F.l1_loss(self._code(generated), self._code(target).detach())

    def _code(self, image: Tensor) -> Tensor:
        return self.features(((image + 1) / 2 - self.mean) / self.std)


class ImagePool:
    """The last generated pictures, so that a discriminator does not forget old mistakes.

    Until it is full, what comes in goes out. Then each sample goes out with probability 1/2, or is
    stored in exchange for a random one that goes out instead (Shrivastava et al., CVPR 2017).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, batch: Tensor, rng: np.random.Generator) -> Tensor:
        """(B, ...) to as many samples, old and new mixed."""
        return torch.stack([self._exchange(sample, rng) for sample in batch])

    def _exchange(self, sample: Tensor, rng: np.random.Generator) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(sample.clone())
            return sample
        if self.size == 0 or rng.random() < 0.5:
            return sample
        slot = int(rng.integers(self.size))
        old, self.images[slot] = self.images[slot], sample.clone()
        return old
