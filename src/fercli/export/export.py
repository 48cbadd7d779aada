"""Write an ONNX model and prove that it says what the torch model says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from fercli.errors import ConfigError, ModelFileError, VerificationError
from fercli.export.graph import build_onnx, round_to_half
from fercli.export.quantize import QuantizationImages, quantize
from fercli.inference import predict_in_batches
from fercli.inference.onnx import OnnxRuntime
from fercli.model_files import ModelFile, load_network
from fercli.networks.batch_norm_fusion import fuse
from fercli.networks.runtime import TorchRuntime
from fercli.results import ExportResult
from fercli.runs import RunFolder, read_scores
from fercli.storage import check_apart, digest_file, open_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.inference import Runtime
    from fercli.metadata import ModelMetadata
    from fercli.networks import FaceNetwork

__all__ = [
    "TOLERANCE",
    "ParityImages",
    "check_parity",
    "check_target",
    "describe_file",
    "export_model",
    "export_quantized",
]

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
        ConfigError: `half` for a model that is ONNX already, or `output` is not to be written.
    """
    check_target(output, [model])
    if model.is_onnx:
        if half:
            message = "--fp16 needs the trained weights, and this model is ONNX already"
            raise ConfigError(message, hint="export from the run or its model.safetensors")
        return _copy(model, output)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.onnx"
        difference, agreement = _build(model, draft, parity, half=half)
        content = draft.read_bytes()
    with open_atomically(output) as stream:
        stream.write(content)
    return ExportResult(
        max_abs_difference=difference,
        label_agreement=agreement,
        n_checked=len(parity.images),
        parity_images=parity.source,
        quantized="fp16" if half else None,
        **describe_file(model.title, output),
    )


def export_quantized(
    model: ModelFile, output: Path, parity: ParityImages, subject: QuantizationImages
) -> ExportResult:
    """Export a model as ONNX whose convolutions compute in eight bits.

    Args:
        model: What to export; of an ONNX file the weights are taken as they are there.
        output: Where to.
        parity: What to compare the fp32 form on, before it is quantized.
        subject: What ranges are read off, and what the result is judged by.

    Raises:
        VerificationError: Too many labels change or too much accuracy is lost; no file is left.
        ModelFileError: The model is damaged.
        ConfigError: It is in eight bits already, or `output` is not to be written.
    """
    check_target(output, [model])
    if model.is_onnx and OnnxRuntime(model.path).metadata.quantized == "int8":
        message = f"{model.title} is quantized (int8) already"
        raise ConfigError(message, hint="without --int8 it is copied")
    with tempfile.TemporaryDirectory() as folder:
        source = model.path if model.is_onnx else Path(folder) / "draft.onnx"
        if not model.is_onnx:
            _build(model, source, parity, half=False)
        quantized = quantize(source, subject)
    with open_atomically(output) as stream:
        stream.write(quantized.content)
    return ExportResult(
        max_abs_difference=quantized.max_abs_difference,
        label_agreement=quantized.label_agreement,
        n_checked=len(subject.images),
        parity_images=subject.source,
        quantized="int8",
        accuracy=quantized.accuracy,
        accuracy_before=quantized.accuracy_before,
        images_per_s=quantized.images_per_s,
        images_per_s_before=quantized.images_per_s_before,
        **describe_file(model.title, output),
    )


def check_target(output: Path, models: Sequence[ModelFile]) -> None:
    """Refuse to write where no model belongs, or where one lies that is exported.

    The `model.onnx` of a run is such an export itself, and may be made again.

    Raises:
        ConfigError: `output` does not end in `.onnx`, or is a file of a model.
    """
    for model in models:
        made = RunFolder(model.run).onnx if model.run else None
        check_apart([output], [model.path, *(path for path in model.files if path != made)])
    if output.suffix != ".onnx":
        message = f"{output} does not end in .onnx, but the output is an ONNX file"
        raise ConfigError(message, hint=f"name it {output.stem}.onnx")


def _build(
    model: ModelFile, target: Path, parity: ParityImages, *, half: bool
) -> tuple[float, float]:
    """Write an ONNX model, compare it with torch, and return the two measures of it."""
    network, metadata = load_network(model.path)
    if model.run is not None:
        # The file travels without its run, and should say all the same how it scored.
        metadata = metadata.replace(scores=read_scores(RunFolder(model.run)))
    simple = fuse(network)
    target.write_bytes(build_onnx(simple, metadata, half=half))
    expected = predict_in_batches(_run_on_cpu(network, metadata), parity.images)
    if half:
        # What rounding changes is meant to change; what came before it is not.
        check_parity(*_compare(expected, _run_on_cpu(simple, metadata), parity))
        round_to_half(simple)
        expected = predict_in_batches(_run_on_cpu(simple, metadata), parity.images)
    measures = _compare(expected, OnnxRuntime(target), parity)
    check_parity(*measures)
    return measures


def describe_file(title: str, output: Path) -> dict[str, Any]:
    """Return what is said of every exported file.

    Args:
        title: What to call the model that it was made of.
        output: The file.
    """
    return {
        "model": title,
        "output": str(output),
        "format": "onnx",
        "opset": _read_opset(output),
        "size_bytes": output.stat().st_size,
        "sha256": digest_file(output),
    }


def _run_on_cpu(network: FaceNetwork, metadata: ModelMetadata) -> TorchRuntime:
    return TorchRuntime(network, metadata, torch.device("cpu"))


def _compare(
    expected: NDArray[np.float32], runtime: Runtime, parity: ParityImages
) -> tuple[float, float]:
    """Return the largest difference of a probability, and the share of labels that are equal."""
    found = predict_in_batches(runtime, parity.images)
    difference = float(np.abs(expected - found).max())
    return difference, float((expected.argmax(1) == found.argmax(1)).mean())


def check_parity(difference: float, agreement: float) -> None:
    """Refuse a file that says something else than what it was made of.

    Args:
        difference: The largest of a probability.
        agreement: Share of equal labels.

    Raises:
        VerificationError: The difference is too large, or a label differs.
    """
    # A NaN compares as false, so the test is written to fail on it.
    if not (difference <= TOLERANCE and agreement == 1):
        message = (
            f"the exported model differs from its original by up to {difference:.2g} "
            f"(allowed {TOLERANCE:g}) and agrees on {agreement:.2%} of the labels"
        )
        raise VerificationError(message, hint="nothing was written; please report this model")


def _copy(model: ModelFile, output: Path) -> ExportResult:
    runtime = OnnxRuntime(model.path)
    with open_atomically(output) as stream, model.path.open("rb") as source:
        shutil.copyfileobj(source, stream)
    if digest_file(output) != digest_file(model.path):
        message = f"the copy {output} differs from {model.path}"
        raise ModelFileError(message)
    return ExportResult(
        max_abs_difference=None,
        label_agreement=None,
        n_checked=0,
        parity_images=None,
        quantized=runtime.metadata.quantized,
        **describe_file(model.title, output),
    )


def _read_opset(path: Path) -> int:
    import onnx

    opsets = onnx.load(path).opset_import
    return next(int(opset.version) for opset in opsets if opset.domain in {"", "ai.onnx"})
