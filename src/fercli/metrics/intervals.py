"""Confidence intervals: of a fraction, of a mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["compute_mean_interval", "compute_wilson_interval"]


def compute_wilson_interval(n_correct: int, n_images: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy, both ends in [0, 1].

    Args:
        n_correct: Correct answers.
        n_images: All answers, at least 1.

    Source:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    from scipy.stats import binomtest

    low, high = binomtest(n_correct, n_images).proportion_ci(0.95, method="wilson")
    return float(low), float(high)


def compute_mean_interval(values: Sequence[float]) -> tuple[float, float, tuple[float, float]]:
    """Return mean, standard deviation (N - 1) and the 95 % interval of the mean.

    Args:
        values: At least two, drawn independently.

    Source:
        Student, "The Probable Error of a Mean", 1908.
    """
    from scipy.stats import t

    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    return mean, deviation, (mean - half, mean + half)
