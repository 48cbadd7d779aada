"""Learning rate and momentum as functions of the step: no object, nothing to save or restore."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fercli.config import OptimizerConfig

__all__ = ["compute_learning_rate", "compute_momentum", "count_drops"]

_FIRST_FACTOR: Final = 0.04
"""Rate that `onecycle` begins at, as a fraction of the peak; fastai's and torch's."""
_MOMENTUM_DIP: Final = 0.1
"""What `onecycle` takes from the momentum at the peak, as they do (0.95 to 0.85)."""


def compute_learning_rate(
    config: OptimizerConfig, step: int, *, total_steps: int, drops: int = 0
) -> float:
    """Return the learning rate of a step.

    Args:
        config: Peak, schedule and warm-up.
        step: 0-based, over the whole run.
        total_steps: Steps of the whole run.
        drops: How often `step` or `plateau` has dropped before.
    """
    peak = config.learning_rate
    warmup_steps = round(config.warmup * total_steps)
    if config.schedule == "onecycle":
        height = _climb(config, step, total_steps)
        foot = _FIRST_FACTOR if step < warmup_steps else config.final_factor
        return peak * (foot + (1 - foot) * height)
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if config.schedule == "constant":
        return peak
    if config.schedule in {"step", "plateau"}:
        return peak * config.step_factor**drops
    progress = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    if config.schedule == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return peak * (1 + (config.final_factor - 1) * progress)


def compute_momentum(config: OptimizerConfig, step: int, *, total_steps: int) -> float:
    """Return the momentum of a step; the arguments are those of `compute_learning_rate`."""
    if config.schedule != "onecycle":
        return config.momentum
    return max(0.0, config.momentum - _MOMENTUM_DIP * _climb(config, step, total_steps))


def count_drops(accuracies: Sequence[float], patience: int) -> int:
    """Return how often `plateau` has dropped the rate.

    Args:
        accuracies: Of every epoch so far, on the validation split.
        patience: Epochs in a row without a new best that make it drop.
    """
    best, waited, drops = -math.inf, 0, 0
    for accuracy in accuracies:
        waited = 0 if accuracy > best else waited + 1
        best = max(best, accuracy)
        if waited >= patience:
            drops, waited = drops + 1, 0
    return drops


def _climb(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Return how far up `onecycle` is, from 0 at either end to 1 where it turns."""
    warmup_steps = round(config.warmup * total_steps)
    if step < warmup_steps:
        part = step / warmup_steps
    else:
        part = 1 - (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    return (1 - math.cos(math.pi * part)) / 2
