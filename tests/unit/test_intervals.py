from __future__ import annotations

import pytest

from fercli.metrics import (
    compute_wilson_interval,
)


@pytest.mark.parametrize(
    ("n_correct", "n_images", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_against_published_values(
    n_correct: int, n_images: int, low: float, high: float
) -> None:
    interval = compute_wilson_interval(n_correct, n_images)

    assert interval == pytest.approx((low, high), abs=1e-4)
