from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fercli.metrics import (
    bin_confidence,
    change_temperature,
    compute_brier,
    compute_coverage,
    compute_ece,
    compute_nll,
    fit_temperature,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw(n_images: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(7), n_images).astype(np.float32)
    return probabilities, generator.integers(0, 7, n_images).astype(np.uint8)


def test_a_bin_holds_its_upper_end() -> None:
    # In quarters: (0, 0.25], (0.25, 0.5], (0.5, 0.75], (0.75, 1].
    best = np.array([0.5, 0.5625, 0.75, 0.8125, 1.0], dtype=np.float32)
    probabilities = np.stack([best, 1 - best], axis=1)
    labels = np.array([0, 1, 0, 0, 1], dtype=np.uint8)

    counts, confidence, right = bin_confidence(probabilities, labels, n_bins=4)

    assert counts.tolist() == [0, 1, 2, 2]
    assert confidence == pytest.approx([0, 0.5, 1.3125, 1.8125])
    assert right.tolist() == [0, 1, 1, 1]
    assert [len(part) for part in bin_confidence(probabilities, labels)] == [15, 15, 15]


def test_brier_by_hand() -> None:
    probabilities = np.array([[0.75, 0.25, 0], [0, 0, 1]], dtype=np.float32)

    scores = [compute_brier(probabilities, np.array(labels)) for labels in ([0, 2], [1, 0])]

    assert scores == pytest.approx([0.125 / 2, (1.125 + 2) / 2])


def test_ece_agrees_with_brute_force() -> None:
    probabilities, labels = draw(500, 9)
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    expected = 0.0
    for low, high in pairwise(np.linspace(0, 1, 16)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            expected += gap * inside.sum() / 500

    assert compute_ece(probabilities, labels) == pytest.approx(expected, abs=1e-6)


def test_the_temperature_is_the_best_of_a_fine_grid() -> None:
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 3, (500, 7))
    labels = (logits + generator.gumbel(0, 2, logits.shape)).argmax(axis=1).astype(np.uint8)
    probabilities = _soften(logits)

    temperature = fit_temperature(probabilities, labels)

    grid = np.linspace(0.25, 4, 751)
    losses = [compute_nll(_soften(logits / one), labels) for one in grid]
    assert temperature == pytest.approx(grid[int(np.argmin(losses))], abs=0.006)


def test_a_temperature_has_bounds() -> None:
    sure = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)

    assert fit_temperature(sure, np.array([0, 1], dtype=np.uint8)) == pytest.approx(0.25)
    assert fit_temperature(sure, np.array([1, 0], dtype=np.uint8)) == pytest.approx(4.0)


def test_a_temperature_changes_confidence_and_no_answer() -> None:
    probabilities = _soften(np.random.default_rng(0).normal(0, 2, (50, 7)))

    warmer = change_temperature(probabilities, before=1.0, after=2.0)

    assert (warmer.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert (warmer.max(axis=1) < probabilities.max(axis=1)).all()
    back = change_temperature(warmer, before=2.0, after=1.0)
    assert back == pytest.approx(probabilities, abs=1e-6)


def test_coverage_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]], dtype=np.float32)

    points = compute_coverage(probabilities, np.array([0, 1, 1], dtype=np.uint8), (0.0, 0.65, 0.95))

    assert [point.coverage for point in points] == pytest.approx([1, 2 / 3, 0])
    assert [point.accuracy for point in points] == [pytest.approx(2 / 3), 1.0, None]


def _soften(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)
