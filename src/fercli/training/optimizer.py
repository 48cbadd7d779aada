"""Build the optimizer of a config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from fercli.config import OptimizerConfig

__all__ = ["build_optimizer"]


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build an optimizer over all parameters.

    Weights of convolutions and dense layers are decayed; norms and biases, which have one
    dimension, are not: decaying a scale that the next norm undoes only changes its step size.

    Args:
        network: Whose parameters are updated.
        config: Which optimizer, and its numbers.
    """
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(
            groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov
        )
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.Adam(groups, lr=config.learning_rate)
