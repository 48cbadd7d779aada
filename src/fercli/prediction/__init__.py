"""From files to rows: find them, read them, predict, write, annotate and sort."""

from __future__ import annotations

from fercli.prediction.answers import UNCERTAIN, FilePrediction, describe_faces
from fercli.prediction.inputs import find_images
from fercli.prediction.predict import predict_files, predict_live
from fercli.prediction.writers import open_writer

__all__ = [
    "UNCERTAIN",
    "FilePrediction",
    "describe_faces",
    "find_images",
    "open_writer",
    "predict_files",
    "predict_live",
]
