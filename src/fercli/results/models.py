"""What exporting a model came to."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExportResult"]


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """An exported model."""

    model: str
    """Path of the model that was exported."""
    output: str
    """Path of the ONNX file."""
    format: str
    """Always `onnx`."""
    opset: int
    """Version of the ONNX operator set."""
    size_bytes: int
    """Size of the file."""
    sha256: str
    """Digest of the file."""
    max_abs_difference: float | None
    """Largest difference of a probability between torch and ONNX, or between the model and its
    form in eight bits; None for a copy."""
    label_agreement: float | None
    """Share of images with equal labels; None for a copy."""
    n_checked: int
    """Images compared."""
    parity_images: str | None
    """Where they came from."""
    quantized: str | None
    """`fp16` for weights stored in half precision, `int8` for eight bits, else None."""
    accuracy: float | None = None
    """Share of right labels in eight bits."""
    accuracy_before: float | None = None
    """The same before."""
    images_per_s: float | None = None
    """Speed in eight bits on this machine, batches of 64."""
    images_per_s_before: float | None = None
    """The same before."""
