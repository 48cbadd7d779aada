"""Scores, intervals, calibration and pictures: arrays and numbers in, no torch."""

from __future__ import annotations

from fercli.metrics.calibration import (
    bin_confidence,
    change_temperature,
    compute_brier,
    compute_coverage,
    compute_ece,
    compute_nll,
    fit_temperature,
)
from fercli.metrics.comparison import (
    draw_cost,
    draw_histories,
    draw_robustness,
    letter_of,
    name_in_picture,
)
from fercli.metrics.confidence import draw_coverage, draw_reliability
from fercli.metrics.diagram import draw_diagram
from fercli.metrics.faces import draw_faces
from fercli.metrics.intervals import compute_wilson_interval
from fercli.metrics.maps import draw_maps
from fercli.metrics.paired import adjust_holm, compute_mcnemar, draw_difference_interval
from fercli.metrics.plots import draw_confusion_matrix, draw_curves, draw_per_class
from fercli.metrics.scores import compute_scores

__all__ = [
    "adjust_holm",
    "bin_confidence",
    "change_temperature",
    "compute_brier",
    "compute_coverage",
    "compute_ece",
    "compute_mcnemar",
    "compute_nll",
    "compute_scores",
    "compute_wilson_interval",
    "draw_confusion_matrix",
    "draw_cost",
    "draw_coverage",
    "draw_curves",
    "draw_diagram",
    "draw_difference_interval",
    "draw_faces",
    "draw_histories",
    "draw_maps",
    "draw_per_class",
    "draw_reliability",
    "draw_robustness",
    "fit_temperature",
    "letter_of",
    "name_in_picture",
]
