"""The U-Net that predicts an image from a noisy one, and the generator that starts from noise."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_aug.data.keypoints import heatmaps
from reid_aug.generator import GeneratorNetwork
from reid_aug.generator.limb_warp import warp_limbs

JOINTS = 18
SIGMA = 6.0  # pixels, the standard deviation of a joint in a heatmap
PATCH = 2  # pixels; the U-Net works on patches of 2 x 2 pixels
PLANES = 3 + 3 + 4 + JOINTS  # noisy image, source, moved limbs with their coverage, target pose
TIMES = 64  # numbers that encode the time
HEADS = 4
SEED = 0  # of the noise from which every image is generated


@dataclass(frozen=True)
class FlowConfig:
    """What rebuilds the network."""

    width: int = 48
    """Channels at half of the resolution; twice and three times as many at 1/4 and 1/8."""
    cameras: int = 6
    """Cameras of the conditioning, camids 1 to this; 0: not camera-conditioned."""
    steps: int = 8
    """Steps of sampling."""

    def __post_init__(self) -> None:
        limits = {"width": (16, 512), "cameras": (0, 1000), "steps": (1, 1000)}
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), limits[field.name]
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{field.name} must be an integer in {low}..{high}, got {value!r}")
        if self.width % 16:
            raise ValueError(f"width must be a multiple of 16, got {self.width}")


class Block(nn.Module):
    """Two convolutions beside a shortcut; the condition scales and shifts between them."""

    def __init__(self, before: int, after: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.norm = nn.GroupNorm(8, after)
        self.second = nn.Sequential(nn.SiLU(), zero(nn.Conv2d(after, after, 3, padding=1)))
        self.modulate = nn.Linear(condition, 2 * after)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """(B, before, h, w) and (B, condition) to (B, after, h, w)."""
        scale, shift = self.modulate(condition)[..., None, None].chunk(2, 1)
        inner = self.norm(self.first(features)) * (1 + scale) + shift
        result: Tensor = self.shortcut(features) + self.second(inner)
        return result


class Attention(nn.Module):
    """Every position of a small map attends to every other one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.inputs = nn.Conv2d(channels, 3 * channels, 1)
        self.output = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, h, w)."""
        maps = self.inputs(self.norm(features)).flatten(2).unflatten(1, (3, HEADS, -1))
        query, key, value = maps.mT.unbind(1)  # (B, heads, h * w, C / heads)
        found = F.scaled_dot_product_attention(query, key, value).mT.reshape(features.shape)
        result: Tensor = features + self.output(found)
        return result


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights of 0, so that a residual branch begins as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class FlowGenerator(GeneratorNetwork):
    """A U-Net with three resolutions, followed from noise to an image by Euler steps.

    The noise is the same for every image, so the same input gives the same image.
    """

    config: FlowConfig

    def __init__(self, config: FlowConfig = FlowConfig()) -> None:
        super().__init__()
        self.config = config
        w1, w2, w3 = (config.width * factor for factor in (1, 2, 3))
        condition = 4 * config.width
        self.embed_time = nn.Sequential(
            nn.Linear(TIMES, condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.embed_cameras = nn.Embedding(2 * max(config.cameras, 1), condition)
        self.enter = nn.Conv2d(PLANES * PATCH**2, w1, 3, padding=1)
        self.down1 = Block(w1, w1, condition)
        self.halve1 = nn.Conv2d(w1, w2, 3, 2, 1)
        self.down2 = Block(w2, w2, condition)
        self.halve2 = nn.Conv2d(w2, w3, 3, 2, 1)
        self.middle = nn.ModuleList([Block(w3, w3, condition), Block(w3, w3, condition)])
        self.attention = Attention(w3)
        self.up2 = Block(w3 + w2, w2, condition)
        self.up1 = Block(w2 + w1, w1, condition)
        self.leave = nn.Sequential(
            nn.GroupNorm(8, w1), nn.SiLU(), zero(nn.Conv2d(w1, 3 * PATCH**2, 3, padding=1))
        )

    @property
    def step(self) -> int:
        """Height and width are halved three times."""
        return 4 * PATCH

    @classmethod
    def from_checkpoint(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Self:
        """Build the network of ``metadata["config"]``, and load its weights."""
        config = FlowConfig(**metadata["config"])
        with torch.device("meta"):  # a small file may announce a huge network
            wanted = {name: tuple(t.shape) for name, t in cls(config).state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if wanted != found:
            raise ValueError("the tensors are not those of the network of its config")
        generator = cls(config)
        generator.load_state_dict(tensors)
        return generator

    def forward(
        self, noisy: Tensor, time: Tensor, known: Tensor, cameras: Tensor | None = None
    ) -> Tensor:
        """The image at the end of the path, as far as a point of the path tells.

        Args:
            noisy: (B, 3, H, W), the point.
            time: (B,) in [0, 1]; 0 is noise, 1 is the image.
            known: (B, 25, H, W), of :func:`known_planes`.
            cameras: (B, 2) int64, the camids of the source and of the image to generate.
        """
        condition = self.embed_time(encoded(time))
        if self.config.cameras:
            if cameras is None:
                raise ValueError("cameras must be given to a camera-conditioned generator")
            offset = torch.tensor([0, self.config.cameras], device=cameras.device)
            condition = condition + self.embed_cameras(cameras - 1 + offset).sum(1)
        planes = F.pixel_unshuffle(torch.cat([noisy, known], 1), PATCH)
        fine = self.down1(self.enter(planes), condition)
        coarse = self.down2(self.halve1(fine), condition)
        features = self.halve2(coarse)
        for block in self.middle:
            features = self.attention(block(features, condition))
        features = self.up2(torch.cat([doubled(features), coarse], 1), condition)
        features = self.up1(torch.cat([doubled(features), fine], 1), condition)
        return F.pixel_shuffle(self.leave(features), PATCH)

    def repose(
        self, image: Tensor, source: Tensor, target: Tensor, cameras: Tensor | None = None
    ) -> Tensor:
        """Generate the image in the target pose by ``config.steps`` Euler steps from noise.

        The velocity at a point is the rest of the way to the predicted image, over the rest of the
        time. So the last step ends at the prediction, without noise.
        """
        known = known_planes(image, source, target)
        random = torch.Generator().manual_seed(SEED)
        noise = torch.randn(image.shape[1:], generator=random).to(image.device)
        point = noise.expand(image.shape)
        for number in range(self.config.steps):
            time = torch.full((len(image),), number / self.config.steps, device=image.device)
            end = self(point, time, known, cameras)
            point = torch.lerp(point, end, 1 / (self.config.steps - number))
        return point.clamp(-1, 1)


def known_planes(image: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """What the network knows of the image to generate, (B, 25, H, W).

    Args:
        image: the source, (B, 3, H, W) in [-1, 1].
        source: its keypoints, (B, 18, 2) in pixels, NaN for unseen joints.
        target: the keypoints of the pose to generate, as ``source``.
    """
    height, width = image.shape[-2:]
    pose = heatmaps(target, height, width, SIGMA)
    return torch.cat([image, *warp_limbs(image, source, target), pose], 1)


def encoded(time: Tensor) -> Tensor:
    """Times (B,) in [0, 1] as sines and cosines of many frequencies, (B, 64)."""
    rates = torch.exp(torch.linspace(0, math.log(1000), TIMES // 2, device=time.device))
    angles = time[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def doubled(features: Tensor) -> Tensor:
    """A map of twice the height and width, (B, C, 2h, 2w)."""
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


def metadata_of(config: FlowConfig) -> dict[str, Any]:
    """The entries of a checkpoint from which the network is rebuilt."""
    return {"format": "flow_generator/1", "config": asdict(config)}
