"""Models at work: a Runtime turns face crops into probabilities, whatever runs it."""

from __future__ import annotations

from fercli.inference.runtime import Runtime, predict_in_batches, predict_mirrored

__all__ = ["Runtime", "predict_in_batches", "predict_mirrored"]
