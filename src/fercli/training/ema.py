"""An average of the weights over the last steps, less noisy than the weights themselves.

Norm statistics are averaged too: they must fit the weights they are used with.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from fercli.config import OptimizerConfig
    from fercli.networks import FaceNetwork

__all__ = ["build_average", "pair_floats", "update_average"]


def build_average(network: FaceNetwork, config: OptimizerConfig) -> FaceNetwork | None:
    """Return a copy of a network to keep the average in, or None when none is asked for."""
    return None if config.average == "none" else copy.deepcopy(network).eval()


def pair_floats(average: nn.Module, network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return what is averaged of both, by views that stay right: listing it takes time."""
    return _list_floats(average), _list_floats(network)


def update_average(
    average: list[Tensor], weights: list[Tensor], config: OptimizerConfig, step: int
) -> None:
    """Take the weights after a step into the average.

    Args:
        average: Changed in place.
        weights: Of the network, in the same order.
        config: How long the average looks back.
        step: 1-based, over the whole run.
    """
    # The first steps' weights are worth little: the average begins short and grows.
    decay = min(config.average_decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(average, weights, 1 - decay)


def _list_floats(network: nn.Module) -> list[Tensor]:
    return [item for item in network.state_dict().values() if item.is_floating_point()]
