"""Write an ONNX model and prove that it says what the torch model says."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from fercli.errors import ConfigError, ModelFileError, VerificationError
from fercli.export.graph import OPSET, build_onnx, round_to_half
from fercli.inference import predict_in_batches
from fercli.inference.onnx import OnnxRuntime
from fercli.models import ModelFile, load_network
from fercli.networks.runtime import TorchRuntime
from fercli.results import ExportResult
from fercli.runs import RunFolder, read_scores
from fercli.storage import digest_file, open_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TOLERANCE", "ParityImages", "export_model"]

TOLERANCE: Final = 1e-4
"""Largest difference of a probability between torch and onnxruntime that is let pass."""


@dataclass(frozen=True)
class ParityImages:
    """Images on which both sides are compared."""

    images: NDArray[np.uint8]
    """[N, 48, 48], N >= 1."""
    source: str
    """Where they come from, for the user."""


def export_model(
    model: ModelFile, output: Path, parity: ParityImages, *, half: bool = False
) -> ExportResult:
    """Export a model as ONNX.

    The file takes its name only after it was compared with torch on the same images. An ONNX
    model is copied as it is, digest checked, and compared with nothing.

    Args:
        model: What to export.
        output: Where to.
        parity: What to compare on.
        half: Store weights in half precision; torch is given the same rounded weights.

    Raises:
        VerificationError: The two differ; no file is left.
        ModelFileError: The model is damaged.
        ConfigError: `half` for a model that is ONNX already.
    """
    if model.is_onnx:
        if half:
            message = "--fp16 needs the trained weights, and this model is ONNX already"
            raise ConfigError(message, hint="export from the run or its model.safetensors")
        return _copy(model, output)
    network, metadata = load_network(model.path)
    if model.run is not None:
        # The file travels without its run, and should say all the same how it scored.
        metadata = {**metadata, "scores": read_scores(RunFolder(model.run))}
    content = build_onnx(network, metadata, half=half)
    if half:
        round_to_half(network)
    runtime = TorchRuntime(network, tuple(metadata["labels"]), torch.device("cpu"), metadata)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.onnx"
        draft.write_bytes(content)
        expected = predict_in_batches(runtime, parity.images)
        found = predict_in_batches(OnnxRuntime(draft), parity.images)
    difference = float(np.abs(expected - found).max())
    agreement = float((expected.argmax(1) == found.argmax(1)).mean())
    _check_parity(difference, agreement)
    with open_atomically(output) as stream:
        stream.write(content)
    return ExportResult(
        model=model.title,
        output=str(output),
        format="onnx",
        opset=OPSET,
        size_bytes=output.stat().st_size,
        sha256=digest_file(output),
        max_abs_difference=difference,
        label_agreement=agreement,
        n_checked=len(parity.images),
        parity_images=parity.source,
        quantized="fp16" if half else None,
    )


def _check_parity(difference: float, agreement: float) -> None:
    # A NaN compares as false, so the test is written to fail on it.
    if not (difference <= TOLERANCE and agreement == 1):
        message = (
            f"the exported model differs from torch by up to {difference:.2g} "
            f"(allowed {TOLERANCE:g}) and agrees on {agreement:.2%} of the labels"
        )
        raise VerificationError(message, hint="nothing was written; please report this model")


def _copy(model: ModelFile, output: Path) -> ExportResult:
    runtime = OnnxRuntime(model.path)
    with open_atomically(output) as stream, model.path.open("rb") as source:
        shutil.copyfileobj(source, stream)
    digest = digest_file(output)
    if digest != digest_file(model.path):
        message = f"the copy {output} differs from {model.path}"
        raise ModelFileError(message)
    return ExportResult(
        model=model.title,
        output=str(output),
        format="onnx",
        opset=_read_opset(output),
        size_bytes=output.stat().st_size,
        sha256=digest,
        max_abs_difference=None,
        label_agreement=None,
        n_checked=0,
        parity_images=None,
        quantized=runtime.metadata.get("quantized"),
    )


def _read_opset(path: Path) -> int:
    import onnx

    opsets = onnx.load(path).opset_import
    return next(int(opset.version) for opset in opsets if opset.domain in {"", "ai.onnx"})
