"""The PATN network: an image and two poses in, the image in the other pose out."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from reid_aug.data.keypoints import heatmaps
from reid_aug.generator.config import GeneratorConfig
from reid_aug.generator.interface import GeneratorNetwork
from reid_aug.generator.layers import (
    PoseAttention,
    camera_styles,
    decode,
    decoder,
    encode,
    encoder,
)
from reid_aug.generator.limb_warp import warp_limbs
from reid_aug.runtime.errors import UserError


class Generator(GeneratorNetwork):
    """Map (image, source pose, target pose) to the image in the target pose."""

    config: GeneratorConfig

    def __init__(self, config: GeneratorConfig = GeneratorConfig()) -> None:
        super().__init__()
        self.config = config
        inner = config.width * 2**config.downsamplings
        self.encode_image = encoder(3, config.width, config.downsamplings, config.norm)
        self.encode_pose = encoder(
            2 * config.joints, config.width, config.downsamplings, config.norm
        )
        self.blocks = nn.ModuleList(
            PoseAttention(inner, inner if i == 0 else 2 * inner, config)
            for i in range(config.blocks)
        )
        self.decode = decoder(config)
        self.encode_limbs = nn.Sequential()
        if config.limbs:
            self.encode_limbs = encoder(4, config.width, config.downsamplings, config.norm)
        self.leave_camera = camera_styles(self.encode_image, config.cameras)
        self.leave_camera_limbs = camera_styles(self.encode_limbs, config.cameras)
        self.enter_camera = camera_styles(self.decode, config.cameras)

    @property
    def step(self) -> int:
        """Height and width of an image must be multiples of this: 2**downsamplings."""
        result: int = 2**self.config.downsamplings
        return result

    @classmethod
    def from_checkpoint(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Self:
        """Build the network of ``metadata["config"]`` and load its tensors."""
        config = GeneratorConfig(**metadata["config"])
        _check_shapes(config, tensors)
        generator = cls(config)
        generator.load_state_dict(tensors)
        return generator

    def forward(
        self,
        image: Tensor,
        source: Tensor,
        target: Tensor,
        cameras: Tensor | None = None,
        limbs: Tensor | None = None,
    ) -> Tensor:
        """Generate ``image`` in the ``target`` pose.

        Args:
            image: (B, 3, H, W) in [-1, 1]; H and W are multiples of :attr:`step`.
            source: (B, K, H, W) heatmaps of the pose of ``image``.
            target: (B, K, H, W) heatmaps of the pose to generate.
            cameras: (B, 2) int64, the camid of ``image`` and the camid to generate for; only for a
                camera-conditioned generator.
            limbs: (B, 4, H, W), the moved limbs and the fraction of each pixel that they cover;
                only for a limb-conditioned generator.

        Returns:
            (B, 3, H, W) in [-1, 1].

        Raises:
            UserError: If height, width or a camid is out of range, or if cameras or limbs are
                missing.
        """
        check_size(image.shape[-2], image.shape[-1], self.step)
        source_camera, target_camera = self._camera_numbers(cameras)
        encoded = encode(self.encode_image, self.leave_camera, image, source_camera)
        appearance = encoded[-1]  # (B, C, h, w)
        details = self._details(limbs, source_camera)
        if details:
            appearance = appearance + details.pop()
        pose = self.encode_pose(torch.cat([source, target], 1))  # (B, C, h, w)
        for block in self.blocks[:-1]:
            appearance, pose = block(appearance, pose)
            pose = torch.cat([pose, appearance], 1)  # (B, 2C, h, w)
        appearance, _ = self.blocks[-1](appearance, pose)
        output = decode(  # (B, 3 or 6, H, W)
            self.decode, self.enter_camera, appearance, target_camera, details
        )
        if limbs is not None and self.config.limbs:
            output, gain = output.chunk(2, 1)
            output = output + (1 + gain) * limbs[:, :3]
        return torch.tanh(output)

    def repose(
        self,
        image: Tensor,
        source: Tensor,
        target: Tensor,
        cameras: Tensor | None = None,
    ) -> Tensor:
        """As :meth:`forward`, from keypoints (B, 18, 2) in pixels, NaN for unseen joints."""
        (height, width), limbs = image.shape[-2:], None
        with torch.autocast(image.device.type, enabled=False):  # coordinates need full precision
            maps = [heatmaps(xy, height, width, self.config.sigma) for xy in (source, target)]
            if self.config.limbs:
                limbs = torch.cat(warp_limbs(image, source, target), 1)
        result: Tensor = self(image, *maps, cameras, limbs)
        return result

    def _details(self, limbs: Tensor | None, source_camera: Tensor | None) -> list[Tensor]:
        """The codes of the limbs, fine to coarse; empty if not limb-conditioned."""
        if not self.config.limbs:
            return []
        if limbs is None:
            raise UserError(
                "limbs must be the moved limbs of the source for a limb-conditioned generator, "
                "got none; call repose, which computes them"
            )
        return encode(self.encode_limbs, self.leave_camera_limbs, limbs, source_camera)

    def _camera_numbers(self, cameras: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Source and target camera per image, counted from 0; None if not camera-conditioned."""
        last = self.config.cameras
        if not last:
            return None, None
        if cameras is None:
            raise UserError(
                "cameras must be the camids of source and generated image for a camera-conditioned "
                "generator, got none"
            )
        low, high = cameras.aminmax()
        if low < 1 or high > last:
            wrong = int(low) if low < 1 else int(high)
            raise UserError(
                f"camids must be in 1..{last}, the cameras of this generator, got {wrong}"
            )
        return cameras[:, 0] - 1, cameras[:, 1] - 1


def check_size(height: int, width: int, step: int) -> None:
    """Raise a UserError unless height and width, in pixels, are multiples of ``step``."""
    if height % step or width % step:
        raise UserError(
            f"image height and width must be multiples of {step}, got {height}x{width}; "
            f"resize the images and their keypoints"
        )


def _check_shapes(config: GeneratorConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise a ValueError unless the tensors are those of a network of this config.

    A file of a few bytes can announce a network that exceeds the memory, so the shapes come from a
    network on the meta device, which allocates nothing.
    """
    if config.blocks > len(tensors):
        raise ValueError(f"{len(tensors)} tensors for {config.blocks} blocks")
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in Generator(config).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            shape, due = found.get(name, "missing"), wanted.get(name, "missing")
            raise ValueError(f"{name} {shape}, where its config needs {due}")


def initialise(generator: Generator) -> None:
    """Set convolutions to N(0, 0.02) and batch-norm scales to N(1, 0.02), as published."""
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


def to_signed(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 pixels to (B, 3, H, W) float in [-1, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] to (B, H, W, 3) uint8 pixels, rounded."""
    return ((image.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
