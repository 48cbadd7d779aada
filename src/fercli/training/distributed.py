"""The processes that train one network together; usually there is only one.

torch's launcher starts them (`torchrun`, or `fer train --processes`) and says through the
environment who is who. Every process draws the same batches and varies all of their images, which
is cheap, then steps over its own part: so one process and many see the same images, and nothing
has to be dealt out.

Batch norms take the statistics of the whole batch. torch's `SyncBatchNorm` computes on GPUs only;
ours computes anywhere, by the same formula, and is slower. Both keep the names of the weights, so
checkpoints and models stay what they are.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn import functional

from fercli.errors import ConfigError, PeerLostError, RunFailedError
from fercli.launch import check_group_device, read_launch

__all__ = [
    "ALONE",
    "Group",
    "SyncBatchNorm",
    "convert_sync_batch_norm",
    "explain_silence",
    "join_group",
]


@dataclass(frozen=True)
class Group:
    """Some processes, seen from one of them."""

    rank: int
    """Which this is, from 0; that one writes the files."""
    size: int
    """How many they are."""
    local_rank: int = 0
    """Which this is on its machine, from 0."""

    def local_device(self, device: torch.device) -> torch.device:
        """Return the device of this process: on a machine with several GPUs, one each."""
        if self.size > 1 and str(device) == "cuda":
            return torch.device("cuda", self.local_rank)
        return device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def shard(self, n_images: int) -> slice:
        """Return which images of a batch are this process's; parts differ by at most one."""
        return slice(self.rank * n_images // self.size, (self.rank + 1) * n_images // self.size)

    def shard_parts(self, n_images: int, n_parts: int) -> list[slice]:
        """Return which images of each part of a batch are this process's.

        The batch is parted before it is shared out, so that batch norms see the same images
        together in any number of processes.
        """
        ends = [number * n_images // n_parts for number in range(n_parts + 1)]
        return [
            slice(start + own.start, start + own.stop)
            for start, end in itertools.pairwise(ends)
            for own in [self.shard(end - start)]
        ]

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.size == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total

    def all_reduce_max(self, flags: tuple[int, int], device: torch.device) -> tuple[int, int]:
        """Return the larger of each flag over all processes."""
        if self.size == 1:
            return flags
        largest = torch.tensor(flags, device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        first, second = largest.tolist()
        return first, second

    def all_gather(self, value: Any) -> list[Any]:  # noqa: ANN401  # whatever a state is made of
        """Return the values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:  # noqa: ANN401  # likewise
        """Return the leading process's value."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]


ALONE = Group(0, 1)
"""One process."""


_SIGNS_OF_LOSS: Final = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "ncclRemoteError",
    "ncclCommAbort",
    "communicator was aborted",
    "collective operation timeout",
    "Timed out waiting",
)
"""What gloo (in a plain RuntimeError) and NCCL say of a process that cannot be reached any more."""


@contextmanager
def join_group(
    device: torch.device, advice: str, terms: Mapping[str, object] | None = None
) -> Iterator[Group]:
    """Meet the other processes that torch's launcher has started; alone, do nothing.

    Args:
        device: Of this process; decides what they talk through.
        advice: What to do when one of the others is gone.
        terms: What all of them must have been given alike, by name; plain JSON values.

    Raises:
        ConfigError: There are others, and they were given something else, or the device is one
            that they cannot share out.
        PeerLostError: Within the block, another process went away.
        RunFailedError: Within the block, NCCL failed for another reason.
    """
    rank, size = read_launch()
    if size == 1 or distributed.is_initialized():
        yield ALONE if size == 1 else _describe()
        return
    check_group_device(device)
    with explain_silence(advice):
        store, _, _ = next(rendezvous("env://", rank, size))
        _agree_on_terms(store, rank, size, terms or {})
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=size,
        )
    try:
        group = _describe()
        if device.type == "cuda":
            torch.cuda.set_device(group.local_device(device))
        with explain_silence(advice):
            yield group
    finally:
        distributed.destroy_process_group()


def _agree_on_terms(
    store: Any,  # noqa: ANN401  # torch's own, without a public name
    rank: int,
    size: int,
    terms: Mapping[str, object],
) -> None:
    """Compare what every process was given; through the store, for they may lack a common backend.

    Raises:
        ConfigError: Some were given something else than the first.
    """
    store.set(f"terms/{rank}", json.dumps(terms, sort_keys=True))
    first, *others = [json.loads(store.get(f"terms/{number}")) for number in range(size)]
    problems = [
        f"process {number} was given {name} {other.get(name)}, and process 0 {first.get(name)}"
        for number, other in enumerate(others, start=1)
        for name in sorted({*first, *other})
        if other.get(name) != first.get(name)
    ]
    # The store may end with the first process, and everybody is to read before that.
    store.set(f"read/{rank}", "")
    if problems and rank == 0:
        with contextlib.suppress(distributed.DistError):
            store.wait([f"read/{number}" for number in range(size)], dt.timedelta(seconds=10))
    if problems:
        raise ConfigError(*problems, hint="give every machine the same command, data and fercli")


@contextmanager
def explain_silence(advice: str) -> Iterator[None]:
    """Tell why processes cannot talk to each other any more.

    Args:
        advice: What to do when one of the others is gone.

    Raises:
        PeerLostError: One of the others went away.
        RunFailedError: NCCL failed for another reason.
    """
    try:
        yield
    except RuntimeError as reason:
        if _tells_of_loss(reason):
            message = "another process of this training is gone"
            raise PeerLostError(message, hint=advice) from reason
        if not isinstance(reason, distributed.DistBackendError):
            raise
        text = " ".join(str(reason).split())[:300]
        message = f"the processes cannot talk to each other ({text})"
        hint = f"NCCL_DEBUG=INFO makes NCCL say more, --device cpu needs no NCCL; {advice}"
        raise RunFailedError(message, hint=hint) from reason


def _tells_of_loss(reason: RuntimeError) -> bool:
    if isinstance(reason, distributed.DistNetworkError):
        return True
    return any(words in str(reason) for words in _SIGNS_OF_LOSS)


def _describe() -> Group:
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    return Group(distributed.get_rank(), distributed.get_world_size(), local_rank)


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
