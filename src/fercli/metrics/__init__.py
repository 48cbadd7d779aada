"""Scores, intervals and calibration: arrays and numbers in, no torch."""

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
from fercli.metrics.intervals import compute_mean_interval, compute_wilson_interval
from fercli.metrics.scores import compute_scores
from fercli.metrics.significance import adjust_holm, bootstrap_difference, compute_mcnemar

__all__ = [
    "adjust_holm",
    "bin_confidence",
    "bootstrap_difference",
    "change_temperature",
    "compute_brier",
    "compute_coverage",
    "compute_ece",
    "compute_mcnemar",
    "compute_mean_interval",
    "compute_nll",
    "compute_scores",
    "compute_wilson_interval",
    "fit_temperature",
]
