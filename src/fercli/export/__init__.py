"""Export to ONNX, with proof."""

from __future__ import annotations

from fercli.export.choose import export_any, find_judging_split
from fercli.export.ensemble import LabeledImages, join_models
from fercli.export.export import (
    TOLERANCE,
    ParityImages,
    check_target,
    export_model,
    export_quantized,
)
from fercli.export.quantize import QuantizationImages

__all__ = [
    "TOLERANCE",
    "LabeledImages",
    "ParityImages",
    "QuantizationImages",
    "check_target",
    "export_any",
    "export_model",
    "export_quantized",
    "find_judging_split",
    "join_models",
]
