"""The state of an Adam optimiser as named tensors, for the training state on disk."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def adam_tensors(optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """The state tensors of ``optimiser`` by "index of the weight/name of the quantity"."""
    state = optimiser.state_dict()["state"]
    return {f"{index}/{k}": v for index, slots in state.items() for k, v in slots.items()}


def restore_adam(optimiser: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that :func:`adam_tensors` returned, on the device of the weights."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        slots.setdefault(int(index), {})[name] = _with_layout_of(value, weights[int(index)])
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})


def _with_layout_of(value: Tensor, weight: Tensor) -> Tensor:
    """``value`` in the memory layout of its weight, which the fused step requires."""
    return torch.empty_like(weight).copy_(value) if value.ndim else value.to(weight.device)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``; the prefix is removed from the names."""
    found: Iterator[tuple[str, Tensor]] = (
        (name.removeprefix(prefix), tensor)
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    )
    return dict(found)
