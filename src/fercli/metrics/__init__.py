"""Scores, intervals, calibration and pictures: arrays and numbers in, no torch."""

from __future__ import annotations

from fercli.metrics.calibration import compute_brier, compute_ece, compute_nll
from fercli.metrics.intervals import compute_wilson_interval
from fercli.metrics.plots import draw_confusion_matrix, draw_curves, draw_faces
from fercli.metrics.scores import compute_scores

__all__ = [
    "compute_brier",
    "compute_ece",
    "compute_nll",
    "compute_scores",
    "compute_wilson_interval",
    "draw_confusion_matrix",
    "draw_curves",
    "draw_faces",
]
