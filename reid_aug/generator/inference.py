"""A generator made ready to draw: the same pictures, sooner.

On a CPU its 3x3 convolutions are done by :mod:`reid_aug.generator.winograd`. While it draws its
weights do not change, so the images of the kernels are made once. They are four times as large as
the kernels: 640 MB for the network of the paper.
"""

import torch
from torch import Tensor, nn

from reid_aug.generator.network import Generator
from reid_aug.generator.winograd import (
    Winograd,
    Workspace,
    convolve,
    image_of,
    replace_convolutions,
)


def ready_to_generate(generator: Generator, device: torch.device) -> Generator:
    """The generator itself, on the device and laid out for it; afterwards it can only draw.

    On a CPU its drawings differ from before in the last digits, as single precision does.
    """
    generator.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    if device.type == "cpu":
        replace_convolutions(generator, InferenceWinograd, Workspace())
    return generator


class InferenceWinograd(Winograd):
    """One whose kernel's image is made once, in double precision, so that it cannot learn."""

    fewest = 1

    def __init__(self, layer: nn.Conv2d, room: Workspace) -> None:
        super().__init__(layer, room)
        image = image_of(layer.weight.detach().double(), Workspace(torch.float64))
        self.image = image.mT.to(room.dtype, memory_format=torch.contiguous_format)  # (36, C, K)

    def sums(self, picture: Tensor) -> Tensor:
        """(B, C, h + 2, w + 2) to (B, K, h, w)."""
        return convolve(picture, self.image, self.room)
