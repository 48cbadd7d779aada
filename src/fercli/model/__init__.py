"""Models from Python: predict, evaluate, explain, export and compare as on the command line."""

from __future__ import annotations

from fercli.model.comparison import compare
from fercli.model.models import Model, load
from fercli.model.predictions import (
    FacePrediction,
    LiveFrame,
    LiveStream,
    Predictions,
    RowStream,
)

__all__ = [
    "FacePrediction",
    "LiveFrame",
    "LiveStream",
    "Model",
    "Predictions",
    "RowStream",
    "compare",
    "load",
]
