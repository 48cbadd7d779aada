"""Build the optimizer of a config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fercli.training.muon import Muon

if TYPE_CHECKING:
    from fercli.config import OptimizerConfig

__all__ = ["build_optimizer", "set_rates"]


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build an optimizer over all parameters that are trained.

    Weights of convolutions and dense layers are decayed; norms and biases, which have one
    dimension, are not: decaying a scale that the next norm undoes only changes its step size.

    Args:
        network: Whose parameters are updated.
        config: Which optimizer, and its numbers.
    """
    trained = [(name, item) for name, item in network.named_parameters() if item.requires_grad]
    weights = [item for _, item in trained if item.ndim > 1]
    scales = [item for name, item in trained if item.ndim <= 1 and not name.endswith("bias")]
    biases = [item for name, item in trained if item.ndim <= 1 and name.endswith("bias")]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": config.weight_decay, "ratio": 1.0},
        {"params": scales, "weight_decay": 0.0, "ratio": 1.0},
        {"params": biases, "weight_decay": 0.0, "ratio": config.bias_ratio},
    ]
    if config.optimizer == "muon":
        return Muon(
            _group_for_muon(groups, config), lr=config.learning_rate, momentum=config.momentum
        )
    if config.optimizer == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(
            groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov
        )
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.Adam(groups, lr=config.learning_rate)


def set_rates(optimizer: torch.optim.Optimizer, rate: float, momentum: float) -> None:
    """Set the learning rate of every group, some take a multiple of it, and the momentum.

    Adam's moments have decays of their own, which stay.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["ratio"]
        if "momentum" in group:
            group["momentum"] = momentum


def _group_for_muon(groups: list[dict[str, Any]], config: OptimizerConfig) -> list[dict[str, Any]]:
    """Split off the convolutions between two norms: all but a first one, on one channel."""
    weights = groups[0]
    hidden = [p for p in weights["params"] if p.ndim == 4 and p.shape[1] > 1]
    chosen = set(map(id, hidden))
    others = [p for p in weights["params"] if id(p) not in chosen]
    left = [{**weights, "params": others}, *groups[1:]]
    rest = [
        {**group, "orthogonal": False, "ratio": config.sgd_ratio * group["ratio"]} for group in left
    ]
    return [{"params": hidden, "weight_decay": 0.0, "orthogonal": True, "ratio": 1.0}, *rest]
