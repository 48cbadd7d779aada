"""Everything a training would lose with its process, and how it becomes arrays and back.

The schedule and the order of images are functions of the step and need no state; what is left is
the weights, the optimizer, the random generators, the best weights so far and the numbers in
`Progress`. Restored, a run goes on bit for bit as if it had never stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fercli.results import EpochReport
from fercli.training.distributed import ALONE, Group, convert_sync_batch_norm
from fercli.training.ema import build_average
from fercli.training.optimizer import build_optimizer
from fercli.training.process import read_generators, restore_generators

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.fields import JsonObject
    from fercli.networks import FaceNetwork

__all__ = ["Progress", "TrainingState", "build_state"]


@dataclass(kw_only=True)
class Progress:
    """How far a run is."""

    epoch: int = 0
    """Epochs completed."""
    step: int = 0
    """Steps done in the current epoch."""
    loss_sum: float = 0.0
    """Of the current epoch, each step weighted by its images."""
    n_correct: int = 0
    """Images of the current epoch that were classified right."""
    n_seen: int = 0
    """Images of the current epoch."""
    train_s: float = 0.0
    """Training time of the current epoch, seconds."""
    cpu_s: float = 0.0
    """Processor time since the run began, all threads, until the last save."""
    history: list[EpochReport] = field(default_factory=list)
    """The epochs completed."""
    best_epoch: int = 0
    """Epoch of the best validation accuracy, 1-based; 0 before the first."""
    best_accuracy: float = -1.0
    """That accuracy."""
    finished: bool = False
    """No epoch is left to run, or patience has run out."""

    def start_epoch(self) -> None:
        """Forget the sums of the epoch before."""
        self.step, self.loss_sum, self.n_correct, self.n_seen, self.train_s = 0, 0.0, 0, 0, 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values; floats keep every bit."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: JsonObject) -> Progress:
        """Return what `to_json` gave; what an older fercli did not keep is as it begins.

        Raises:
            FercliError: As the object says: a field is of another type.
        """
        begun = dataclasses.asdict(cls())
        # Checkpoints of 2026-11-23 and before call it so.
        found: dict[str, Any] = {
            "n_correct" if key == "n_right" else key: values.value_like(key, begun.get(key, 0))
            for key in values.raw.keys() & {*begun, "n_right"} - {"history"}
        }
        names = [field.name for field in dataclasses.fields(EpochReport)][1:]
        history = [
            EpochReport(epoch=row.count("epoch"), **{name: row.number(name) for name in names})
            for row in values.children("history")
        ]
        return cls(**found, history=history)


@dataclass(kw_only=True)
class TrainingState:
    """A training between two steps."""

    network: FaceNetwork
    """On the device."""
    optimizer: torch.optim.Optimizer
    """Over its parameters."""
    scaler: torch.amp.GradScaler
    """Scales the loss in fp16, does nothing otherwise."""
    generator: torch.Generator
    """Of the augmentation, on the device; dropout uses torch's own generators."""
    progress: Progress
    """How far."""
    average: FaceNetwork | None
    """The average of the weights, on the device, if one is kept."""
    best: dict[str, Tensor]
    """Weights of the best epoch, on the CPU; empty before the first."""
    memory: Tensor | None = None
    """[N, K] float32, the network's answers to the training images, if it learns from them."""
    group: Group = ALONE
    """The processes that train it together, each with a state of its own."""
    _wrapped: nn.Module | None = None

    @property
    def wrapped(self) -> nn.Module:
        """The network as a step calls it: of a group, so that gradients are averaged."""
        return self.network if self._wrapped is None else self._wrapped

    def wrap(self) -> None:
        """Prepare `wrapped` for the parameters that are trained now."""
        if self.group.size == 1:
            return
        ids = [self.device] if self.device.type == "cuda" else None
        self._wrapped = DistributedDataParallel(self.network, device_ids=ids)

    def hold_back(self) -> contextlib.AbstractContextManager[None]:
        """Keep the gradients of a block in this process; those after it are shared with them."""
        if isinstance(self._wrapped, DistributedDataParallel):
            return self._wrapped.no_sync()
        return contextlib.nullcontext()

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.network.mean.device

    @property
    def eval_network(self) -> FaceNetwork:
        """The network that is validated and saved: the average, if one is kept."""
        return self.average if self.average is not None else self.network

    def keep_best(self) -> None:
        """Copy the judged weights as the best so far."""
        self.best = {
            name: tensor.detach().cpu().clone()
            for name, tensor in self.eval_network.state_dict().items()
        }

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything but `progress` as arrays; every process of a group must ask."""
        tensors = {f"model.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self.average is not None:
            averaged = self.average.state_dict()
            tensors |= {f"average.{name}": tensor for name, tensor in averaged.items()}
        if self.memory is not None:
            tensors["memory"] = self.memory
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            for name, value in values.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        for name, value in self.scaler.state_dict().items():
            tensors[f"scaler.{name}"] = torch.tensor(float(value), dtype=torch.float64)
        for rank, states in enumerate(self.group.all_gather(self._random_states())):
            tensors |= {f"rng{rank or ''}.{name}": values for name, values in states.items()}
        return {
            name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()
        }

    def restore(self, arrays: dict[str, NDArray[Any]], progress: Progress) -> None:
        """Take over what `to_arrays` gave, bit for bit.

        Raises:
            KeyError: The arrays are of another network.
            RuntimeError: Likewise.
        """
        tensors = {name: torch.from_numpy(_writable(array)) for name, array in arrays.items()}
        self.network.load_state_dict(_strip(tensors, "model."))
        if self.average is not None:
            self.average.load_state_dict(_strip(tensors, "average."))
        if self.memory is not None:
            self.memory.copy_(tensors["memory"])
        self.best = _strip(tensors, "best.")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _strip(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self._keep_memory_order()
        scaler = {name: value.item() for name, value in _strip(tensors, "scaler.").items()}
        if scaler:
            counted = {name: int(scaler[name]) for name in ("growth_interval", "_growth_tracker")}
            self.scaler.load_state_dict({**scaler, **counted})
        states = _strip(tensors, f"rng{self.group.rank or ''}.")
        self.generator.set_state(states["augment"])
        restore_generators(self.device, states)
        self.progress = progress

    def _random_states(self) -> dict[str, Tensor]:
        return {"augment": self.generator.get_state(), **read_generators(self.device)}

    def _keep_memory_order(self) -> None:
        """Lay moments out as their parameters: saved arrays are contiguous, and mixing is slow."""
        for parameter, moments in self.optimizer.state.items():
            for name, moment in moments.items():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter).copy_(moment)


def build_state(
    network: FaceNetwork, config: TrainConfig, device: torch.device, group: Group = ALONE
) -> TrainingState:
    """Return the state before the first step.

    Args:
        network: Initialized, on the CPU.
        config: Optimizer, precision, seed and memory order.
        device: Where to train.
        group: Who trains it with this process.
    """
    if group.size > 1:
        convert_sync_batch_norm(network, device)
    network.to(device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    return TrainingState(
        network=network,
        optimizer=build_optimizer(network, config.optimization),
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        generator=torch.Generator(device).manual_seed(config.seed + 1),
        progress=Progress(),
        average=build_average(network, config.optimization),
        best={},
        group=group,
    )


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that torch may write to; it warns about others."""
    return array if array.flags.writeable else array.copy()
