"""Models at work: a Runtime turns face crops into probabilities, whatever runs it."""

from __future__ import annotations

from fercli.inference.runtime import (
    LABEL_SETS,
    Runtime,
    choose_labels,
    predict_in_batches,
    predict_mirrored,
)

__all__ = [
    "LABEL_SETS",
    "Runtime",
    "choose_labels",
    "predict_in_batches",
    "predict_mirrored",
]
