"""How far a model's confidence is from its accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compute_brier", "compute_ece", "compute_nll"]


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
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(labels))


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
