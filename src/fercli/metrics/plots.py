"""Pictures of scores and trainings.

Drawn on figures of their own rather than through pyplot, which keeps global state and looks for
a display.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fercli.errors import DependencyMissingError
from fercli.storage import open_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fercli.results import EpochReport

__all__ = ["draw_confusion_matrix", "draw_curves", "draw_faces"]


def draw_confusion_matrix(
    path: Path, matrix: Sequence[Sequence[int]], labels: Sequence[str], title: str
) -> None:
    """Write a confusion matrix as PNG: counts and row percentages, shaded by percentage.

    Args:
        path: Where to.
        matrix: `[K][K]` counts, rows are the truth.
        labels: The K names.
        title: One line above it.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.95 * len(labels)
    figure = _build_figure(side, side * 0.94)
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
    _save(figure, path)


def draw_curves(path: Path, history: Sequence[EpochReport], best_epoch: int, title: str) -> None:
    """Write loss and accuracy over the epochs, train and validation, as PNG.

    Args:
        path: Where to.
        history: The epochs.
        best_epoch: Marked by a line, 1-based.
        title: One line above both.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    epochs = [report.epoch for report in history]
    figure = _build_figure(10, 4.2)
    figure.suptitle(title, fontsize=11)
    for position, quantity in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, position)
        for split, color in (("train", "tab:blue"), ("validation", "tab:orange")):
            values = [getattr(report, f"{split}_{quantity}") for report in history]
            axes.plot(epochs, values, color=color, label=split, marker=".")
        axes.axvline(best_epoch, color="gray", linestyle=":", label=f"best: epoch {best_epoch}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    _save(figure, path)


def draw_faces(
    path: Path,
    images: NDArray[np.uint8],
    title: str,
    *,
    columns: int,
    captions: Sequence[str] = (),
) -> None:
    """Write images in rows as PNG.

    Args:
        path: Where to.
        images: `[N, H, W]`, at least one.
        title: One line above them.
        columns: Images in a row.
        captions: What stands under each, none or N.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    n_images, height, width = images.shape
    columns = min(columns, n_images)
    rows = -(-n_images // columns)
    gap = 14 if captions else 3
    page = np.full((rows * (height + gap), columns * (width + 3)), 255, dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * (height + gap), number % columns * (width + 3)
        page[top : top + height, left : left + width] = image
    figure = _build_figure(columns * 0.95 + 0.2, rows * (1.15 if captions else 0.95) + 0.5)
    axes = figure.add_subplot()
    axes.imshow(page, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    for number, caption in enumerate(captions):
        top, left = number // columns * (height + gap), number % columns * (width + 3)
        axes.text(left + width / 2, top + height + 2, caption, ha="center", va="top", fontsize=8)
    _save(figure, path)


def _build_figure(width_inches: float, height_inches: float) -> Any:  # noqa: ANN401  # lazy import
    try:
        from matplotlib.figure import Figure
    except ImportError as reason:
        message = f"matplotlib cannot be imported ({reason}), so pictures cannot be drawn"
        raise DependencyMissingError(message, hint="pip install matplotlib") from reason
    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401  # as above
    with open_atomically(path) as stream:
        figure.savefig(stream, format="png", dpi=130)
