"""The layers of PATN's networks: encoder, block, decoder, and the camera styles.

The discriminators (:mod:`reid_aug.generator.adversary`) are built from the same encoder and
convolutions.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from reid_aug.generator.config import NORMS, GeneratorConfig


class PoseAttention(nn.Module):
    """One pose-attentional transfer block: the pose code gates the change of the image code."""

    def __init__(self, channels: int, pose_channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.image = nn.Sequential(
            *conv3(channels, channels, config.norm),
            nn.Dropout(config.dropout),
            *conv3(channels, channels, config.norm, activation=False),
        )
        biased = has_bias(config.norm)
        self.pose = nn.Sequential(
            *conv3(pose_channels, pose_channels, config.norm),
            nn.Dropout(config.dropout),
            nn.ReflectionPad2d(1),
            nn.Conv2d(pose_channels, channels, 3, bias=biased),
        )

    def forward(self, image: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) and (B, C or 2C, h, w) to the next image and pose codes, (B, C, h, w)."""
        pose = self.pose(pose)
        return image + torch.sigmoid(pose) * self.image(image), pose


class CameraStyle(nn.Module):
    """A scale and a shift per camera and channel, initialised to the identity."""

    def __init__(self, cameras: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Embedding(cameras, channels)
        self.shift = nn.Embedding(cameras, channels)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, code: Tensor, camera: Tensor) -> Tensor:
        """(B, C, h, w) and (B,) cameras, counted from 0, to (B, C, h, w)."""
        scale, shift = self.scale(camera), self.shift(camera)
        result: Tensor = code * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
        return result


def camera_styles(layers: nn.Sequential, cameras: int) -> nn.ModuleList:
    """One style per norm of ``layers``; an empty list if ``cameras`` is 0."""
    norms = (layer for layer in layers if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d))
    return nn.ModuleList(CameraStyle(cameras, norm.num_features) for norm in norms if cameras)


def encode(
    layers: nn.Sequential, styles: nn.ModuleList, image: Tensor, camera: Tensor | None
) -> list[Tensor]:
    """The codes of ``image`` at every size, fine to coarse; a camera style follows each norm."""
    remaining, codes = iter(styles), []
    for layer in layers:
        image = styled(layer, remaining, image, camera)
        if isinstance(layer, nn.ReLU):
            codes.append(image)
    return codes


def decode(
    layers: nn.Sequential,
    styles: nn.ModuleList,
    code: Tensor,
    camera: Tensor | None,
    details: Iterable[Tensor] = (),
) -> Tensor:
    """The image of a code; ``details``, fine to coarse, are added where their size is reached."""
    remaining, details = iter(styles), list(details)
    for layer in layers:
        code = styled(layer, remaining, code, camera)
        if isinstance(layer, nn.ConvTranspose2d) and details:
            code = code + details.pop()
    return code


def styled(
    layer: nn.Module, styles: Iterator[nn.Module], code: Tensor, camera: Tensor | None
) -> Tensor:
    """Run a layer; after a norm also the next style, for the camera of each image, if given."""
    code = layer(code)
    is_norm = isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d)
    return next(styles)(code, camera) if is_norm and camera is not None else code


def encoder(channels: int, width: int, downsamplings: int, norm: str) -> nn.Sequential:
    """(B, channels, H, W) -> (B, width * 2**n, H / 2**n, W / 2**n) for n downsamplings."""
    biased = has_bias(norm)
    layers: list[nn.Module] = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(channels, width, 7, bias=biased),
        *norm_relu(width, norm),
    ]
    for _ in range(downsamplings):
        layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=biased)]
        layers += norm_relu(2 * width, norm)
        width *= 2
    return nn.Sequential(*layers)


def decoder(config: GeneratorConfig) -> nn.Sequential:
    """(B, C, h, w) -> (B, 3, H, W), the image before its tanh; 6 channels with limbs."""
    width, biased = config.width * 2**config.downsamplings, has_bias(config.norm)
    layers: list[nn.Module] = []
    for _ in range(config.downsamplings):
        layers += [
            nn.ConvTranspose2d(
                width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=biased
            ),
            *norm_relu(width // 2, config.norm),
        ]
        width //= 2
    channels = 6 if config.limbs else 3
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7))


def conv3(channels: int, out: int, norm: str, activation: bool = True) -> list[nn.Module]:
    """A 3x3 convolution with reflection padding, a norm, and a ReLU if ``activation`` is set."""
    layers = norm_relu(out, norm)
    return [
        nn.ReflectionPad2d(1),
        nn.Conv2d(channels, out, 3, bias=has_bias(norm)),
        *(layers if activation else layers[:1]),
    ]


def norm_relu(channels: int, norm: str) -> list[nn.Module]:
    """The norm of this name, then a ReLU."""
    return [NORMS[norm](channels), nn.ReLU(inplace=True)]


def has_bias(norm: str) -> bool:
    """Whether a convolution has a bias; before batch norm, which has a shift, it has none."""
    return norm != "batch"
