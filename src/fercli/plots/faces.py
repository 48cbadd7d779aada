"""Faces in rows, with what is said of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.plots.figures import build_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["plot_faces"]

_LINE_PX: Final = 8
"""Height of a line of a caption, on the scale of the faces."""


def plot_faces(
    images: NDArray[np.uint8],
    title: str,
    *,
    columns: int,
    captions: Sequence[str] = (),
    colors: Sequence[str] = (),
) -> Figure:
    """Plot images in rows.

    Args:
        images: `[N, H, W]`, at least one.
        title: One line above them.
        columns: Images in a row.
        captions: What stands under each, none or N; all of as many lines.
        colors: Of the captions, none or N.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    n_images, height, width = images.shape
    # Four at least, whose room the title needs.
    columns = min(columns, max(4, n_images))
    rows = -(-n_images // columns)
    n_lines = captions[0].count("\n") + 1 if captions else 0
    gap = 5 + _LINE_PX * n_lines if captions else 3
    page = np.full((rows * (height + gap), columns * (width + 3)), 255, dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * (height + gap), number % columns * (width + 3)
        page[top : top + height, left : left + width] = image
    figure = build_figure(columns * 0.95 + 0.2, rows * 0.0186 * (height + gap) + 0.4)
    axes = figure.add_subplot()
    axes.imshow(page, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    for number, caption in enumerate(captions):
        top, left = number // columns * (height + gap), number % columns * (width + 3)
        axes.text(
            left + width / 2,
            top + height + 2,
            caption,
            ha="center",
            va="top",
            fontsize=7,
            color=colors[number] if colors else "black",
        )
    return figure
