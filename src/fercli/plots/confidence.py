"""Confidence: calibration, and what a threshold costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.metrics import bin_confidence, compute_ece
from fercli.plots.figures import build_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fercli.results import CoveragePoint

__all__ = ["plot_coverage", "plot_reliability"]

_FEW: Final = 10


def plot_reliability(
    answers: Mapping[str, NDArray[np.float32]], labels: NDArray[np.uint8], title: str
) -> Figure:
    """Plot a reliability diagram for each set of answers, side by side.

    Args:
        answers: Probabilities `[N, K]` by what to call them, one or two.
        labels: `[N]`, the truth.
        title: One line above all.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    figure = build_figure(0.6 + 4.6 * len(answers), 5.6)
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(2, len(answers), squeeze=False, sharex=True, height_ratios=(4, 1))
    for (name, probabilities), (above, below) in zip(answers.items(), grid.T, strict=True):
        counts, confidence, right = bin_confidence(probabilities, labels)
        used = counts > 0
        n_bins = len(counts)
        centers = (np.arange(n_bins) + 0.5)[used] / n_bins
        sure, accurate = confidence[used] / counts[used], right[used] / counts[used]
        wide = 0.92 / n_bins
        # The accuracy of a handful of images says little.
        few = counts[used] < _FEW
        above.bar(centers[~few], accurate[~few], wide, color="#1f5a96", label="accuracy")
        if few.any():
            above.bar(
                centers[few], accurate[few], wide, color="#b9c3cf",
                label=f"accuracy, fewer than {_FEW} images",
            )  # fmt: skip
        above.bar(
            centers, sure - accurate, wide, bottom=accurate, color="none", edgecolor="#c4472b",
            hatch="//", linewidth=0.8, label="gap to the confidence",
        )  # fmt: skip
        above.plot([0, 1], [0, 1], color="gray", linestyle=":")
        above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        above.set_title(f"{name}: ECE {compute_ece(probabilities, labels):.3f}", fontsize=11)
        above.legend(loc="upper left", fontsize=9)
        below.bar(centers, counts[used] / counts.sum(), wide, color="#5b84b1")
        below.set(xlabel="confidence", ylabel="share")
        _mark(above, below)
    return figure


def plot_coverage(points: Sequence[CoveragePoint], title: str) -> Figure:
    """Plot coverage and accuracy over the confidence threshold.

    Args:
        points: As `compute_coverage` returns them.
        title: One line above it.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    figure = build_figure(6.4, 4.2)
    axes = figure.add_subplot()
    thresholds = [point.min_confidence for point in points]
    covered = [point.coverage for point in points]
    axes.plot(thresholds, covered, color="#5b84b1", marker="s", label="answered")
    answered = [
        (point.min_confidence, point.accuracy) for point in points if point.accuracy is not None
    ]
    axes.plot(
        [threshold for threshold, _ in answered],
        [accuracy for _, accuracy in answered],
        color="#1f5a96",
        marker="o",
        label="accuracy of the answered",
    )
    axes.set(xlabel="--min-confidence", ylabel="share", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(title, fontsize=11)
    axes.legend(loc="lower left")
    _mark(axes)
    return figure


def _mark(*all_axes: Any) -> None:  # noqa: ANN401  # matplotlib is imported late
    for axes in all_axes:
        axes.grid(visible=True, alpha=0.3)
        axes.set_axisbelow(True)
