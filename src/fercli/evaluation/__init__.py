"""Evaluation: a model's scores on a split, and the files that show them."""

from __future__ import annotations

from fercli.evaluation.evaluate import Evaluation, evaluate, record_scores
from fercli.evaluation.files import FILES, write_files
from fercli.evaluation.protocol import HELD_OUT, SELECTION, TRAINING, choose_split

__all__ = [
    "FILES",
    "HELD_OUT",
    "SELECTION",
    "TRAINING",
    "Evaluation",
    "choose_split",
    "evaluate",
    "record_scores",
    "write_files",
]
