"""How weights are updated, and how the learning rate moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fercli.config.checks import raise_on
from fercli.ranges import find_below, find_excess, find_not_above, find_outside, find_unknown_choice

__all__ = ["AVERAGES", "OPTIMIZERS", "SCHEDULES", "OptimizerConfig"]

OPTIMIZERS: Final = ("adam", "adamw", "muon", "sgd")
AVERAGES: Final = ("none", "ema", "lookahead")
SCHEDULES: Final = ("constant", "step", "plateau", "cosine", "linear", "onecycle")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights are updated, and how the learning rate moves."""

    optimizer: str = "sgd"
    """`sgd` (with Nesterov momentum), `muon` (orthogonal steps for the 3x3 convolutions, `sgd`
    for the rest), `adam` or `adamw`."""
    learning_rate: float = 0.2
    """Peak learning rate, > 0; for a mean loss over a batch of `batch_size`."""
    momentum: float = 0.9
    """Momentum of `sgd` and `muon`, in [0, 1)."""
    sgd_ratio: float = 2.0
    """Learning rate of what `muon` leaves to `sgd`, as a multiple of `learning_rate`, > 0."""
    bias_ratio: float = 1.0
    """Learning rate of biases, of the norms above all, as a multiple of what it would be, > 0; in
    short trainings they have far to go in few steps (Page, "How to Train Your ResNet 8", 2019)."""
    weight_decay: float = 5e-4
    """Decay of convolution and dense weights, >= 0; norms and biases, and what `muon` keeps at a
    fixed length, are never decayed."""
    schedule: str = "cosine"
    """`constant`; `step` and `plateau` drop; `cosine` and `linear` end at `final_factor`;
    `onecycle` rises from a 25th and falls to `final_factor`, both by a cosine, while the momentum
    of `sgd` and `muon` falls by 0.1 and rises again (Smith, "A disciplined approach to neural
    network hyper-parameters", 2018)."""
    warmup: float = 0.1
    """Part of all steps in which the rate rises, linearly from 0 but for `onecycle`, in [0, 1)."""
    final_factor: float = 0.01
    """Last learning rate of `cosine`, `linear` and `onecycle` as a fraction of the peak, in
    [0, 1]."""
    step_epochs: int = 5
    """Epochs between two drops of `step`, at least 1."""
    step_factor: float = 0.1
    """What a drop of `step` and `plateau` multiplies the rate by, in (0, 1]."""
    plateau_patience: int = 5
    """Epochs without a better validation accuracy before `plateau` drops, at least 1."""
    average: str = "none"
    """`none`; `ema` keeps a moving average of the weights, which is what is validated and saved;
    `lookahead` also puts it back into the network every five steps."""
    average_decay: float = 0.998
    """What a step of `ema` leaves of the average, in [0, 1): 0.998 looks back over 500 steps."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        raise_on(
            [
                *find_unknown_choice("optimizer", self.optimizer, OPTIMIZERS),
                *find_unknown_choice("schedule", self.schedule, SCHEDULES),
                *find_not_above("learning_rate", self.learning_rate, 0),
                *find_outside("momentum", self.momentum, 0, 0.9999),
                *find_below("weight_decay", self.weight_decay, 0),
                *find_outside("warmup", self.warmup, 0, 0.99),
                *find_outside("final_factor", self.final_factor, 0, 1),
                *find_outside("step_epochs", self.step_epochs, 1, 1_000_000),
                *find_not_above("step_factor", self.step_factor, 0),
                *find_excess("step_factor", self.step_factor, 1),
                *find_outside("plateau_patience", self.plateau_patience, 1, 1_000_000),
                *find_not_above("sgd_ratio", self.sgd_ratio, 0),
                *find_unknown_choice("average", self.average, AVERAGES),
                *find_not_above("bias_ratio", self.bias_ratio, 0),
                *find_outside("average_decay", self.average_decay, 0, 0.999999),
            ]
        )
