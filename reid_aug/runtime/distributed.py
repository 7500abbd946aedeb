"""ProcessGroup: the processes that train one network together, each on its part of every batch.

``torchrun`` starts them and says in the environment which is which. Gradients are averaged by hand
after each backward pass, in one message a network, and not by DistributedDataParallel: a step has
three networks, of which two are frozen while the first learns from them and are run twice before
they learn themselves, and that wrapper wants one forward pass for each backward pass of a network
whose frozen part never changes. The result is the same sum.

Since every rank starts from the same weights and takes the same mean, all stay equal to the bit.
What is alone needs no process group: every exchange with nobody gives back what came in.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from reid_aug.runtime.errors import UserError


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The number of this process, counted from 0, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def part_of(self, count: int, what: str = "train_generator.batch") -> slice:
        """This rank's part of ``count`` things that all ranks share evenly; ``what`` they are.

        >>> ProcessGroup(1, 4).part_of(8)
        slice(2, 4, None)

        Raises:
            UserError: If ``count`` cannot be shared evenly.
        """
        if count % self.size:
            raise UserError(
                f"{what} is the batch of all {self.size} ranks together and must be a multiple of "
                f"{self.size}, got {count}"
            )
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    @contextmanager
    def joined(self, device: torch.device) -> Iterator["ProcessGroup"]:
        """Meet the others for as long as this lasts; they wait for each other at its end.

        Raises:
            UserError: If they do not meet.
        """
        if self.size == 1:
            yield self
            return
        with _together():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        yield self
        with _together():
            distributed.barrier()
        distributed.destroy_process_group()

    def average_gradients(self, weights: Iterable[Tensor]) -> None:
        """Replace the gradients of ``weights`` by their mean over the group."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        mean = self._mean(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        pieces = mean.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))

    def average(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The means of scalars over the group."""
        stacked = torch.stack([value.detach().float() for value in values.values()])
        return dict(zip(values, self._mean(stacked).tolist(), strict=True))

    def gather(self, part: Tensor) -> Tensor:
        """(B, ...) of every rank to (ranks * B, ...), in order of rank; without gradient."""
        return torch.cat(self._gathered(part)) if self.size > 1 else part

    def stack(self, part: Tensor) -> Tensor:
        """(...) of every rank to (group, ...); the gradient finds its way back to every rank."""
        return _Stacked.apply(part, self)

    def is_agreed(self, value: int) -> bool:
        """Whether all ranks hold the same number."""
        found = self.gather(torch.tensor([value], device=self._device()))
        return bool((found == value).all())

    def _mean(self, values: Tensor) -> Tensor:
        return self._sum(values) / self.size if self.size > 1 else values

    def _sum(self, values: Tensor) -> Tensor:
        with _together():
            distributed.all_reduce(values)
        return values

    def _gathered(self, part: Tensor) -> list[Tensor]:
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(self.size)]
        with _together():
            distributed.all_gather(parts, part)
        return parts

    def _device(self) -> str:
        return "cuda" if self.size > 1 and distributed.get_backend() == "nccl" else "cpu"


class _Stacked(torch.autograd.Function):
    """The values of all ranks; what any rank's loss asks of a value comes back to its rank."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return torch.stack(group._gathered(part))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group._sum(gradient.contiguous())[ctx.group.rank], None


def process_group_of_environment() -> ProcessGroup:
    """What torchrun says of this process; alone where it says nothing."""
    return ProcessGroup(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def _together() -> Iterator[None]:
    """Say in one sentence that the others are gone."""
    try:
        yield
    except (RuntimeError, ValueError) as error:  # what torch.distributed raises, by backend
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"the ranks of this training lost each other, another one ended or never came "
            f"({reason}); what it said is the cause, and the same command goes on from what was "
            f"saved"
        ) from None
