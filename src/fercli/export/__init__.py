"""Export to ONNX, with proof."""

from __future__ import annotations

from fercli.export.export import TOLERANCE, ParityImages, export_model

__all__ = ["TOLERANCE", "ParityImages", "export_model"]
