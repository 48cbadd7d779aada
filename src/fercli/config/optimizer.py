"""How weights are updated, and how the learning rate moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fercli.config.options import check_fields, option, raise_on

__all__ = ["AVERAGES", "OPTIMIZERS", "SCHEDULES", "OptimizerConfig"]

OPTIMIZERS: Final = ("adam", "adamw", "muon", "sgd")
AVERAGES: Final = ("none", "ema")
SCHEDULES: Final = ("constant", "step", "plateau", "cosine", "linear", "onecycle")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights are updated, and how the learning rate moves."""

    optimizer: str = option(
        "sgd",
        choices=OPTIMIZERS,
        flag="--optimizer",
        help="The optimizer.",
        details="`sgd` has Nesterov momentum; `muon` takes orthogonal steps for the 3x3 "
        "convolutions and leaves the rest to `sgd`.",
    )
    learning_rate: float = option(
        0.2,
        above=0,
        flag="--learning-rate",
        help="Peak learning rate.",
        details="It is for the mean loss over a batch of `batch_size`.",
    )
    momentum: float = option(0.9, low=0, below=1, help="Momentum of `sgd` and `muon`.")
    sgd_ratio: float = option(
        2.0,
        above=0,
        help="Learning rate of what `muon` leaves to `sgd`, as a multiple of `learning_rate`.",
    )
    bias_ratio: float = option(
        1.0,
        above=0,
        help="Learning rate of biases, mainly of norms, as a multiple of the other weights'.",
        details="In short trainings, biases must move far in few steps (Page, "
        '"How to Train Your ResNet 8", 2019).',
    )
    trunk_ratio: float = option(
        1.0,
        above=0,
        high=1,
        help="Learning rate of all but the last layer, as a fraction of that layer's.",
        details="For fine-tuning: what was learned before changes less than what is new.",
    )
    weight_decay: float = option(
        5e-4,
        low=0,
        flag="--weight-decay",
        help="Weight decay.",
        details="Applied to convolution and dense weights; norms, biases and what `muon` keeps at "
        "a fixed length are never decayed.",
    )
    schedule: str = option(
        "cosine",
        choices=SCHEDULES,
        help="How the learning rate moves after the warm-up.",
        details="`step` and `plateau` drop; `cosine` and `linear` end at `final_factor`; "
        "`onecycle` rises from a 25th and falls to `final_factor`, both by a cosine, while the "
        'momentum of `sgd` and `muon` falls by 0.1 and rises again (Smith, "A disciplined approach '
        'to neural network hyper-parameters", 2018).',
    )
    warmup: float = option(
        0.1,
        low=0,
        below=1,
        help="Fraction of all steps for warm-up: the rate rises, linearly from 0 except with "
        "`onecycle`.",
    )
    final_factor: float = option(
        0.01,
        low=0,
        high=1,
        help="Last rate of `cosine`, `linear` and `onecycle`, as a fraction of the peak.",
    )
    step_epochs: int = option(5, low=1, high=1_000_000, help="Epochs between two drops of `step`.")
    step_factor: float = option(
        0.1, above=0, high=1, help="Factor of the learning rate at a drop of `step` and `plateau`."
    )
    plateau_patience: int = option(
        5,
        low=1,
        high=1_000_000,
        help="Epochs without a better validation accuracy before `plateau` drops.",
    )
    average: str = option(
        "none",
        choices=AVERAGES,
        help="Which average of the weights is kept.",
        details="`ema`, an exponential moving average, is then what is validated and saved.",
    )
    average_decay: float = option(
        0.998,
        low=0,
        below=1,
        help="Decay of `ema` per step: 0.998 looks back over 500 steps.",
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        raise_on(check_fields(self))
