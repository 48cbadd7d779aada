from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fercli.emotions import LABELS
from fercli.metrics import (
    change_temperature,
    compute_coverage,
    compute_ece,
    compute_nll,
    compute_scores,
    compute_wilson_interval,
    fit_temperature,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw(n_images: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(7), n_images).astype(np.float32)
    return probabilities, generator.integers(0, 7, n_images).astype(np.uint8)


def test_labels_that_are_neither_true_nor_said_have_no_score() -> None:
    probabilities = np.eye(7, dtype=np.float32)[[3, 3, 3, 4]]
    labels = np.array([3, 4, 3, 4], dtype=np.uint8)

    scores = compute_scores(probabilities, labels, LABELS)

    assert scores.macro_recall == scores.balanced_accuracy == pytest.approx(0.75)
    assert scores.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_label_counts_whether_it_occurs_once_or_is_only_said() -> None:
    # Label 0 occurs once and is missed, 4 once and is found, 5 is said once and never true.
    labels = np.array([3, 3, 3, 4, 0], dtype=np.uint8)
    probabilities = np.eye(7, dtype=np.float32)[[3, 3, 5, 4, 3]]

    scores = compute_scores(probabilities, labels, LABELS)

    assert scores.macro_f1 == pytest.approx((0 + 2 / 3 + 1 + 0) / 4)
    assert scores.macro_precision == pytest.approx((0 + 2 / 3 + 1 + 0) / 4)
    assert scores.macro_recall == pytest.approx((0 + 2 / 3 + 1 + 0) / 4)
    assert scores.balanced_accuracy == pytest.approx((0 + 2 / 3 + 1) / 3)
    assert scores.weighted_f1 == pytest.approx((0 + 3 * 2 / 3 + 1) / 5)


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_brute_force(seed: int) -> None:
    probabilities, labels = draw(200, seed)
    predicted = [max(range(7), key=lambda k: row[k]) for row in probabilities]

    scores = compute_scores(probabilities, labels, LABELS)

    pairs = list(zip(labels.tolist(), predicted, strict=True))
    assert scores.accuracy == sum(a == b for a, b in pairs) / 200
    f1s = []
    for k, name in enumerate(LABELS):
        hits = sum(a == b == k for a, b in pairs)
        said, were = sum(b == k for _, b in pairs), sum(a == k for a, _ in pairs)
        precision, recall = hits / said if said else 0.0, hits / were if were else 0.0
        total = precision + recall
        f1s.append(2 * precision * recall / total if total else 0.0)
        each = scores.per_class[name]
        assert each.precision == pytest.approx(precision)
        assert each.recall == pytest.approx(recall)
        assert each.f1 == pytest.approx(f1s[-1])
        assert each.support == were
        assert scores.confusion_matrix[k] == [sum(p == (k, j) for p in pairs) for j in range(7)]
    assert scores.macro_f1 == pytest.approx(sum(f1s) / 7)
    nll = -sum(math.log(row[a]) for row, a in zip(probabilities, labels, strict=True)) / 200
    assert scores.nll == pytest.approx(nll)
    brier = sum(
        sum((row[k] - (k == a)) ** 2 for k in range(7))
        for row, a in zip(probabilities, labels, strict=True)
    )
    assert scores.brier == pytest.approx(brier / 200)


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


def test_a_perfect_model() -> None:
    labels = np.arange(7, dtype=np.uint8)

    scores = compute_scores(np.eye(7, dtype=np.float32), labels, LABELS)

    assert scores.accuracy == scores.macro_f1 == scores.balanced_accuracy == 1
    assert scores.nll == scores.ece == scores.brier == 0
    assert scores.accuracy_ci95[1] == 1


def test_labels_that_do_not_occur_do_not_break_scores() -> None:
    probabilities, _ = draw(20, 1)

    scores = compute_scores(probabilities, np.zeros(20, dtype=np.uint8), LABELS)

    assert scores.per_class["happy"].support == 0
    assert scores.balanced_accuracy == scores.per_class["angry"].recall


def test_a_probability_of_zero_keeps_the_nll_finite() -> None:
    probabilities = np.eye(7, dtype=np.float32)

    scores = compute_scores(probabilities, np.full(7, 3, dtype=np.uint8), LABELS)

    assert math.isfinite(scores.nll)


@pytest.mark.parametrize(
    ("n_correct", "n_images", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_against_published_values(
    n_correct: int, n_images: int, low: float, high: float
) -> None:
    interval = compute_wilson_interval(n_correct, n_images)

    assert interval == pytest.approx((low, high), abs=1e-4)


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
