"""A CUDA device that is not there: it computes on the CPU and refuses what CUDA refuses.

Inside :func:`pretend_cuda`, ``tensor.to("cuda")`` gives a :class:`PretendTensor`. Python finds its
device "cuda:0"; PyTorch's C++ code finds "cpu:0". A plain CPU tensor has no index, so both can be
told apart everywhere, and autograd, fused optimisers and autocast work as they do on the CPU. What
a GPU would refuse raises the error that CUDA gives: tensors of two devices in one operation,
``.numpy()`` and pickling of a tensor on the device, a generator of random numbers of the CPU. The
autocast of "cuda" is that of the CPU with the same types; the autocast of "cpu" has no effect on
the device, as in reality.

Not pretended: speed, memory, streams, the numbers of CUDA's kernels, several devices, compilers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
CUDA, CPU, INNER = torch.device("cuda:0"), torch.device("cpu"), torch.device("cpu:0")
INDEXING = {
    aten.index.Tensor, aten.index_put.default, aten.index_put_.default,
    aten._index_put_impl_.default, aten._unsafe_index.Tensor,
}  # fmt: skip
MOVING = {aten.copy_.default, aten._to_copy.default}  # the only ones that take both devices
HOST = (
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
    "host memory first."
)
MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and"
AUTOCAST = torch.autocast


class PretendTensor(torch.Tensor):
    """A tensor on the device; ``held`` is the CPU tensor with its values."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "PretendTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=INNER,
        )  # fmt: skip
        made.held = held.detach()
        return made

    def __init__(self, held: torch.Tensor) -> None:
        """Everything is done by ``__new__``."""

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.held!r})"

    def numpy(self, **_: Any) -> None:
        raise TypeError(HOST)

    def __array__(self, *_: Any, **__: Any) -> None:
        raise TypeError(HOST)

    def __reduce_ex__(self, _: Any) -> None:
        raise TypeError("a tensor of the pretend device must not be sent to another process")

    def tolist(self) -> list[Any]:
        return self.held.tolist()

    def cuda(self, *_: Any, **__: Any) -> "PretendTensor":
        return self

    @classmethod
    def __torch_dispatch__(cls, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Pretending(TorchDispatchMode):
    """Catches what has no argument on the device, as ``torch.ones(3, device="cuda")``."""

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _moved(tensor: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
    """``Tensor.to`` with the device that C++ knows."""
    given, named = tree_map(lambda value: INNER if _is_named_cuda(value) else value, (given, named))
    return torch._C.TensorBase.to(tensor, *given, **named)


def _made(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """``torch.tensor`` or ``torch.as_tensor``, which move what they made on the CPU."""

    def made(data: Any, *given: Any, device: Any = None, **named: Any) -> torch.Tensor:
        if device is None or not _is_named_cuda(device):
            return make(data, *given, device=device, **named)
        return _moved(make(data, *given, **named), CUDA)

    return made


def _is_named_cuda(value: Any) -> bool:
    return isinstance(value, str | torch.device) and torch.device(value).type == "cuda"


def _is_pretended(device: Any) -> bool:
    return device is not None and torch.device(device) in (CUDA, torch.device("cuda"), INNER)


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The result of an operation, on the device where CUDA would put it."""
    leaves = tree_leaves((args, kwargs))
    there = [leaf for leaf in leaves if isinstance(leaf, PretendTensor)]
    here = [
        leaf
        for leaf in leaves
        if isinstance(leaf, torch.Tensor) and not isinstance(leaf, PretendTensor)
    ]
    if there and here and func not in MOVING:
        _check_devices(func, args, here)
    device = kwargs.get("device")
    is_there = bool(there) if device is None else _is_pretended(device)
    if func is aten.copy_.default:
        is_there = isinstance(args[0], PretendTensor)
    if is_there and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    given, named = tree_map(_held, (args, kwargs))
    if device is not None:
        named["device"] = CPU
    if named.get("pin_memory"):
        named["pin_memory"] = False
    found = func(*given, **named)
    if not is_there:
        return args[0] if func is aten.copy_.default else found
    found = tree_map(lambda one: PretendTensor(one) if _is_plain(one) else one, found)
    return return_and_correct_aliasing(func, args, kwargs, found) if there else found


def _check_devices(func: Any, args: Any, here: list[torch.Tensor]) -> None:
    """Raise the error of CUDA if an operation with tensors of two devices is not allowed."""
    if func in INDEXING:  # the places may be on the CPU, the tensor that is indexed may not
        values = args[2:3] if len(args) > 2 else ()
        is_right = isinstance(args[0], PretendTensor) and all(
            isinstance(value, PretendTensor) or value.ndim == 0 for value in values
        )
    else:  # a number of the CPU may take part in what is done element by element
        is_right = torch.Tag.pointwise in func.tags and all(one.ndim == 0 for one in here)
        is_right = is_right and (isinstance(args[0], PretendTensor) or func._schema.name[-1] != "_")
    if not is_right:
        raise RuntimeError(f"{MIXED} cpu! (in {func})")


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, PretendTensor) else leaf


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, PretendTensor)


class _Autocast(AUTOCAST):  # type: ignore[misc, valid-type]
    """The autocast of the device; that of the CPU has no effect here."""

    def __init__(
        self, device_type: str, dtype: torch.dtype | None = None, enabled: bool = True, **_: Any
    ) -> None:
        is_cuda = device_type == "cuda"
        super().__init__("cpu", dtype or torch.bfloat16, enabled=enabled and is_cuda)


def _functions_of_cuda() -> dict[str, Any]:
    """What ``torch.cuda`` answers on a machine with one GPU."""
    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: None,
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_device_name": lambda device=None: "Pretend GPU",
        "get_device_capability": lambda device=None: (9, 0),
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "set_rng_state": lambda state, device=None: None,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "mem_get_info": lambda device=None: (70 << 30, 80 << 30),
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "empty_cache": lambda: None,
        "is_current_stream_capturing": lambda: False,
        "_lazy_init": lambda: None,
        "_is_in_bad_fork": lambda: False,
    }


@contextmanager
def pretend_cuda() -> Iterator[None]:
    """Have a device "cuda" in this thread, for one block of code."""
    accelerator = {
        "is_available": lambda: True,
        "current_accelerator": lambda check_available=False: torch.device("cuda"),
        "current_device_index": lambda: 0,
        "set_device_index": lambda device: None,
        "current_stream": lambda device=None: SimpleNamespace(is_capturing=lambda: False),
    }
    swaps = torch.__future__
    before = swaps.get_swap_module_params_on_conversion()
    with (
        mock.patch.multiple(torch.cuda, **_functions_of_cuda()),
        mock.patch.multiple(torch.accelerator, **accelerator),
        mock.patch.object(torch.Tensor, "to", _moved),
        mock.patch.object(torch.Tensor, "pin_memory", lambda self, device=None: self),
        mock.patch.object(torch, "tensor", _made(torch.tensor)),
        mock.patch.object(torch, "as_tensor", _made(torch.as_tensor)),
        mock.patch.object(torch, "autocast", _Autocast),
    ):
        swaps.set_swap_module_params_on_conversion(True)
        try:
            with _Pretending():
                yield
        finally:
            swaps.set_swap_module_params_on_conversion(before)
