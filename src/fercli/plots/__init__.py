"""Pictures of trainings, scores, comparisons and faces: numbers in, matplotlib figures out.

Figures are drawn without pyplot, which keeps global state and looks for a display; a notebook shows
what a function returns, `save_figure` writes it.
"""

from __future__ import annotations

from fercli.plots.comparison import (
    letter_of,
    name_in_picture,
    plot_cost,
    plot_histories,
    plot_robustness,
)
from fercli.plots.confidence import plot_coverage, plot_reliability
from fercli.plots.diagram import plot_diagram
from fercli.plots.faces import plot_faces
from fercli.plots.figures import (
    FIGURE_FORMATS,
    PALETTE,
    check_format,
    list_figure_names,
    name_figures,
    render_png,
    save_figure,
)
from fercli.plots.maps import plot_maps
from fercli.plots.scores import plot_confusion_matrix, plot_curves, plot_per_class
from fercli.plots.timeline import FaceTrack, choose_shown, plot_timeline, split_track

__all__ = [
    "FIGURE_FORMATS",
    "PALETTE",
    "FaceTrack",
    "check_format",
    "choose_shown",
    "letter_of",
    "list_figure_names",
    "name_figures",
    "name_in_picture",
    "plot_confusion_matrix",
    "plot_cost",
    "plot_coverage",
    "plot_curves",
    "plot_diagram",
    "plot_faces",
    "plot_histories",
    "plot_maps",
    "plot_per_class",
    "plot_reliability",
    "plot_robustness",
    "plot_timeline",
    "render_png",
    "save_figure",
    "split_track",
]
