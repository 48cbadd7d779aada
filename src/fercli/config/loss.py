"""What is minimized, and how rare labels are treated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fercli.config.options import check_fields, option, raise_on

__all__ = ["BALANCES", "LossConfig"]

BALANCES: Final = ("none", "weights", "oversample")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss against the labels."""

    label_smoothing: float = option(
        0.1, low=0, below=1, help="Probability mass spread evenly over all labels."
    )
    balance: str = option(
        "none",
        choices=BALANCES,
        flag="--balance",
        help="How rare labels are balanced.",
        details="`weights` multiplies the loss of an image by the inverse frequency of its label; "
        "`oversample` samples images, with replacement, in proportion to it.",
    )
    balance_power: float = option(
        1.0,
        above=0,
        high=1,
        help="Exponent of the inverse frequency in `balance`.",
        details="At 1 all labels count alike; at 0.5 disgust counts 4 times as much as happy "
        "instead of 16.5 times.",
    )
    focal_gamma: float = option(
        0.0,
        low=0,
        help="Gamma of the focal loss; 0 is cross-entropy, 2 is usual.",
        details="It lowers the weight of images that are classified correctly with confidence "
        '(Lin et al., "Focal Loss for Dense Object Detection", 2017, section 3.2).',
    )
    logit_adjustment: float = option(
        0.0,
        low=0,
        help="Multiple of the labels' log frequencies added to the logits in the loss.",
        details="At 1 the balanced error is minimized (Menon et al., "
        '"Long-Tail Learning via Logit Adjustment", 2020, section 4.2).',
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        raise_on(check_fields(self))
