"""What a training calls while it runs, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fercli.results import EpochReport
    from fercli.training.state import TrainingState

__all__ = ["StepReport", "TrainHooks"]


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """A look at a running epoch."""

    epoch: int
    """1-based."""
    step: int
    """1-based."""
    n_steps: int
    """Of this epoch."""
    loss: float
    """Mean of the epoch so far."""
    images_per_s: float
    """Of the epoch so far."""


@dataclass(frozen=True, kw_only=True)
class TrainHooks:
    """What a training calls."""

    save: Callable[[TrainingState, int], None]
    """Save the state after so many steps in all."""
    on_step: Callable[[StepReport], None]
    """Watch a step."""
    on_epoch: Callable[[EpochReport, TrainingState], None]
    """Watch an epoch, before its state is saved."""
    should_stop: Callable[[], int]
    """Return a signal's number to stop between two steps, 0 to go on."""
