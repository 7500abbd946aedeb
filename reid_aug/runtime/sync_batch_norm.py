"""Batch norm over the batch of all group, and not of each.

With it, two ranks of 16 images compute what one process of 32 does. PyTorch's SyncBatchNorm does
the same with kernels that exist on GPUs only; this one is plain arithmetic, so a training can be
checked against one process on any machine.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_aug.runtime.distributed import ProcessGroup


class SharedBatchNorm(_BatchNorm):
    """As the batch norm it is made from, with mean and variance of all ranks together."""

    def __init__(self, norm: _BatchNorm, group: ProcessGroup) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.load_state_dict(norm.state_dict())
        self.weight, self.bias = norm.weight, norm.bias
        self.group = group

    def _check_input_dim(self, x: Tensor) -> None:
        """Any shape (B, C, ...) will do."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) of this rank to the same shape."""
        if not self.training:
            return super().forward(x)
        others = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x.float(), others, correction=0)
        means, variances = self.group.stack(torch.stack([mean, variance])).unbind(1)  # (group, C)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._remember(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        gain = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * gain
        shape = [1, -1] + [1] * (x.ndim - 2)
        return (x * gain.view(shape) + shift.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        count *= self.group.size
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        self.num_batches_tracked += 1


def share_norms(network: nn.Module, group: ProcessGroup) -> None:
    """Let every batch norm in ``network`` see the batch of all ranks; nothing to do for one."""
    if group.size == 1:
        return
    for name, child in network.named_children():
        if isinstance(child, _BatchNorm):
            setattr(network, name, SharedBatchNorm(child, group))
        else:
            share_norms(child, group)
