"""ProcessGroup: processes that train one network together, each on its part of every batch.

``torchrun`` starts the processes and sets their ranks in the environment. Gradients are averaged
explicitly after each backward pass, with one message per network. DistributedDataParallel is not
used, because it requires one forward pass per backward pass and a fixed set of frozen weights. A
training step of the generator has three networks: two discriminators are frozen while the generator
is updated, and run twice before they are updated themselves. The averaged gradients are the same.

Every process starts from the same weights and applies the same mean, so the weights stay equal bit
by bit. A group of one process needs no communication; every exchange returns its input.
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
    """The rank of this process, counted from 0, and the number of processes."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process with rank 0, which writes all files."""
        return self.rank == 0

    def part_of(self, count: int, what: str = "train_generator.batch") -> slice:
        """The slice of ``count`` items that belongs to this process; all slices have equal length.

        Args:
            what: the name of ``count`` in the error message.

        >>> ProcessGroup(1, 4).part_of(8)
        slice(2, 4, None)

        Raises:
            UserError: If ``count`` is not a multiple of the number of processes.
        """
        if count % self.size:
            raise UserError(
                f"{what} is the batch of all {self.size} processes together and must be a multiple "
                f"of {self.size}, got {count}"
            )
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    @contextmanager
    def joined(self, device: torch.device) -> Iterator["ProcessGroup"]:
        """Connect to the other processes; at the end, wait until all of them arrive.

        Raises:
            UserError: If the connection fails or is lost.
        """
        if self.size == 1:
            yield self
            return
        with _connection_errors():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        yield self
        with _connection_errors():
            distributed.barrier()
        distributed.destroy_process_group()

    def average_gradients(self, weights: Iterable[Tensor]) -> None:
        """Replace the gradients of ``weights`` by their mean over all processes."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        mean = self._mean(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        pieces = mean.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))

    def average(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The means of scalar tensors over all processes, by name."""
        stacked = torch.stack([value.detach().float() for value in values.values()])
        return dict(zip(values, self._mean(stacked).tolist(), strict=True))

    def gather(self, part: Tensor) -> Tensor:
        """Concatenate the tensors (B, ...) of all processes to (size * B, ...), in order of rank.

        The result has no gradient.
        """
        return torch.cat(self._gathered(part)) if self.size > 1 else part

    def stack(self, part: Tensor) -> Tensor:
        """Stack the tensors (...) of all processes to (size, ...), in order of rank.

        The gradient is propagated to the tensors of all processes.
        """
        result: Tensor = _Stacked.apply(part, self)
        return result

    def is_agreed(self, value: int) -> bool:
        """Whether ``value`` is equal in all processes."""
        found = self.gather(torch.tensor([value], device=self._device()))
        return bool((found == value).all())

    def _mean(self, values: Tensor) -> Tensor:
        return self._sum(values) / self.size if self.size > 1 else values

    def _sum(self, values: Tensor) -> Tensor:
        with _connection_errors():
            distributed.all_reduce(values)
        return values

    def _gathered(self, part: Tensor) -> list[Tensor]:
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(self.size)]
        with _connection_errors():
            distributed.all_gather(parts, part)
        return parts

    def _device(self) -> str:
        return "cuda" if self.size > 1 and distributed.get_backend() == "nccl" else "cpu"


class _Stacked(torch.autograd.Function):
    """Stack the tensors of all processes; the gradient is the sum over their losses."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return torch.stack(group._gathered(part))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group._sum(gradient.contiguous())[ctx.group.rank], None


def process_group_of_environment() -> ProcessGroup:
    """The process group that torchrun set in the environment; one process without torchrun."""
    return ProcessGroup(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn errors of the connection to other processes into a UserError."""
    try:
        yield
    except (RuntimeError, ValueError) as error:  # which of them is raised depends on the backend
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"the processes of this training lost their connection, another one ended or did not "
            f"start ({reason}); read its error message for the cause, then run the same command "
            f"again, it resumes from what was saved"
        ) from None
