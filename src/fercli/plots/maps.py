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
) -> Figure:
    """Plot a face and maps laid over it, a row for each set of maps.

    A map is drawn red above zero and blue below, or by heat where it is one of `heat`.

    Args:
        face: `[H, W]`.
        rows: For each row what to call it, and its maps `[H, W]` by what to call those; every row
            has the same ones.
        heat: Maps that never go below zero, and of which only the shape means something.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    n_columns = 1 + len(next(iter(rows.values())))
    figure = build_figure(3.1 * n_columns, 0.2 + 3.1 * len(rows))
    grid = figure.subplots(len(rows), n_columns, squeeze=False)
    for axes_row, (name, maps) in zip(grid, rows.items(), strict=True):
        axes_row[0].imshow(face, cmap="gray", vmin=0, vmax=255)
        axes_row[0].set_title(name, fontsize=10)
        for axes, (kind, values) in zip(axes_row[1:], maps.items(), strict=True):
            axes.imshow(face, cmap="gray", vmin=0, vmax=255)
            top = float(np.abs(values).max())
            shares = values / top if top > 0 else values
            signed = kind not in heat
            axes.imshow(
                shares,
                cmap="bwr" if signed else "inferno",
                vmin=-1 if signed else 0,
                vmax=1,
                # What matters hides the face, what does not leaves it visible.
                alpha=np.clip(np.abs(shares), 0, 1) * 0.65,
            )
            axes.set_title(f"{kind}, at most {top:.2f}" if signed else kind, fontsize=9)
        for axes in axes_row:
            axes.set_axis_off()
    return figure
