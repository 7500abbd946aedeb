"""The discriminator: an encoder, residual blocks, and a map of logits."""

from torch import Tensor, nn

from reid_aug.generator import check_dropout, check_norm, conv3, encoder


class Discriminator(nn.Module):
    """Classify images, concatenated with a condition along the channels, as real or generated."""

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
        """(B, channels, H, W), the image first, to logits (B, 4 * width, H / 4, W / 4)."""
        result: Tensor = self.blocks(self.encode(stack))
        return result


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
        result: Tensor = x + self.change(x)
        return result


def initialise_discriminator(network: Discriminator) -> None:
    """Set batch-norm scales to U(0, 1) and keep PyTorch's defaults otherwise, as published.

    The authors did not initialise their discriminators, and PyTorch before 1.2 initialised these
    scales to U(0, 1) (see pytorch/pytorch#12259).
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
