"""How far a model's confidence is from its accuracy, and the one number that mends it.

A temperature divides the logits: it changes how sure a model is and never what it says. It works on
probabilities as well as on logits, since a logarithm undoes the softmax up to a constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.results import CoveragePoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "THRESHOLDS",
    "bin_confidence",
    "change_temperature",
    "compute_brier",
    "compute_coverage",
    "compute_ece",
    "compute_nll",
    "fit_temperature",
]

THRESHOLDS: Final = tuple(round(0.05 * step, 2) for step in range(20))
"""Confidences at which coverage is reported: 0, 0.05, ... 0.95."""
_COOLEST: Final = 0.25
_WARMEST: Final = 4.0
"""Beyond these a temperature would not mend a model but hide that it is broken, or that the
images it was fitted on are all right or too few."""
_HALVINGS: Final = 50


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Return the temperature that makes the negative log-likelihood smallest, in [0.25, 4].

    The likelihood is convex in the inverse of the temperature, so halving an interval by the sign
    of its slope finds the one minimum.

    Args:
        probabilities: `[N, K]` at temperature 1, N >= 1.
        labels: `[N]`, the truth.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2.
    """
    logits = _to_logits(probabilities)
    truth = logits[np.arange(len(labels)), labels]
    low, high = 1 / _WARMEST, 1 / _COOLEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = (_to_probabilities(logits * middle) * logits).sum(axis=1)
        low, high = (low, middle) if (expected - truth).mean() > 0 else (middle, high)
    return float(2 / (low + high))


def change_temperature(
    probabilities: NDArray[np.float32], *, before: float, after: float
) -> NDArray[np.float32]:
    """Return what a model would say at another temperature, `[N, K]`.

    Args:
        probabilities: `[N, K]`, what it says.
        before: The temperature it says it at, above 0.
        after: The other one, above 0.
    """
    changed = _to_probabilities(_to_logits(probabilities) * (before / after))
    return changed.astype(np.float32)


def bin_confidence(
    probabilities: NDArray[np.float32], labels: NDArray[np.uint8], *, n_bins: int = 15
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return count, sum of confidence and number correct for equal-width confidence bins.

    Args:
        probabilities: `[N, K]`.
        labels: `[N]`, the truth.
        n_bins: Bins over (0, 1].

    Returns:
        `[n_bins]` each: images (int), the sum of their confidences, the number of right answers
        (both float).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    return (
        np.bincount(bins, minlength=n_bins),
        np.bincount(bins, weights=confidence, minlength=n_bins),
        np.bincount(bins, weights=right, minlength=n_bins),
    )


def compute_ece(
    probabilities: NDArray[np.float32], labels: NDArray[np.uint8], *, n_bins: int = 15
) -> float:
    """Return the expected calibration error, in [0, 1].

    Args:
        probabilities: `[N, K]`.
        labels: `[N]`, the truth.
        n_bins: Bins of equal width over the confidence.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3.
    """
    _, confidence, right = bin_confidence(probabilities, labels, n_bins=n_bins)
    return float(np.abs(confidence - right).sum() / len(labels))


def compute_nll(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Return the mean negative log-likelihood in nats.

    A probability that rounded to 0 counts as the smallest float32, so that the mean is finite.
    """
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean())


def compute_brier(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Return the mean squared distance to the one-hot truth, in [0, 2].

    Source:
        Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def compute_coverage(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.uint8],
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[CoveragePoint]:
    """Return coverage and accuracy at each confidence threshold.

    Args:
        probabilities: `[N, K]`.
        labels: `[N]`, the truth.
        thresholds: Least confidences, as `fer predict --min-confidence` takes them.

    Source:
        El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", 2010.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    points = []
    for threshold in thresholds:
        sure = confidence >= threshold
        accuracy = float(right[sure].mean()) if sure.any() else None
        points.append(
            CoveragePoint(min_confidence=threshold, coverage=float(sure.mean()), accuracy=accuracy)
        )
    return points


def _to_logits(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return logits `[N, K]`; a probability that rounded to 0 counts as the smallest float32."""
    tiny = np.finfo(np.float32).tiny
    logits: NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), tiny))
    return logits


def _to_probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax, `[N, K]`."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
