from __future__ import annotations

import numpy as np
import pytest

from fercli.metrics import adjust_holm, bootstrap_difference, compute_mcnemar


def test_mcnemar_counts_every_outcome() -> None:
    def count(first: int, second: int) -> float:
        n_images = first + second
        outcomes = [outcome.bit_count() for outcome in range(2**n_images)]
        far = [one for one in outcomes if abs(2 * one - n_images) >= abs(first - second)]
        return len(far) / float(2**n_images)

    for first in range(7):
        for second in range(7):
            assert compute_mcnemar(first, second) == pytest.approx(count(first, second))
    assert 0 < compute_mcnemar(2000, 1000) < 1e-50


def test_the_interval_is_that_of_drawing_images() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random(400) < 0.6, generator.random(400) < 0.7

    low, high = bootstrap_difference(first, second, np.random.default_rng(0))

    drawn = generator.integers(0, 400, (4000, 400))
    differences = second[drawn].mean(axis=1) - first[drawn].mean(axis=1)
    assert (low, high) == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.006)


def test_holm_multiplies_the_smallest_most() -> None:
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_holm([0.5, 0.9]) == [1.0, 1.0]
    assert adjust_holm([]) == []
