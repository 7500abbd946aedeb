"""A generator made ready to draw: the same pictures, sooner.

Nine tenths of a drawing are 3x3 convolutions. On a CPU they are done here by Winograd's minimal
filtering (Lavin & Gray, CVPR 2016, arXiv:1509.09308): a tile of 6x6 pixels goes through a fixed
linear map, is multiplied number by number with the kernel's image, and another map brings 4x4
pixels back. That takes 36 products where the sum takes 144, and over all tiles and channels the
products are 36 multiplications of matrices, which CPUs do best. (cuDNN has it for GPUs.)

The maps are those of Toom and Cook for polynomials that are told apart by their values at
:data:`POINTS` and at infinity. The points usual in print, 0, 1, -1, 2 and -2, cost some digits;
those here were tried out: the error is about that of the plain sum in single precision (as large
at 512 channels, four times as large at 64).

A kernel's image is four times as large as the kernel: 640 MB for the network of the paper.
"""

import numpy as np
import torch
from torch import Tensor, nn

from reid_aug.generator.network import Generator

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
TILE, KERNEL = 4, 3  # pixels a side, out of a tile of 6 that goes in
WORTH = 96  # channels; with fewer the maps cost what the saved products gain


def ready_to_draw(generator: Generator, device: torch.device) -> Generator:
    """The generator itself, on the device and laid out for it; afterwards it can only draw.

    On a CPU its drawings differ from before in the last digits, as single precision does.
    """
    generator.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    if device.type == "cpu":
        room = Workspace()
        for layers in [
            module for module in generator.modules() if isinstance(module, nn.Sequential)
        ]:
            for place, layer in enumerate(layers):
                if isinstance(layer, nn.Conv2d) and is_worth_it(layer):
                    layers[place] = Winograd(layer, room)
    return generator


def is_worth_it(layer: nn.Conv2d) -> bool:
    """Whether it is a plain 3x3 convolution of many channels."""
    is_plain = (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (0, 0))
    return is_plain and min(layer.in_channels, layer.out_channels) >= WORTH


def transforms(points: tuple[float, ...] = POINTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maps of a tile (6, 6), of a kernel (6, 3), and back (4, 6), each for one axis.

    ``back @ ((kernel @ g) * (tile @ d))`` is the sum of three products of g at four places of d.
    """
    values = np.array(points)
    back = np.zeros((TILE, len(values) + 1))
    kernel = np.zeros((len(values) + 1, KERNEL))
    tile = np.zeros((len(values) + 1, len(values) + 1))
    for place, value in enumerate(values):
        others = np.delete(values, place)
        back[:, place] = value ** np.arange(TILE)
        kernel[place] = value ** np.arange(KERNEL) / np.prod(value - others)
        tile[place, :-1] = np.poly(others)[::-1]
    back[-1, -1] = kernel[-1, -1] = 1  # infinity: the highest coefficient
    tile[-1] = np.poly(values)[::-1]
    return tile, kernel, back


class Workspace:
    """Memory that the layers of one network share, since they work one after the other."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor with whatever in it; it is another call's as soon as the name is taken again."""
        size = int(np.prod(shape))
        if name not in self.buffers or self.buffers[name].numel() < size:
            with torch.inference_mode(False):  # so that it can be written to in any mode
                self.buffers[name] = torch.empty(size)
        return self.buffers[name][:size].view(shape)


class Winograd(nn.Module):
    """A 3x3 convolution without padding; sizes that no tiles fill are left to the plain sum."""

    def __init__(self, layer: nn.Conv2d, room: Workspace) -> None:
        super().__init__()
        self.layer, self.room = layer, room
        tile, kernel, back = (torch.from_numpy(one) for one in transforms())
        weight = layer.weight.double()  # (K, C, 3, 3)
        image = torch.einsum("ia,jb,kcab->ijck", kernel, kernel, weight)
        self.image = image.flatten(0, 1).float()  # (36, C, K)
        self.tile = torch.kron(tile, tile).float()  # (36, 36): both axes at once
        self.back = torch.kron(back, back).float()  # (16, 36)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, C, h + 2, w + 2) to (B, K, h, w), channels last in memory."""
        batch, channels = picture.shape[:2]
        height, width = picture.shape[2] - 2, picture.shape[3] - 2
        if height % TILE or width % TILE:
            return self.layer(picture)
        rows, columns, kernels = height // TILE, width // TILE, self.layer.out_channels
        tiles = batch * rows * columns
        side = TILE + KERNEL - 1
        cut = picture.permute(0, 2, 3, 1).unfold(1, side, TILE).unfold(2, side, TILE)
        seen = self.room.take("even", side, side, batch, rows, columns, channels)
        seen.copy_(cut.permute(4, 5, 0, 1, 2, 3))
        values = self.room.take("odd", side**2, tiles * channels)
        torch.mm(self.tile, seen.view(side**2, -1), out=values)
        products = self.room.take("even", side**2, tiles, kernels)
        torch.bmm(values.view(side**2, tiles, channels), self.image, out=products)
        drawn = self.room.take("odd", TILE**2, tiles * kernels)
        torch.mm(self.back, products.view(side**2, -1), out=drawn)
        pixels = drawn.view(TILE, TILE, batch, rows, columns, kernels).permute(2, 3, 0, 4, 1, 5)
        own = torch.empty(pixels.shape).copy_(pixels)  # the room is the next layer's
        found = own.view(batch, height, width, kernels).permute(0, 3, 1, 2)
        return found if self.layer.bias is None else found + self.layer.bias[:, None, None]
