from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fercli.emotions import LABELS
from fercli.metrics import (
    compute_scores,
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
