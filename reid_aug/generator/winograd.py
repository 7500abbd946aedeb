"""3x3 convolutions on a CPU by Winograd's minimal filtering, for inference and training.

Nine tenths of the networks' work are 3x3 convolutions. Here (Lavin & Gray, CVPR 2016,
arXiv:1509.09308) a fixed linear map transforms each tile of 6x6 pixels, the result is multiplied
elementwise with the transformed kernel, and another map returns 4x4 pixels. That takes 36 products
where the direct sum takes 144. Over all tiles and channels the products are 36 matrix
multiplications, the operation that CPUs do fastest. (cuDNN has this method for GPUs.)

The maps are those of Toom and Cook for polynomials, which are determined by their values at
:data:`POINTS` and at infinity. The usual points in the literature, 0, 1, -1, 2 and -2, lose some
digits. The points here were found by experiment: the error is about that of the direct sum in
single precision (equal at 512 channels, four times as large at 64).

Every part is linear, so gradients pass through the same maps, transposed: as many products again
for the gradient of the input, and for that of the weights. In training the kernel is transformed
anew in each step. The transformed kernel is four times as large as the kernel, too large to keep
for the backward pass.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
TILE, KERNEL = 4, 3  # pixels per side
TILE_SIDE = TILE + KERNEL - 1  # pixels per side of an input tile
MIN_CHANNELS = 96  # with fewer channels the maps cost as much time as the products save


def transforms(points: tuple[float, ...] = POINTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maps of a tile (6, 6), of a kernel (6, 3), and of the output (4, 6), for one axis.

    ``output @ ((kernel @ g) * (tile @ d))`` is the sum of three products of g at four positions of
    d.
    """
    values = np.array(points)
    output = np.zeros((TILE, len(values) + 1))
    kernel = np.zeros((len(values) + 1, KERNEL))
    tile = np.zeros((len(values) + 1, len(values) + 1))
    for place, value in enumerate(values):
        others = np.delete(values, place)
        output[:, place] = value ** np.arange(TILE)
        kernel[place] = value ** np.arange(KERNEL) / np.prod(value - others)
        tile[place, :-1] = np.poly(others)[::-1]
    output[-1, -1] = kernel[-1, -1] = 1  # infinity: the highest coefficient
    tile[-1] = np.poly(values)[::-1]
    return tile, kernel, output


class Workspace:
    """The maps, and memory buffers that layers share, because they run one after another."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        one_axis = (torch.from_numpy(one) for one in transforms())
        tile, kernel, output = (torch.kron(one, one).to(dtype) for one in one_axis)
        self.tile, self.kernel, self.output = tile, kernel, output  # (36, 36), (36, 9), (16, 36)
        self.dtype = dtype
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """An uninitialised tensor; it is valid until the next call with the same name."""
        size = int(np.prod(shape))
        if name not in self.buffers or self.buffers[name].numel() < size:
            with torch.inference_mode(False):  # so that it is writable in any mode
                self.buffers[name] = torch.empty(size, dtype=self.dtype)
        return self.buffers[name][:size].view(shape)


class Winograd(nn.Module):
    """A trainable 3x3 convolution without padding; it has the parameters of ``layer``.

    The direct sum computes inputs that tiles do not fill exactly, and inputs of few tiles.
    """

    min_tiles = 16  # with fewer tiles the kernel's transform costs as much time as is saved

    def __init__(self, layer: nn.Conv2d, workspace: Workspace) -> None:
        super().__init__()
        self.weight, self.bias, self.workspace = layer.weight, layer.bias, workspace

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h + 2, w + 2) to (B, K, h, w), channels last in memory."""
        height, width = (side - KERNEL + 1 for side in features.shape[2:])
        tiles = len(features) * (height // TILE) * (width // TILE)
        if height % TILE or width % TILE or tiles < self.min_tiles:
            return F.conv2d(features, self.weight, self.bias)
        sums = self.sums(features)
        return sums if self.bias is None else sums + self.bias[:, None, None]

    def sums(self, features: Tensor) -> Tensor:
        """As :meth:`forward`, without the bias."""
        found: Tensor = Convolution.apply(features, self.weight, self.workspace)
        return found


def ready_to_train(networks: Iterable[nn.Module]) -> None:
    """Make training on a CPU in single precision faster; parameters and names stay the same."""
    workspace = Workspace()
    for network in networks:
        replace_convolutions(network, Winograd, workspace)


def replace_convolutions(network: nn.Module, kind: type[Winograd], workspace: Workspace) -> None:
    """Replace every layer that :func:`is_replaceable` by one of class ``kind``."""
    for layers in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for place, layer in enumerate(layers):
            if isinstance(layer, nn.Conv2d) and is_replaceable(layer):
                layers[place] = kind(layer, workspace)


def is_replaceable(layer: nn.Conv2d) -> bool:
    """Whether the layer is a plain 3x3 convolution with enough channels to become faster."""
    is_plain = (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (0, 0))
    return is_plain and min(layer.in_channels, layer.out_channels) >= MIN_CHANNELS


class Convolution(torch.autograd.Function):
    """The convolution and its first-order gradients."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, workspace: Workspace) -> Tensor:
        """(B, C, h + 2, w + 2) and (K, C, 3, 3) to (B, K, h, w)."""
        ctx.save_for_backward(features, weight)
        ctx.workspace = workspace
        return convolve(features, transform_kernel(weight, workspace).mT, workspace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """The gradient of the output (B, K, h, w) to those of the input and of the weight."""
        features, weight = ctx.saved_tensors
        products = product_gradient(gradient, ctx.workspace)
        of_features = of_weight = None
        if ctx.needs_input_grad[0]:
            of_features = input_gradient(products, weight, features.shape, ctx.workspace)
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(products, features, ctx.workspace)
        return of_features, of_weight, None


def transform_kernel(weight: Tensor, workspace: Workspace) -> Tensor:
    """A kernel (K, C, 3, 3) to its transform (36, K, C)."""
    kernels, channels = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1).reshape(kernels, KERNEL**2, channels)
    transformed = workspace.take("kernel", kernels, TILE_SIDE**2, channels)
    torch.bmm(workspace.kernel.expand(kernels, -1, -1), taps, out=transformed)
    return transformed.transpose(0, 1)


def convolve(features: Tensor, kernel: Tensor, workspace: Workspace) -> Tensor:
    """(B, C, h + 2, w + 2) and a transformed kernel (36, C, K) to (B, K, h, w)."""
    values, (batch, rows, columns) = transform_tiles(features, workspace)
    tiles, kernels = values.shape[1], kernel.shape[2]
    products = workspace.take("even", TILE_SIDE**2, tiles, kernels)
    torch.bmm(values, kernel, out=products)
    sums = workspace.take("odd", TILE**2, tiles * kernels)
    torch.mm(workspace.output, products.view(TILE_SIDE**2, -1), out=sums)
    pixels = sums.view(TILE, TILE, batch, rows, columns, kernels).permute(2, 3, 0, 4, 1, 5)
    # A copy, because the next layer overwrites the workspace.
    own = torch.empty(pixels.shape, dtype=workspace.dtype).copy_(pixels)
    return own.view(batch, TILE * rows, TILE * columns, kernels).permute(0, 3, 1, 2)


def transform_tiles(features: Tensor, workspace: Workspace) -> tuple[Tensor, torch.Size]:
    """(B, C, h + 2, w + 2) to (36, tiles, C), and the tiles as (B, rows, columns)."""
    tiles = cut(features, TILE_SIDE, workspace)
    values = workspace.take("odd", TILE_SIDE**2, tiles[0, 0].numel())
    torch.mm(workspace.tile, tiles.view(TILE_SIDE**2, -1), out=values)
    return values.view(TILE_SIDE**2, -1, features.shape[1]), tiles.shape[2:5]


def cut(features: Tensor, side: int, workspace: Workspace) -> Tensor:
    """(B, C, H, W) to tiles (side, side, B, rows, columns, C), one every four pixels."""
    tiles = features.permute(0, 2, 3, 1).unfold(1, side, TILE).unfold(2, side, TILE)
    tiles = tiles.permute(4, 5, 0, 1, 2, 3)
    return workspace.take("even", *tiles.shape).copy_(tiles)


def product_gradient(gradient: Tensor, workspace: Workspace) -> Tensor:
    """The gradient of the output (B, K, h, w) to that of the products (36, tiles, K)."""
    pixels = cut(gradient, TILE, workspace)
    products = workspace.take("gradient", TILE_SIDE**2, pixels[0, 0].numel())
    torch.mm(workspace.output.T, pixels.view(TILE**2, -1), out=products)
    return products.view(TILE_SIDE**2, -1, gradient.shape[1])


def input_gradient(
    products: Tensor, weight: Tensor, shape: torch.Size, workspace: Workspace
) -> Tensor:
    """The gradient of the products (36, tiles, K) to that of the input, of ``shape``."""
    batch, channels, height, width = shape
    values = workspace.take("odd", TILE_SIDE**2, products.shape[1], channels)
    torch.bmm(products, transform_kernel(weight, workspace), out=values)
    rows, columns = height // TILE, width // TILE
    tiles = workspace.take("even", TILE_SIDE, TILE_SIDE, batch, rows, columns, channels)
    torch.mm(workspace.tile.T, values.view(TILE_SIDE**2, -1), out=tiles.view(TILE_SIDE**2, -1))
    return sum_tiles(tiles)[:, :, :height, :width]


def sum_tiles(tiles: Tensor) -> Tensor:
    """Tiles (6, 6, B, rows, columns, C) to (B, C, H, W), summed where they overlap.

    H and W include one more row and column of 4x4 pixels, the last two of which are zeros.
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


def weight_gradient(products: Tensor, features: Tensor, workspace: Workspace) -> Tensor:
    """The gradient of the products (36, tiles, K) to that of the weight (K, C, 3, 3)."""
    values, _ = transform_tiles(features, workspace)
    kernels, channels = products.shape[2], features.shape[1]
    transformed = workspace.take("kernel", kernels, TILE_SIDE**2, channels)
    torch.bmm(products.mT, values, out=transformed.transpose(0, 1))
    taps = torch.empty(kernels, KERNEL**2, channels, dtype=workspace.dtype)
    torch.bmm(workspace.kernel.T.expand(kernels, -1, -1), transformed, out=taps)
    return taps.view(kernels, KERNEL, KERNEL, channels).permute(0, 3, 1, 2)
