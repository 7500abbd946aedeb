"""Whether a processor computes the layers of a network right in bfloat16.

Some do not: on processors with AMX oneDNN returns NaN for convolutions of certain sizes. A training
then fails many steps later, or learns from wrong gradients. So every distinct layer is computed
once in both precisions before a training in bfloat16.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.machine import processor

COMPUTED = (_ConvNd, nn.Linear)  # what autocast computes in bfloat16
# A bfloat16 has 8 significant bits, so rounding one changes it by at most 2^-9 (0.2 %) of itself.
# Inputs, weights and results are rounded, sums are not: a layer is off by well under 1 %.
MATRIX_FEATURES = {"amx_bf16", "bf16"}  # of processors: of Intel, of ARM
LIMIT = 0.05  # relative L2 error


@dataclass(frozen=True)
class Layer:
    """A layer as it is used: ``shape``, the input's, and ``strides``, its order in memory."""

    kind: type[nn.Module]
    settings: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind.__name__}({self.settings})"


def note_of_bfloat16(is_wanted: bool, device: torch.device, key: str) -> str:
    """A note that single precision may be faster on this device; "" where there is nothing to say.

    A processor without instructions for products of bfloat16 matrices converts every number.

    Args:
        is_wanted: whether a training asks for bfloat16.
        key: the recipe key that turns bfloat16 on.
    """
    if not is_wanted or device.type != "cpu" or MATRIX_FEATURES & {*processor()["features"]}:
        return ""
    return (
        f"{key}=true on a processor without AMX, where single precision is usually faster: "
        f"compare the seconds per step of --dry-run with those of {key}=false"
    )


def require_right_bfloat16(
    run: Callable[[], object], modules: Iterable[nn.Module], device: torch.device, key: str
) -> None:
    """Compute every distinct convolution and linear layer of a network once in both precisions.

    Layers are distinct by type, settings, and shape and memory order of the input. Values are
    random, so that neither weights nor data decide. Buffers, gradients, and the state of PyTorch's
    random generator are afterwards as they were before. On another device nothing is done.

    Args:
        run: makes one forward pass of ``modules`` in single precision, with input of the shapes of
            the training. It is called without gradients.
        modules: the networks, on the CPU, in the mode of the training.
        key: the recipe key that turns bfloat16 on, for the message.

    Raises:
        UserError: If a result or a gradient in bfloat16 is not finite, or its relative L2 error is
            more than 0.05.
    """
    if device.type != "cpu":
        return
    for layer, module in _layers_used(run, list(modules)).items():
        if not _is_right(layer, module):
            size = "x".join(map(str, layer.shape))
            raise UserError(
                f"this processor and torch {torch.__version__} compute the layer {layer} wrong in "
                f"bfloat16 for an input of {size}; set the environment variable "
                f"ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 before the command, or train without "
                f"bfloat16 ({key}=false); reid-aug doctor checks all networks of a recipe"
            )


def _layers_used(run: Callable[[], object], modules: Sequence[nn.Module]) -> dict[Layer, nn.Module]:
    """The distinct layers that a forward pass computes, each with a module of that kind."""
    found: dict[Layer, nn.Module] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        given = inputs[0]
        key = Layer(type(module), module.extra_repr(), tuple(given.shape), given.stride())
        found.setdefault(key, module)

    layers = {part for module in modules for part in module.modules() if isinstance(part, COMPUTED)}
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with _untouched(modules), torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


@contextmanager
def _untouched(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Bring back the buffers of ``modules`` and the state of the random generator."""
    buffers = list(itertools.chain.from_iterable(module.buffers() for module in modules))
    before = [buffer.clone() for buffer in buffers]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)


def _is_right(layer: Layer, module: nn.Module) -> bool:
    """Whether output and gradients in bfloat16 are near those in single precision."""
    random = torch.Generator().manual_seed(0)

    def noise(like: Tensor) -> Tensor:
        return torch.empty_like(like, dtype=torch.float32, device="cpu").normal_(generator=random)

    given = noise(torch.empty_strided(layer.shape, layer.strides, device="meta"))
    weights = {name: noise(weight) for name, weight in module.named_parameters()}
    whole = _results(module, given, weights, random, False)
    half = _results(module, given, weights, random, True)
    return all(_is_near(ours, right) for ours, right in zip(half, whole, strict=True))


def _results(
    module: nn.Module,
    given: Tensor,
    weights: dict[str, Tensor],
    random: torch.Generator,
    is_half: bool,
) -> list[Tensor]:
    """The output of a layer, and the gradients of its input and of its weights."""
    random.manual_seed(1)
    leaves = [tensor.detach().requires_grad_() for tensor in (given, *weights.values())]
    named = dict(zip(weights, leaves[1:], strict=True))
    with torch.enable_grad():
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            output = functional_call(module, named, (leaves[0],))
        back = torch.empty_like(output, dtype=torch.float32).normal_(generator=random)
        gradients = torch.autograd.grad(output, leaves, back.to(output.dtype))
    return [output.detach(), *gradients]


def _is_near(ours: Tensor, right: Tensor) -> bool:
    """Whether the relative L2 error is within the limit; NaN and infinity are not."""
    error = (ours.float() - right).norm()
    return bool(error <= LIMIT * right.norm())
