"""Pictures of several scores: against cost, over epochs, as images get worse."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Final

from fercli.names import safe_name
from fercli.plots.figures import build_figure, style_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from fercli.results import ComparedModel, EpochReport, RobustnessRow

__all__ = ["letter_of", "name_in_picture", "plot_cost", "plot_histories", "plot_robustness"]

_MEGABYTE: Final = 1e6
_LONGEST: Final = 60
_SPEED: Final = "images/s; bars: all rounds"
_DASHES: Final = ("-", "--", "-.", ":")
_WIDE: Final = 10.0
"""Costs that differ by more than this are drawn on a logarithmic scale."""


def letter_of(index: int) -> str:
    """Return what the model at a place of a comparison is called in pictures: A, B, ..."""
    letters = string.ascii_uppercase + string.ascii_lowercase
    return letters[index % len(letters)]


def name_in_picture(index: int, model: ComparedModel) -> str:
    """Return a model's letter, the end of its name, and what its score is worth."""
    name = safe_name(model.name)
    short = name if len(name) <= _LONGEST else f"...{name[-_LONGEST:]}"
    return f"{letter_of(index)}: {short} ({model.protocol})"


def plot_cost(models: Sequence[ComparedModel], title: str) -> Figure:
    """Plot accuracy over parameters, file size and speed, with 95 % intervals.

    Args:
        models: At least one.
        title: One line above all.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    figure = build_figure(13, 4.4 + 0.25 * len(models))
    figure.suptitle(title, fontsize=11)
    costs: dict[str, list[Any]] = {
        "parameters": [model.parameters for model in models],
        "file, MB": [model.size_bytes / _MEGABYTE for model in models],
        _SPEED: [model.images_per_s for model in models],
    }
    places = figure.subplots(1, 3, sharey=True)
    for axes, (name, values) in zip(places, costs.items(), strict=True):
        for index, (model, value) in enumerate(zip(models, values, strict=True)):
            if value is None:
                continue
            accuracy = 100 * model.scores.accuracy
            low, high = (100 * end for end in model.scores.accuracy_ci95)
            spread = model.images_per_s_range if name == _SPEED else (value, value)
            axes.errorbar(
                value, accuracy, yerr=[[accuracy - low], [high - accuracy]],
                xerr=[[value - spread[0]], [spread[1] - value]], linestyle="none", capsize=3,
                label=name_in_picture(index, model), **style_of(index),
            )  # fmt: skip
        known = [value for value in values if value is not None]
        if known and max(known) > _WIDE * min(known):
            axes.set_xscale("log")
            # Powers of ten would be set as formulas, and names must not be read as such.
            axes.xaxis.set_major_formatter("{x:,.10g}")
            axes.xaxis.set_minor_formatter("")
        else:
            # Half of a small difference would look like half of the cost.
            axes.set_xlim(left=0)
        axes.set_xlabel(name)
        axes.grid(visible=True, alpha=0.3)
    figure.axes[0].set_ylabel("accuracy, %")
    figure.legend(
        *figure.axes[-1].get_legend_handles_labels(), loc="outside lower left", fontsize=9
    )
    return figure


def plot_histories(histories: Mapping[str, Sequence[EpochReport]], title: str) -> Figure:
    """Plot loss and accuracy of several trainings over the epochs.

    Args:
        histories: Epochs by name of the run.
        title: One line above both.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    figure = build_figure(11, 4.6)
    figure.suptitle(title, fontsize=11)
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for index, (name, history) in enumerate(histories.items()):
            epochs = [report.epoch for report in history]
            for split, style in (("train", ":"), ("validation", "-")):
                values = [getattr(report, f"{split}_{quantity}") for report in history]
                label = f"{letter_of(index)}: {safe_name(name)}, {split}"
                axes.plot(
                    epochs, values, linestyle=style, label=label, linewidth=1.5, markersize=4,
                    markevery=max(1, len(epochs) // 12), **style_of(index),
                )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.locator_params(axis="x", integer=True)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def plot_robustness(rows: Sequence[RobustnessRow], clean: float, title: str) -> Figure:
    """Plot accuracy over the strength of each corruption.

    Args:
        rows: At least one.
        clean: Accuracy on the images as they are, in [0, 1].
        title: One line above it.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    figure = build_figure(7.4, 4.6)
    axes = figure.add_subplot()
    kinds = list(dict.fromkeys(row.corruption for row in rows))
    for index, kind in enumerate(kinds):
        of_kind = [row for row in rows if row.corruption == kind]
        strengths = [0, *(row.strength for row in of_kind)]
        accuracies = [clean, *(row.accuracy for row in of_kind)]
        # Shapes and dashes tell lines apart where colors do not.
        axes.plot(
            strengths, accuracies, linestyle=_DASHES[index % len(_DASHES)], label=kind,
            **style_of(index),
        )  # fmt: skip
    axes.set(xlabel="strength; 0: as they are", ylabel="accuracy", ylim=(0, 1))
    axes.locator_params(axis="x", integer=True)
    axes.set_title(title, fontsize=11)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    return figure
