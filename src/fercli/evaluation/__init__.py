"""Evaluation: a model's scores on a split, and the files that show them."""

from __future__ import annotations

from fercli.evaluation.evaluate import choose_split, evaluate, record_scores, write_files

__all__ = ["choose_split", "evaluate", "record_scores", "write_files"]
