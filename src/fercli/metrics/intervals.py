"""Confidence intervals of a fraction."""

from __future__ import annotations

__all__ = ["compute_wilson_interval"]


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
