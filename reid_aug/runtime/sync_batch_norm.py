"""Batch norm with the statistics of the whole batch of a process group.

With it, two processes with 16 images each compute the same as one process with 32 images. PyTorch's
SyncBatchNorm does the same, but only on GPUs. This one uses plain tensor operations, so distributed
training can be compared with one process on any machine.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_aug.runtime.distributed import ProcessGroup


class SharedBatchNorm(_BatchNorm):
    """A copy of the batch norm ``norm`` that uses the mean and variance over all processes."""

    def __init__(self, norm: _BatchNorm, group: ProcessGroup) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.load_state_dict(norm.state_dict())
        self.weight, self.bias = norm.weight, norm.bias
        self.group = group

    def _check_input_dim(self, x: Tensor) -> None:
        """Accept any shape (B, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise this process's part of the batch, (B, C, ...), to the same shape."""
        if not self.training:
            return super().forward(x)
        axes = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x.float(), axes, correction=0)
        means, variances = self.group.stack(torch.stack([mean, variance])).unbind(1)  # (size, C)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._update_running(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        gain = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * gain
        shape = [1, -1] + [1] * (x.ndim - 2)
        return (x * gain.view(shape) + shift.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        count *= self.group.size
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        self.num_batches_tracked += 1


def share_norms(network: nn.Module, group: ProcessGroup) -> None:
    """Replace every batch norm in ``network`` by :class:`SharedBatchNorm`, unless size is 1."""
    if group.size == 1:
        return
    for name, child in network.named_children():
        if isinstance(child, _BatchNorm):
            setattr(network, name, SharedBatchNorm(child, group))
        else:
            share_norms(child, group)
