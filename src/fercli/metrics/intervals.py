"""Confidence intervals of a share."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["compute_wilson_interval"]

_Z95: Final = 1.959963984540054
"""The normal quantile that leaves 2.5 % above it."""


def compute_wilson_interval(n_right: int, n_images: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy, both ends in [0, 1].

    Args:
        n_right: Right answers.
        n_images: All answers, at least 1.

    Source:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    share = n_right / n_images
    z2 = _Z95 * _Z95
    center = share + z2 / (2 * n_images)
    spread = _Z95 * math.sqrt(share * (1 - share) / n_images + z2 / (4 * n_images**2))
    scale = 1 + z2 / n_images
    return max(0.0, (center - spread) / scale), min(1.0, (center + spread) / scale)
