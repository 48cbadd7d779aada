"""Batch norms whose statistics are those of the whole batch, not of one process's part.

torch's `SyncBatchNorm` computes on GPUs only; ours computes anywhere, by the same formula, and is
slower. Both keep the names of the weights, so checkpoints and models stay what they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

__all__ = ["SyncBatchNorm", "convert_sync_batch_norm"]


def convert_sync_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Let all batch norms of a network compute over all processes; changes it in place."""
    if device.type == "cuda":
        convert = nn.SyncBatchNorm.convert_sync_batchnorm
        convert(network)  # type: ignore[no-untyped-call]  # torch's have no annotations
        return
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.__class__ = _SHARED[type(module)]  # type: ignore[assignment]  # same fields


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:  # noqa: ANN401  # torch's own kind
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401  # likewise
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _sum_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(values)
    return total


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  # what torch's own derive from
    """A batch norm over `[N, C]` or `[N, C, H, W]` that is spread over processes."""

    def forward(self, values: Tensor) -> Tensor:
        """Normalize; in training by the statistics of all processes, in evaluation as usual."""
        if not self.training:
            return functional.batch_norm(
                values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        axes = [0, *range(2, values.ndim)]
        shape = [1, -1, *[1] * (values.ndim - 2)]
        count = torch.tensor(float(values.numel() // values.shape[1]))
        # Two sums instead of one of squares: their difference would lose what it is made of.
        total = _sum_over_processes(torch.cat([values.float().sum(axes), count[None]]))
        n_values = total[-1].detach()
        mean = total[:-1] / n_values
        centered = values.float() - mean.view(shape)
        variance = _sum_over_processes(centered.square().sum(axes)) / n_values
        self._remember(mean.detach(), variance.detach() * n_values / (n_values - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalized: Tensor = centered * scale.view(shape) + self.bias.view(shape)
        return normalized.to(values)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            raise TypeError(self)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class _SharedBatchNorm1d(SyncBatchNorm, nn.BatchNorm1d):
    """Over `[N, C]`."""


class _SharedBatchNorm2d(SyncBatchNorm, nn.BatchNorm2d):
    """Over `[N, C, H, W]`."""


_SHARED = {nn.BatchNorm1d: _SharedBatchNorm1d, nn.BatchNorm2d: _SharedBatchNorm2d}
