"""Maps over a face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fercli.plots.figures import build_figure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["plot_maps"]


def plot_maps(
    face: NDArray[np.uint8],
    rows: Mapping[str, Mapping[str, NDArray[np.float32]]],
    heat: Collection[str] = (),
    *,
    title: str = "",
) -> Figure:
    """Plot a face and maps laid over it, a row for each set of maps.

    A map is drawn red above zero and blue below, with a bar that says how much, or by heat where it
    is one of `heat`. One that is zero everywhere says so.

    Args:
        face: `[H, W]`.
        rows: For each row what to call it, and its maps `[H, W]` by what to call those; every row
            has the same ones.
        heat: Maps that never go below zero, and of which only the shape means something.
        title: One line above all.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    n_columns = 1 + len(next(iter(rows.values())))
    figure = build_figure(3.1 * n_columns + 0.8, 0.2 + 3.1 * len(rows) + (0.3 if title else 0))
    if title:
        figure.suptitle(title, fontsize=10)
    grid = figure.subplots(len(rows), n_columns, squeeze=False)
    for axes_row, (name, maps) in zip(grid, rows.items(), strict=True):
        axes_row[0].imshow(face, cmap="gray", vmin=0, vmax=255)
        axes_row[0].set_title(name, fontsize=10)
        for axes, (kind, values) in zip(axes_row[1:], maps.items(), strict=True):
            axes.imshow(face, cmap="gray", vmin=0, vmax=255)
            top = float(np.abs(values).max())
            signed = kind not in heat
            if top == 0:
                axes.set_title(f"{kind}: nothing to show", fontsize=9)
                continue
            shares = values / top
            image = axes.imshow(
                shares,
                cmap="bwr" if signed else "inferno",
                vmin=-1 if signed else 0,
                vmax=1,
                # What matters hides the face, what does not leaves it visible.
                alpha=np.clip(np.abs(shares), 0, 1) * 0.65,
            )
            axes.set_title(kind, fontsize=9)
            if signed:
                bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=(-1, 0, 1))
                bar.ax.set_yticklabels([f"{-top:.2g}", "0", f"+{top:.2g}"], fontsize=8)
        for axes in axes_row:
            axes.set_axis_off()
    return figure
