"""What Adam remembers, as tensors with names: a part of a training state."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def adam_tensors(optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """The memory of ``optimiser``: "place of the weight/what" to a tensor."""
    memory = optimiser.state_dict()["state"]
    return {f"{place}/{k}": v for place, slots in memory.items() for k, v in slots.items()}


def restore_adam(optimiser: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    """Give ``optimiser`` the memory of :func:`adam_tensors`, on the device of its weights."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, _, name = key.partition("/")
        slots.setdefault(int(place), {})[name] = _laid_out(value, weights[int(place)])
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})


def _laid_out(value: Tensor, weight: Tensor) -> Tensor:
    """``value`` in the memory order of its weight, which the fused step takes for granted."""
    return torch.empty_like(weight).copy_(value) if value.ndim else value.to(weight.device)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    found: Iterator[tuple[str, Tensor]] = (
        (name.removeprefix(prefix), tensor)
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    )
    return dict(found)
