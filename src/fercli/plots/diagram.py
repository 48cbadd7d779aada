"""A network as a picture: what follows what, in which shape, of how many numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fercli.plots.figures import build_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

__all__ = ["plot_diagram"]

_COLORS: Final = {"conv": "#cfe0f3", "mirrored": "#cfe0f3", "dense": "#f6dcc0", "batch": "#e6e9ee"}
_OTHER: Final = "#f4f5f7"


def plot_diagram(rows: Sequence[tuple[str, str, str]], title: str, *, n_columns: int = 1) -> Figure:
    """Plot boxes joined by arrows, top to bottom, column after column.

    Args:
        rows: What a box is, the shape that leaves it, how many numbers it has.
        title: One line above them.
        n_columns: Columns of boxes.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    per_column = -(-len(rows) // n_columns)
    figure = build_figure(5.2 * n_columns, 0.9 + 0.42 * per_column)
    axes = figure.add_subplot()
    axes.set(xlim=(0, n_columns), ylim=(per_column, 0))
    axes.set_axis_off()
    axes.set_title(title, fontsize=11)
    for number, (name, shape, weight) in enumerate(rows):
        column, row = divmod(number, per_column)
        color = next((tone for start, tone in _COLORS.items() if name.startswith(start)), _OTHER)
        axes.text(
            column + 0.05, row + 0.5, f" {name} ", fontsize=9, va="center",
            bbox={"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "#7b8794"},
        )  # fmt: skip
        axes.text(column + 0.66, row + 0.5, shape, fontsize=9, va="center", family="monospace")
        axes.text(column + 0.97, row + 0.5, weight, fontsize=9, va="center", ha="right")
        if row + 1 < per_column and number + 1 < len(rows):
            axes.annotate(
                "", xy=(column + 0.03, row + 1.3), xytext=(column + 0.03, row + 0.7),
                arrowprops={"arrowstyle": "->", "color": "#7b8794"},
            )  # fmt: skip
    return figure
