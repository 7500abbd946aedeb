"""PATN as its authors run it, rewritten from its description: the reference of the timings.

Plain modules in PyTorch's default memory format; discriminators that end in a sigmoid, and BCE of
probabilities; gradients of everything that a loss depends on, of the discriminators and of VGG too;
Adam with its defaults; keypoint heatmaps from a loop over joints, in double precision, with
subnormal numbers. The networks are Market-1501's: batch norm, no bias before it.
"""

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BETAS, RATE = (0.5, 0.999), 2e-4
GAN, L1, PERCEPTUAL, POOL = 5.0, 10.0, 10.0, 50
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def joint_maps(xy: np.ndarray, height: int, width: int, sigma: float = 6.0) -> np.ndarray:
    """Heatmaps (18, height, width) float32 of keypoints (18, 2), one joint at a time."""
    maps = np.zeros((height, width, len(xy)), np.float32)
    for joint, (x, y) in enumerate(xy):
        if np.isnan(x):
            continue
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        maps[..., joint] = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
    return maps.transpose(2, 0, 1)


def down(channels: int, width: int) -> nn.Sequential:
    """The encoder: to a quarter of the size and four times ``width`` channels."""
    return nn.Sequential(
        nn.ReflectionPad2d(3),
        nn.Conv2d(channels, width, 7, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(True),
        nn.Conv2d(2 * width, 4 * width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(4 * width),
        nn.ReLU(True),
    )


def path(channels: int, out: int, is_normed: bool) -> nn.Sequential:
    """Two 3x3 convolutions with dropout in between, and a norm after the second if asked."""
    layers = [
        nn.ReflectionPad2d(1),
        nn.Conv2d(channels, channels, 3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(True),
        nn.Dropout(0.5),
        nn.ReflectionPad2d(1),
        nn.Conv2d(channels, out, 3, bias=False),
    ]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(out)] if is_normed else []))


class Block(nn.Module):
    """A transfer block: the code of the pose gates the change of the code of the image."""

    def __init__(self, channels: int, is_first: bool) -> None:
        super().__init__()
        self.image = path(channels, channels, is_normed=True)
        self.pose = path(channels if is_first else 2 * channels, channels, is_normed=False)

    def forward(self, image: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        change, pose = self.image(image), self.pose(pose)
        image = image + change * torch.sigmoid(pose)
        return image, torch.cat((pose, image), 1)


class Generator(nn.Module):
    """The network; (B, 3, H, W) and two stacks of maps (B, 36, H, W) to (B, 3, H, W)."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.encode_image, self.encode_pose = down(3, width), down(36, width)
        self.blocks = nn.ModuleList(Block(4 * width, i == 0) for i in range(blocks))
        up = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "bias": False}
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, **up),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(True),
            nn.ConvTranspose2d(2 * width, width, **up),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        image, pose = self.encode_image(image), self.encode_pose(maps)
        for block in self.blocks:
            image, pose = block(image, pose)
        return self.decode(image)


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = path(channels, channels, is_normed=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


def discriminator(channels: int, width: int) -> nn.Sequential:
    """A map of probabilities at a quarter of the size."""
    return nn.Sequential(
        down(channels, width), *(Residual(4 * width) for _ in range(3)), nn.Sigmoid()
    )


class Step:
    """One training step as published: the generator, then each of its discriminators."""

    def __init__(self, generator: Generator, width: int, device: torch.device) -> None:
        self.generator = generator.to(device).train()
        self.discriminators = [discriminator(c, width).to(device).train() for c in (21, 6)]
        networks = (self.generator, *self.discriminators)
        self.optimisers = [
            torch.optim.Adam(network.parameters(), RATE, BETAS) for network in networks
        ]
        self.pools: list[list[Tensor]] = [[], []]
        self.vgg = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()
        ).to(device)
        self.mean, self.std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (MEAN, STD))

    def __call__(self, image: Tensor, truth: Tensor, source: Tensor, target: Tensor) -> list[float]:
        """The losses; images (B, 3, H, W) in [-1, 1], maps (B, 18, H, W)."""
        generated = self.generator(image, torch.cat((source, target), 1))
        conditions = (target, image)
        fooled = [
            GAN * bce(discriminator(torch.cat((generated, condition), 1)), 1.0)
            for discriminator, condition in zip(self.discriminators, conditions, strict=True)
        ]
        near = L1 * F.l1_loss(generated, truth)
        alike = PERCEPTUAL * F.l1_loss(self._code(generated), self._code(truth).detach())
        losses = [near, alike, sum(fooled) / 2]
        self._descend(0, sum(losses))
        for number, (discriminator, condition) in enumerate(
            zip(self.discriminators, conditions, strict=True)
        ):
            old = self._exchange(number, torch.cat((generated, condition), 1).detach())
            real = GAN * bce(discriminator(torch.cat((truth, condition), 1)), 1.0)
            losses.append((real + GAN * bce(discriminator(old), 0.0)) / 2)
            self._descend(number + 1, losses[-1])
        return [loss.item() for loss in losses]

    def _descend(self, number: int, loss: Tensor) -> None:
        self.optimisers[number].zero_grad(set_to_none=False)
        loss.backward()
        self.optimisers[number].step()

    def _code(self, image: Tensor) -> Tensor:
        return self.vgg(((image + 1) / 2 - self.mean) / self.std)

    def _exchange(self, number: int, batch: Tensor) -> Tensor:
        pool, given = self.pools[number], []
        for sample in batch:
            if len(pool) < POOL:
                pool.append(sample.clone())
                given.append(sample)
            elif random.random() > 0.5:
                place = random.randrange(POOL)
                given.append(pool[place])
                pool[place] = sample.clone()
            else:
                given.append(sample)
        return torch.stack(given)


def bce(probability: Tensor, label: float) -> Tensor:
    """Binary cross-entropy of a map of probabilities."""
    return F.binary_cross_entropy(probability, torch.full_like(probability, label))
