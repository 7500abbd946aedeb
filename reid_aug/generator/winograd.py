"""3x3 convolutions on a CPU by Winograd's minimal filtering, to draw with and to train with.

Nine tenths of the networks' work are 3x3 convolutions. Here (Lavin & Gray, CVPR 2016,
arXiv:1509.09308) a tile of 6x6 pixels goes through a fixed linear map, is multiplied number by
number with the kernel's image, and another map brings 4x4 pixels back. That takes 36 products where
the sum takes 144, and over all tiles and channels the products are 36 multiplications of matrices,
which CPUs do best. (cuDNN has it for GPUs.)

The maps are those of Toom and Cook for polynomials that are told apart by their values at
:data:`POINTS` and at infinity. The points usual in print, 0, 1, -1, 2 and -2, cost some digits;
those here were tried out: the error is about that of the plain sum in single precision (as large
at 512 channels, four times as large at 64).

Every part is linear, so gradients go back through the same maps, transposed: as many products again
for the picture, and for the weights. In training the kernel's image is made anew each time; it is
four times as large as the kernel, too large to keep for the way back.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
TILE, KERNEL = 4, 3  # pixels a side
SIDE = TILE + KERNEL - 1  # of the tile that goes in
WORTH = 96  # channels; with fewer the maps cost what the saved products gain


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
    """The maps, and memory that layers share, since they work one after the other."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        one_axis = (torch.from_numpy(one) for one in transforms())
        tile, kernel, back = (torch.kron(one, one).to(dtype) for one in one_axis)
        self.tile, self.kernel, self.back = tile, kernel, back  # (36, 36), (36, 9), (16, 36)
        self.dtype = dtype
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor with whatever in it; it is another call's as soon as the name is taken again."""
        size = int(np.prod(shape))
        if name not in self.buffers or self.buffers[name].numel() < size:
            with torch.inference_mode(False):  # so that it can be written to in any mode
                self.buffers[name] = torch.empty(size, dtype=self.dtype)
        return self.buffers[name][:size].view(shape)


class Winograd(nn.Module):
    """A 3x3 convolution without padding that learns; it has the parameters of ``layer``.

    Pictures that tiles do not fill, or only few tiles, are left to the plain sum.
    """

    fewest = 16  # tiles; with fewer the kernel's image costs what the saved products gain

    def __init__(self, layer: nn.Conv2d, room: Workspace) -> None:
        super().__init__()
        self.weight, self.bias, self.room = layer.weight, layer.bias, room

    def forward(self, picture: Tensor) -> Tensor:
        """(B, C, h + 2, w + 2) to (B, K, h, w), channels last in memory."""
        height, width = (side - KERNEL + 1 for side in picture.shape[2:])
        tiles = len(picture) * (height // TILE) * (width // TILE)
        if height % TILE or width % TILE or tiles < self.fewest:
            return F.conv2d(picture, self.weight, self.bias)
        sums = self.sums(picture)
        return sums if self.bias is None else sums + self.bias[:, None, None]

    def sums(self, picture: Tensor) -> Tensor:
        """As :meth:`forward`, without the bias."""
        found: Tensor = Convolution.apply(picture, self.weight, self.room)
        return found


def ready_to_train(networks: Iterable[nn.Module]) -> None:
    """Let networks on a CPU train sooner, in single precision; parameters and names stay."""
    room = Workspace()
    for network in networks:
        replace_convolutions(network, Winograd, room)


def replace_convolutions(network: nn.Module, kind: type[Winograd], room: Workspace) -> None:
    """Put ``kind`` in the place of every layer that is worth it."""
    for layers in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for place, layer in enumerate(layers):
            if isinstance(layer, nn.Conv2d) and is_worth_it(layer):
                layers[place] = kind(layer, room)


def is_worth_it(layer: nn.Conv2d) -> bool:
    """Whether it is a plain 3x3 convolution of many channels."""
    is_plain = (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (0, 0))
    return is_plain and min(layer.in_channels, layer.out_channels) >= WORTH


class Convolution(torch.autograd.Function):
    """The sums and their gradients; once, not gradients of gradients."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, weight: Tensor, room: Workspace) -> Tensor:
        """(B, C, h + 2, w + 2) and (K, C, 3, 3) to (B, K, h, w)."""
        ctx.save_for_backward(picture, weight)
        ctx.room = room
        return convolve(picture, image_of(weight, room).mT, room)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Of (B, K, h, w) to those of the picture and of the weight."""
        picture, weight = ctx.saved_tensors
        products = product_gradient(gradient, ctx.room)
        of_picture = of_weight = None
        if ctx.needs_input_grad[0]:
            of_picture = picture_gradient(products, weight, picture.shape, ctx.room)
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(products, picture, ctx.room)
        return of_picture, of_weight, None


def image_of(weight: Tensor, room: Workspace) -> Tensor:
    """A kernel (K, C, 3, 3) to its image (36, K, C)."""
    kernels, channels = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1).reshape(kernels, KERNEL**2, channels)
    image = room.take("image", kernels, SIDE**2, channels)
    torch.bmm(room.kernel.expand(kernels, -1, -1), taps, out=image)
    return image.transpose(0, 1)


def convolve(picture: Tensor, image: Tensor, room: Workspace) -> Tensor:
    """(B, C, h + 2, w + 2) and a kernel's image (36, C, K) to (B, K, h, w)."""
    values, (batch, rows, columns) = values_of(picture, room)
    tiles, kernels = values.shape[1], image.shape[2]
    products = room.take("even", SIDE**2, tiles, kernels)
    torch.bmm(values, image, out=products)
    drawn = room.take("odd", TILE**2, tiles * kernels)
    torch.mm(room.back, products.view(SIDE**2, -1), out=drawn)
    pixels = drawn.view(TILE, TILE, batch, rows, columns, kernels).permute(2, 3, 0, 4, 1, 5)
    own = torch.empty(pixels.shape, dtype=room.dtype).copy_(pixels)  # the room is the next layer's
    return own.view(batch, TILE * rows, TILE * columns, kernels).permute(0, 3, 1, 2)


def values_of(picture: Tensor, room: Workspace) -> tuple[Tensor, torch.Size]:
    """(B, C, h + 2, w + 2) to (36, tiles, C), and the tiles as (B, rows, columns)."""
    seen = cut(picture, SIDE, room)
    values = room.take("odd", SIDE**2, seen[0, 0].numel())
    torch.mm(room.tile, seen.view(SIDE**2, -1), out=values)
    return values.view(SIDE**2, -1, picture.shape[1]), seen.shape[2:5]


def cut(picture: Tensor, side: int, room: Workspace) -> Tensor:
    """(B, C, H, W) to tiles (side, side, B, rows, columns, C), one every four pixels."""
    tiles = picture.permute(0, 2, 3, 1).unfold(1, side, TILE).unfold(2, side, TILE)
    tiles = tiles.permute(4, 5, 0, 1, 2, 3)
    return room.take("even", *tiles.shape).copy_(tiles)


def product_gradient(gradient: Tensor, room: Workspace) -> Tensor:
    """That of the pixels (B, K, h, w) to that of the products (36, tiles, K)."""
    pixels = cut(gradient, TILE, room)
    products = room.take("gradient", SIDE**2, pixels[0, 0].numel())
    torch.mm(room.back.T, pixels.view(TILE**2, -1), out=products)
    return products.view(SIDE**2, -1, gradient.shape[1])


def picture_gradient(
    products: Tensor, weight: Tensor, shape: torch.Size, room: Workspace
) -> Tensor:
    """That of the products (36, tiles, K) to that of the picture, of ``shape``."""
    batch, channels, height, width = shape
    values = room.take("odd", SIDE**2, products.shape[1], channels)
    torch.bmm(products, image_of(weight, room), out=values)
    rows, columns = height // TILE, width // TILE
    seen = room.take("even", SIDE, SIDE, batch, rows, columns, channels)
    torch.mm(room.tile.T, values.view(SIDE**2, -1), out=seen.view(SIDE**2, -1))
    return laid_together(seen)[:, :, :height, :width]


def laid_together(tiles: Tensor) -> Tensor:
    """Tiles (6, 6, B, rows, columns, C) to (B, C, H, W), summed where they overlap.

    H and W are those of one more row and column of 4x4 pixels, the last two of which are zeros.
    """
    batch, rows, columns, channels = tiles.shape[2:]
    whole = tiles.new_zeros(batch, rows + 1, TILE, columns + 1, TILE, channels)
    places = whole.permute(2, 4, 0, 1, 3, 5)
    inner, beyond = (slice(TILE), slice(-1)), (slice(TILE, None), slice(1, None))
    for down, in_rows in (inner, beyond):
        for right, in_columns in (inner, beyond):
            part = tiles[down, right]
            places[: len(part), : part.shape[1], :, in_rows, in_columns] += part
    whole = whole.view(batch, TILE * (rows + 1), TILE * (columns + 1), channels)
    return whole.permute(0, 3, 1, 2)


def weight_gradient(products: Tensor, picture: Tensor, room: Workspace) -> Tensor:
    """That of the products (36, tiles, K), made of ``picture``, to that of the weight."""
    values, _ = values_of(picture, room)
    kernels, channels = products.shape[2], picture.shape[1]
    image = room.take("image", kernels, SIDE**2, channels)
    torch.bmm(products.mT, values, out=image.transpose(0, 1))
    taps = torch.empty(kernels, KERNEL**2, channels, dtype=room.dtype)
    torch.bmm(room.kernel.T.expand(kernels, -1, -1), image, out=taps)
    return taps.view(kernels, KERNEL, KERNEL, channels).permute(0, 3, 1, 2)
