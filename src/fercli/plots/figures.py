"""Figures: drawn on objects of their own rather than through pyplot.

pyplot keeps global state and looks for a display.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from fercli.dependencies import explain_missing
from fercli.errors import ConfigError
from fercli.ranges import find_unknown_choice
from fercli.storage import open_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = [
    "FIGURE_FORMATS",
    "PALETTE",
    "build_figure",
    "check_format",
    "list_figure_names",
    "name_figures",
    "render_png",
    "save_figure",
    "style_of",
]

FIGURE_FORMATS: Final = ("png", "pdf", "svg")
"""What a figure is written as."""
PALETTE: Final = ("#0072b2", "#e69f00", "#000000", "#56b4e9", "#d55e00", "#009e73", "#cc79a7")
"""Colors of lines that are told apart, in order; yellow is left out, being too pale on white.

Source:
    Okabe and Ito, "Color Universal Design", 2008.
"""
_MARKERS: Final = "os^Dv*P"
_METADATA: Final[dict[str, dict[str, Any]]] = {
    "png": {},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}
"""Without the time of writing, the same figure is the same bytes."""


def style_of(index: int) -> dict[str, Any]:
    """Return color and marker of the line at a place: neither stands alone for it."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": _MARKERS[index % len(_MARKERS)],
    }


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


def check_format(kind: str) -> None:
    """Refuse what is none of `FIGURE_FORMATS`.

    Raises:
        ConfigError: It is none.
    """
    if problems := find_unknown_choice("figures", kind, FIGURE_FORMATS):
        raise ConfigError(*problems)


def name_figures(files: Mapping[str, str], kind: str) -> dict[str, str]:
    """Return the names of files, those of pictures ending in one of `FIGURE_FORMATS`."""
    return {
        name: f"{file.removesuffix('png')}{kind}" if file.endswith(".png") else file
        for name, file in files.items()
    }


def list_figure_names(files: Mapping[str, str]) -> list[str]:
    """Return the names of files in every format that their pictures may have, each once."""
    names = (name for kind in FIGURE_FORMATS for name in name_figures(files, kind).values())
    return list(dict.fromkeys(names))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its name ends in, atomically; PNG where that is none.

    Names in it are text, whatever they look like.
    """
    kind = path.suffix.removeprefix(".")
    with open_atomically(path) as stream:
        _write(figure, stream, kind if kind in FIGURE_FORMATS else "png")


def render_png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG."""
    stream = io.BytesIO()
    _write(figure, stream, "png")
    return stream.getvalue()


def _write(figure: Figure, stream: BinaryIO, kind: str) -> None:
    import matplotlib as mpl
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    # Type 42 keeps letters letters, which journals ask for; ids in SVG are drawn by the salt.
    with (
        mpl.rc_context({
            "text.parse_math": False, "svg.hashsalt": "fercli", "pdf.fonttype": 42,
        }),
        warnings.catch_warnings(),
    ):  # fmt: skip
        # A letter that the font lacks becomes a box; that is not worth a warning on stderr.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(stream, format=kind, dpi=130, metadata=_METADATA[kind])
