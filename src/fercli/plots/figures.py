"""Figures: drawn on objects of their own rather than through pyplot.

pyplot keeps global state and looks for a display.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from fercli.dependencies import explain_missing
from fercli.storage import open_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["build_figure", "save_figure"]


def build_figure(width_inches: float, height_inches: float) -> Figure:
    """Return a matplotlib figure, which notebooks show.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    try:
        import matplotlib.figure  # noqa: F401  # it alone may be missing

        from fercli.plots.notebook import NotebookFigure
    except ImportError as reason:
        missing = explain_missing("matplotlib", reason, consequence="pictures cannot be drawn")
        raise missing from reason
    return NotebookFigure(figsize=(width_inches, height_inches), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically; names in it are text, whatever they look like."""
    import matplotlib as mpl
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        # A letter that the font lacks becomes a box; that is not worth a warning on stderr.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        with open_atomically(path) as stream:
            figure.savefig(stream, format="png", dpi=130)
