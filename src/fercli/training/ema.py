"""An average of the weights over the last steps, less noisy than the weights themselves.

Norm statistics are averaged too: they must fit the weights they are used with.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from fercli.config import OptimizerConfig
    from fercli.networks import FaceNetwork

__all__ = ["build_average", "update_average"]

_LOOKAHEAD_STEPS: Final = 5
_LOOKAHEAD_DECAY: Final = 0.95**_LOOKAHEAD_STEPS


def build_average(network: FaceNetwork, config: OptimizerConfig) -> FaceNetwork | None:
    """Return a copy of a network to keep the average in, or None when none is asked for."""
    return None if config.average == "none" else copy.deepcopy(network).eval()


def update_average(
    average: nn.Module, network: nn.Module, config: OptimizerConfig, step: int, total_steps: int
) -> None:
    """Take the weights after a step into the average.

    Args:
        average: Changed in place.
        network: Its weights; changed in place by `lookahead`.
        config: Which average, and how long it looks back.
        step: 1-based, over the whole run.
        total_steps: Of the whole run.

    Source:
        Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019, with the growing
        decay of Jordan 2024, arXiv 2404.00498, section 3.4.
    """
    slow, fast = _list_floats(average), _list_floats(network)
    with torch.no_grad():
        if config.average == "ema":
            # The first steps' weights are worth little: the average begins short and grows.
            decay = min(config.average_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(slow, fast, 1 - decay)
        elif step % _LOOKAHEAD_STEPS == 0 or step == total_steps:
            decay = _LOOKAHEAD_DECAY * (step / total_steps) ** 3
            torch._foreach_lerp_(slow, fast, 1 - decay)
            torch._foreach_copy_(fast, slow)


def _list_floats(network: nn.Module) -> list[Tensor]:
    return [item for item in network.state_dict().values() if item.is_floating_point()]
