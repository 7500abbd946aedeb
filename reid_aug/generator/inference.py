"""Inference with a generator: the network prepared for it, and images from arrays.

On a CPU the 3x3 convolutions run by :mod:`reid_aug.generator.winograd`. The weights do not change
during inference, so the kernels are transformed once. A transformed kernel is four times as large
as the kernel: 640 MB for the network of the paper.
"""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from reid_aug.generator.interface import GeneratorNetwork
from reid_aug.generator.network import Generator, check_size, to_pixels, to_signed
from reid_aug.generator.winograd import (
    Winograd,
    Workspace,
    convolve,
    replace_convolutions,
    transform_kernel,
)
from reid_aug.runtime.errors import UserError

Network = TypeVar("Network", bound=GeneratorNetwork)
Array = np.ndarray | Tensor


def generate(
    generator: GeneratorNetwork,
    images: Array,
    source_keypoints: Array,
    target_keypoints: Array,
    source_cameras: Array | None = None,
    target_cameras: Array | None = None,
) -> np.ndarray:
    """Generate images of persons in other poses.

    It runs in eval mode on the device of the generator, and leaves the training mode as it was.

    >>> from reid_aug.generator import Generator, GeneratorConfig
    >>> generator = Generator(GeneratorConfig(width=4, blocks=1))
    >>> images = np.zeros((2, 128, 64, 3), np.uint8)
    >>> source = np.full((2, 18, 2), np.nan, np.float32)  # no joint is seen
    >>> target = np.full((2, 18, 2), 32.0, np.float32)
    >>> generated = generate(generator, images, source, target)
    >>> generated.shape, generated.dtype
    ((2, 128, 64, 3), dtype('uint8'))

    Args:
        images: (B, H, W, 3) uint8 RGB; H and W are multiples of ``generator.step``.
        source_keypoints: (B, 18, 2) float32, x and y in pixels of ``images``, NaN for unseen
            joints.
        target_keypoints: (B, 18, 2) float32, the poses to generate, as ``source_keypoints``.
        source_cameras: (B,) integers, the camids of ``images``; required for a camera-conditioned
            generator, and only for one.
        target_cameras: (B,) integers, the camids to generate for; as ``source_cameras``.

    Returns:
        (B, H, W, 3) uint8 RGB.

    Raises:
        UserError: If an array has another type or shape, or cameras are missing or not allowed.
    """
    pixels = _tensor("images", images, ("uint8",), (None, None, None, 3))
    count, height, width = pixels.shape[:3]
    check_size(height, width, generator.step)
    source = _keypoints("source_keypoints", source_keypoints, count)
    target = _keypoints("target_keypoints", target_keypoints, count)
    cameras = _cameras(generator, source_cameras, target_cameras, count)
    if not count:
        return np.empty((0, height, width, 3), np.uint8)
    device = next(generator.parameters(), torch.empty(0)).device
    modes = [(module, module.training) for module in generator.modules()]
    generator.eval()
    try:
        with torch.inference_mode():
            moved = (part.to(device) for part in (pixels, source, target))
            pixels, source, target = moved
            cameras = None if cameras is None else cameras.to(device)
            generated = generator.repose(to_signed(pixels), source, target, cameras)
            return to_pixels(generated).cpu().contiguous().numpy()
    finally:
        for module, is_training in modes:
            module.training = is_training


def _tensor(
    name: str, value: Array, types: tuple[str, ...], shape: tuple[int | None, ...]
) -> Tensor:
    """An array as a contiguous tensor, checked; None in ``shape`` is any length."""
    expected = ", ".join("any" if length is None else str(length) for length in shape)
    rule = f"{name} must be a numpy array or tensor of type {types[0]} and shape ({expected})"
    if not isinstance(value, np.ndarray | Tensor):
        raise UserError(f"{rule}, got {type(value).__name__}")
    found = str(value.dtype).removeprefix("torch.")
    fits = len(value.shape) == len(shape) and all(
        length in (None, own) for length, own in zip(shape, value.shape, strict=True)
    )
    if found not in types or not fits:
        raise UserError(f"{rule}, got {found} of shape {tuple(value.shape)}")
    if isinstance(value, np.ndarray):
        return torch.tensor(np.ascontiguousarray(value))
    return value.detach().contiguous()


def _keypoints(name: str, value: Array, count: int) -> Tensor:
    """Keypoints (B, 18, 2) float32, checked."""
    keypoints = _tensor(name, value, ("float32",), (count, 18, 2))
    if keypoints.isinf().any():
        raise UserError(f"{name} must be pixels, or NaN for unseen joints, got an infinite value")
    return keypoints


def _cameras(
    generator: GeneratorNetwork, source: Array | None, target: Array | None, count: int
) -> Tensor | None:
    """The camids (B, 2) int64 of sources and targets; None if not camera-conditioned."""
    names, given = ("source_cameras", "target_cameras"), (source, target)
    found = [name for name, value in zip(names, given, strict=True) if value is not None]
    if not generator.config.cameras:
        if found:
            raise UserError(
                f"{names[0]} and {names[1]} must be left out for a generator that is not "
                f"camera-conditioned, got {' and '.join(found)}"
            )
        return None
    if source is None or target is None:
        raise UserError(
            f"{names[0]} and {names[1]} must be given for a camera-conditioned generator (camids 1 "
            f"to {generator.config.cameras}), got {found[0] if found else 'neither'}"
        )
    integers = ("int64", "int32", "int16", "int8", "uint8")
    both = [_tensor(*one, integers, (count,)) for one in zip(names, (source, target), strict=True)]
    return torch.stack([camids.long().cpu() for camids in both], 1)


def ready_to_generate(generator: Network, device: torch.device) -> Network:
    """Return the generator itself, moved to the device and prepared for inference only.

    On a CPU the images of the built-in network differ from those before in the last digits of
    single precision.
    """
    generator.to(device).eval().requires_grad_(False)
    if isinstance(generator, Generator):
        generator.to(memory_format=torch.channels_last)
        if device.type == "cpu":
            replace_convolutions(generator, InferenceWinograd, Workspace())
    return generator


class InferenceWinograd(Winograd):
    """A convolution whose kernel is transformed once, in double precision; it cannot be trained."""

    min_tiles = 1

    def __init__(self, layer: nn.Conv2d, workspace: Workspace) -> None:
        super().__init__(layer, workspace)
        kernel = transform_kernel(layer.weight.detach().double(), Workspace(torch.float64))
        self.kernel = kernel.mT.to(  # (36, C, K)
            workspace.dtype, memory_format=torch.contiguous_format
        )

    def sums(self, features: Tensor) -> Tensor:
        """(B, C, h + 2, w + 2) to (B, K, h, w)."""
        return convolve(features, self.kernel, self.workspace)
