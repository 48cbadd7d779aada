"""A figure that notebooks show, although pyplot, which alone tells them how, is never imported."""

from __future__ import annotations

import io

from matplotlib.figure import Figure  # noqa: TID253  # imported where a figure is built, no sooner

__all__ = ["NotebookFigure"]


class NotebookFigure(Figure):
    """A figure; as the last line of a cell it is a picture."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=80)
        return stream.getvalue()
