"""The network: from an image and two poses to the image in the other pose."""

import torch
from torch import Tensor, nn

from reid_aug.data.keypoints import heatmaps
from reid_aug.generator.config import GeneratorConfig
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


class Generator(nn.Module):
    """Map (image, source pose, target pose) to the image in the target pose."""

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

    def forward(
        self,
        image: Tensor,
        source: Tensor,
        target: Tensor,
        cameras: Tensor | None = None,
        limbs: Tensor | None = None,
    ) -> Tensor:
        """Redraw ``image`` in the ``target`` pose.

        Args:
            image: (B, 3, H, W) in [-1, 1]; H and W divisible by 2**downsamplings.
            source: (B, K, H, W) heatmaps of the pose that ``image`` shows.
            target: (B, K, H, W) heatmaps of the pose to draw.
            cameras: (B, 2) int64, the camid that took ``image`` and the one to draw for; for a
                generator that is told cameras only.
            limbs: (B, 4, H, W), the moved limbs and how much of a pixel they cover; for a
                generator that is shown limbs only.

        Returns:
            (B, 3, H, W) in [-1, 1].

        Raises:
            UserError: If the sides do not fit, or the camids, or the limbs are missing.
        """
        step = 2**self.config.downsamplings
        if image.shape[-2] % step or image.shape[-1] % step:
            size = f"{image.shape[-2]}x{image.shape[-1]}"
            raise UserError(f"image height and width must be multiples of {step}, got {size}")
        taken, drawn = self._camera_numbers(cameras)
        look = encode(self.encode_image, self.leave_camera, image, taken)[-1]  # (B, C, h, w)
        details = self._details(limbs, taken)
        if details:
            look = look + details.pop()
        pose = self.encode_pose(torch.cat([source, target], 1))  # (B, C, h, w)
        for block in self.blocks[:-1]:
            look, pose = block(look, pose)
            pose = torch.cat([pose, look], 1)  # (B, 2C, h, w)
        look, _ = self.blocks[-1](look, pose)
        picture = decode(self.decode, self.enter_camera, look, drawn, details)  # (B, 3 or 6, H, W)
        if limbs is not None and self.config.limbs:
            picture, gain = picture.chunk(2, 1)
            picture = picture + (1 + gain) * limbs[:, :3]
        return torch.tanh(picture)

    def repose(
        self,
        image: Tensor,
        source: Tensor,
        target: Tensor,
        cameras: Tensor | None = None,
    ) -> Tensor:
        """As :meth:`forward`, from key points (B, 18, 2) in pixels, NaN where unseen."""
        (height, width), limbs = image.shape[-2:], None
        with torch.autocast(image.device.type, enabled=False):  # places need whole precision
            maps = [heatmaps(xy, height, width, self.config.sigma) for xy in (source, target)]
            if self.config.limbs:
                limbs = torch.cat(warp_limbs(image, source, target), 1)
        return self(image, *maps, cameras, limbs)

    def _details(self, limbs: Tensor | None, taken: Tensor | None) -> list[Tensor]:
        """The code of the limbs at every size, fine to coarse; none for a generator without."""
        if not self.config.limbs:
            return []
        if limbs is None:
            raise UserError("this generator is shown limbs: it needs those of the source, moved")
        return encode(self.encode_limbs, self.leave_camera_limbs, limbs, taken)

    def _camera_numbers(self, cameras: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The two cameras of each row, counted from 0; None where the generator is told none."""
        last = self.config.cameras
        if not last:
            return None, None
        if cameras is None:
            raise UserError("this generator is told cameras: it needs those of image and drawing")
        low, high = cameras.aminmax()
        if low < 1 or high > last:
            strange = int(low) if low < 1 else int(high)
            raise UserError(f"this generator knows the camids 1 to {last}, got {strange}")
        return cameras[:, 0] - 1, cameras[:, 1] - 1


def initialise(generator: Generator) -> None:
    """Convolutions N(0, 0.02), batch-norm scales N(1, 0.02): as published."""
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
