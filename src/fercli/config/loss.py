"""What is minimized, and how rare labels are treated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fercli.config.checks import raise_on
from fercli.ranges import find_below, find_excess, find_not_above, find_outside, find_unknown_choice

__all__ = ["BALANCES", "LossConfig"]

BALANCES: Final = ("none", "weights", "oversample")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss against the labels."""

    label_smoothing: float = 0.1
    """Probability mass spread over all labels, in [0, 1)."""
    balance: str = "none"
    """`none`; `weights` multiplies the loss of an image by how rare its label is; `oversample`
    draws images, with replacement, the more often the rarer their label is."""
    balance_power: float = 1.0
    """What `balance` raises the inverse frequency of a label to, in (0, 1]: at 1 all labels count
    alike, at 0.5 disgust counts 4 times as much as happy instead of 16.5 times."""
    focal_gamma: float = 0.0
    """Weighs an image down the surer it is got right, at least 0; 2 is usual (Lin et al., "Focal
    Loss for Dense Object Detection", 2017, section 3.2)."""
    logit_adjustment: float = 0.0
    """Multiple of the labels' log frequencies added to the logits in the loss, at least 0; at 1
    what is minimized is the balanced error (Menon et al., "Long-Tail Learning via Logit
    Adjustment", 2020, section 4.2)."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        raise_on(
            [
                *find_outside("label_smoothing", self.label_smoothing, 0, 0.99),
                *find_unknown_choice("balance", self.balance, BALANCES),
                *find_not_above("balance_power", self.balance_power, 0),
                *find_excess("balance_power", self.balance_power, 1),
                *find_below("focal_gamma", self.focal_gamma, 0),
                *find_below("logit_adjustment", self.logit_adjustment, 0),
            ]
        )
