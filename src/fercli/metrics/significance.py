"""Whether two models that answered the same images differ by more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["adjust_holm", "bootstrap_difference", "compute_mcnemar"]


def compute_mcnemar(n_only_first: int, n_only_second: int) -> float:
    """Return the exact two-sided p value of McNemar's test, in (0, 1].

    Were both equally good, each image that only one of them has right would be either's with
    probability one half.

    Args:
        n_only_first: Images that only the first has right.
        n_only_second: Images that only the second has right.

    Source:
        McNemar, "Note on the sampling error of the difference between correlated proportions or
        percentages", 1947; the exact binomial form.
    """
    from scipy.stats import binomtest

    n_discordant = n_only_first + n_only_second
    return float(binomtest(n_only_first, n_discordant).pvalue) if n_discordant else 1.0


def bootstrap_difference(
    first_right: NDArray[np.bool_],
    second_right: NDArray[np.bool_],
    generator: np.random.Generator,
    *,
    n_draws: int = 10_000,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the second's accuracy less the first's.

    An image counts +1, 0 or -1, so drawing N images with replacement is one multinomial draw of
    how many of each there are.

    Args:
        first_right: `[N]`, which images the first has right, N >= 1.
        second_right: `[N]`, the same of the second.
        generator: Source of the draws.
        n_draws: Bootstrap samples.

    Source:
        Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979; percentile interval.
    """
    n_images = len(first_right)
    gained = int((second_right & ~first_right).sum())
    lost = int((first_right & ~second_right).sum())
    shares = np.array([gained, lost, n_images - gained - lost]) / n_images
    draws = generator.multinomial(n_images, shares, size=n_draws)
    differences = (draws[:, 0] - draws[:, 1]) / n_images
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for how many there are, in the order given.

    Source:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
