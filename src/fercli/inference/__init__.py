"""Models at work: a Runtime turns face crops into probabilities, predict turns files into rows."""

from __future__ import annotations

from fercli.inference.inputs import find_images
from fercli.inference.predict import UNCERTAIN, FilePrediction, predict_files
from fercli.inference.runtime import Runtime, predict_in_batches, predict_mirrored
from fercli.inference.writers import open_writer

__all__ = [
    "UNCERTAIN",
    "FilePrediction",
    "Runtime",
    "find_images",
    "open_writer",
    "predict_files",
    "predict_in_batches",
    "predict_mirrored",
]
