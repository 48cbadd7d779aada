"""Pictures of a training and of its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.plots.figures import build_figure, style_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from fercli.results import ClassScores, EpochReport

__all__ = ["plot_confusion_matrix", "plot_curves", "plot_per_class"]

_QUANTITIES: Final = {"precision": "#5b84b1", "recall": "#153f69", "f1": "#b5651d"}
_NAMES: Final = {"f1": "F1"}


def plot_confusion_matrix(
    matrix: Sequence[Sequence[int]], labels: Sequence[str], title: str
) -> Figure:
    """Plot a confusion matrix: counts and row percentages, shaded by percentage.

    Args:
        matrix: `[K][K]` counts, rows are the truth.
        labels: The K names.
        title: One line above it.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.95 * len(labels)
    figure = build_figure(side, side * 0.94)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=11)
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.5 else "black"
        text = f"{counts[row, column]}\n{share:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the true label's images")
    return figure


def plot_curves(
    history: Sequence[EpochReport], best_epoch: int, title: str, *, harder: str = ""
) -> Figure:
    """Plot loss and accuracy over the epochs, train and validation.

    Args:
        history: The epochs.
        best_epoch: Marked by a line, 1-based.
        title: One line above both.
        harder: What makes the training images harder than those that validate, for the legend.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    epochs = [report.epoch for report in history]
    names = {"train": f"train ({harder})" if harder else "train", "validation": "validation"}
    figure = build_figure(10, 4.2)
    figure.suptitle(title, fontsize=11)
    for position, quantity in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, position)
        for index, split in enumerate(("train", "validation")):
            values = [getattr(report, f"{split}_{quantity}") for report in history]
            axes.plot(epochs, values, label=names[split], markersize=4, **style_of(index))
        axes.axvline(best_epoch, color="gray", linestyle=":", label=f"best: epoch {best_epoch}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.locator_params(axis="x", integer=True)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    return figure


def plot_per_class(per_class: Mapping[str, ClassScores], title: str) -> Figure:
    """Plot precision, recall and F1 of each label as bars.

    Args:
        per_class: Scores by label.
        title: One line above them.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    figure = build_figure(2.5 + 1.1 * len(per_class), 4.4)
    axes = figure.add_subplot()
    places = np.arange(len(per_class))
    for offset, (quantity, color) in enumerate(_QUANTITIES.items(), start=-1):
        values = [getattr(scores, quantity) for scores in per_class.values()]
        axes.bar(
            places + offset * 0.27,
            values,
            width=0.25,
            color=color,
            label=_NAMES.get(quantity, quantity),
        )
    names = [f"{label}\nn = {scores.support:,}" for label, scores in per_class.items()]
    axes.set_xticks(places, names)
    axes.set_ylim(0, 1)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title(title, fontsize=11)
    axes.legend(ncols=3, loc="upper right", fontsize=9)
    return figure
