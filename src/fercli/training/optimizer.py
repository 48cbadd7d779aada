"""Build the optimizer of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fercli.networks import find_head
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
    trained = {name: item for name, item in network.named_parameters() if item.requires_grad}
    if config.trunk_ratio == 1:
        groups = _group(trained, config, 1.0)
    else:
        prefix = f"{find_head(network)}."
        head = {name: item for name, item in trained.items() if name.startswith(prefix)}
        trunk = {name: item for name, item in trained.items() if name not in head}
        groups = [*_group(trunk, config, config.trunk_ratio), *_group(head, config, 1.0)]
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


def _group(
    trained: Mapping[str, nn.Parameter], config: OptimizerConfig, ratio: float
) -> list[dict[str, Any]]:
    """Return named parameters as groups: weights, scales, biases."""
    weights = [item for item in trained.values() if item.ndim > 1]
    flat = {name: item for name, item in trained.items() if item.ndim <= 1}
    scales = [item for name, item in flat.items() if not name.endswith("bias")]
    biases = [item for name, item in flat.items() if name.endswith("bias")]
    return [
        {"params": weights, "weight_decay": config.weight_decay, "ratio": ratio},
        {"params": scales, "weight_decay": 0.0, "ratio": ratio},
        {"params": biases, "weight_decay": 0.0, "ratio": config.bias_ratio * ratio},
    ]


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
    orthogonal = {"weight_decay": 0.0, "orthogonal": True, "ratio": weights["ratio"]}
    return [{"params": hidden, **orthogonal}, *rest]
