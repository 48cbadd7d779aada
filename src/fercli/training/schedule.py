"""The learning rate as a function of the step: no object, nothing to save or restore."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fercli.config import OptimizerConfig

__all__ = ["compute_learning_rate"]


def compute_learning_rate(
    config: OptimizerConfig, step: int, *, steps_per_epoch: int, total_steps: int
) -> float:
    """Return the learning rate of a step.

    Args:
        config: Peak, schedule and warm-up.
        step: 0-based, over the whole run.
        steps_per_epoch: Steps of one epoch.
        total_steps: Steps of the whole run.
    """
    peak = config.learning_rate
    warmup_steps = round(config.warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if config.schedule == "constant":
        return peak
    if config.schedule == "step":
        return peak * config.step_factor ** (step // steps_per_epoch // config.step_epochs)
    progress = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    if config.schedule == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return peak * (1 + (config.final_factor - 1) * progress)
