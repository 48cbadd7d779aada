"""An ONNX model whose convolutions compute in eight bits, and what that costs and brings.

The ranges of activations are read off training images: all but a hundred-thousandth of the values
count, so that one odd pixel does not coarsen the rest. Weights are scaled per channel and keep to
seven bits, since processors without VNNI add pairs of products in sixteen and would clip. The stem,
whose input is the picture, and everything after pooling stay in float: they cost little there and
most here. What is left to lose was measured (docs/explanation/log.md).

Source:
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-
    Only Inference", 2018, arXiv 1712.05877; the seven bits: onnxruntime's documentation of
    quantization, "When to use S8S8 and U8S8, and reduce range".
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.dependencies import import_onnxruntime
from fercli.errors import ModelFileError, VerificationError
from fercli.export.writing import serialize_model
from fercli.inference import predict_in_batches
from fercli.inference.first_look import load_errors
from fercli.inference.onnx import OnnxRuntime
from fercli.inference.runtime import predict_checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.metadata import ModelMetadata

__all__ = ["LEAST_AGREEMENT", "MOST_LOSS", "QuantizationImages", "Quantized", "quantize"]

LEAST_AGREEMENT: Final = 0.95
"""Share of images that must keep their label."""
MOST_LOSS: Final = 0.005
"""Accuracy that may be lost."""
_N_CALIBRATION: Final = 512
"""Images whose activations are looked at; four times as many changed nothing (log.md)."""
_PERCENTILE: Final = 99.999
_BATCH_SIZE: Final = 64
"""Images per call, where speed is compared."""


@dataclass(frozen=True, kw_only=True)
class QuantizationImages:
    """What ranges are read off, and what the result is judged by."""

    calibration: NDArray[np.uint8]
    """[N, 48, 48], training images."""
    images: NDArray[np.uint8]
    """[M, 48, 48], others."""
    labels: NDArray[np.uint8]
    """[M], in the model's order."""
    source: str
    """Where `images` come from, for the user."""


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A quantized model, compared with the one it was made of on the same images."""

    content: bytes
    """The ONNX file."""
    max_abs_difference: float
    """Largest difference of a probability."""
    label_agreement: float
    """Share of images with equal labels."""
    accuracy: float
    """Share of right labels."""
    accuracy_before: float
    """The same of the model it was made of."""
    images_per_s: float
    """Speed on this machine, batches of 64."""
    images_per_s_before: float
    """The same of the model it was made of."""


def quantize(path: Path, subject: QuantizationImages) -> Quantized:
    """Quantize an ONNX model that fercli exported.

    Raises:
        VerificationError: Too many labels change, or too much accuracy is lost.
        ModelFileError: The model gives no probabilities, or its graph is none that fercli builds.
    """
    with tempfile.TemporaryDirectory() as name:
        draft = Path(name) / "int8.onnx"
        before = OnnxRuntime(path)
        predict_checked(before, subject.calibration[:_BATCH_SIZE])
        # The quantizer's, from wherever in it, for a graph that it was not made for.
        errors: tuple[type[Exception], ...] = (
            *load_errors(), LookupError, TypeError, AttributeError,
        )  # fmt: skip
        try:
            _quantize_file(path, draft, before.metadata, subject.calibration)
        except errors as reason:
            text = " ".join(str(reason).split())[:200]
            message = f"{path} holds a network that cannot be quantized ({text})"
            raise ModelFileError(
                message, hint="export it from its run or model.safetensors"
            ) from reason
        after = OnnxRuntime(draft)
        content = draft.read_bytes()
    expected = predict_in_batches(before, subject.images)
    found = predict_in_batches(after, subject.images)
    speeds = _compare_speeds(before, after, subject.images)
    result = Quantized(
        content=content,
        max_abs_difference=float(np.abs(expected - found).max()),
        label_agreement=float((expected.argmax(1) == found.argmax(1)).mean()),
        accuracy=float((found.argmax(1) == subject.labels).mean()),
        accuracy_before=float((expected.argmax(1) == subject.labels).mean()),
        images_per_s=speeds[1],
        images_per_s_before=speeds[0],
    )
    _check(result)
    return result


def _check(result: Quantized) -> None:
    lost = result.accuracy_before - result.accuracy
    if not (result.label_agreement >= LEAST_AGREEMENT and lost <= MOST_LOSS):
        message = (
            f"with int8, {result.label_agreement:.2%} of the labels stay the same (required: "
            f"{LEAST_AGREEMENT:.0%}) and {100 * lost:.2f} points of accuracy are lost (allowed: "
            f"{100 * MOST_LOSS:g})"
        )
        raise VerificationError(message, hint="nothing was written; try --fp16, half the size")


def _quantize_file(
    source: Path, target: Path, metadata: ModelMetadata, images: NDArray[np.uint8]
) -> None:
    import onnx

    quantization = import_onnxruntime("quantization")
    plain = target.with_name("plain.onnx")
    _fold_constants(source, plain)
    model = onnx.load(plain)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    if not any(node.op_type == "Conv" for node in model.graph.node):
        message = "it has no convolutions"
        raise ValueError(message)
    stems = [
        node.name
        for node in model.graph.node
        # Filters of one channel in one group: of depthwise convolutions there are several groups.
        if node.op_type == "Conv" and shapes[node.input[1]][1] == 1 and not _list_groups(node)
    ]
    with _quiet_quantizer():
        quantization.quantize_static(
            plain,
            target,
            _Reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MaxPool", "Add", "Relu"],
            nodes_to_exclude=stems,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": _PERCENTILE},
        )
    quantized = onnx.load(target)
    stored = metadata.replace(quantized="int8")
    target.write_bytes(serialize_model(quantized, stored))


def _list_groups(node: Any) -> list[int]:  # noqa: ANN401  # onnx ships no types
    """Return the number of groups of a convolution that has several."""
    return [item.i for item in node.attribute if item.name == "group" and item.i > 1]


def _fold_constants(source: Path, target: Path) -> None:
    """Let onnxruntime write a model whose weights are numbers, not computed from numbers."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(source.read_bytes(), options, providers=["CPUExecutionProvider"])


class _Reader:
    """Hands images to onnxruntime's calibration."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        # The calibration takes batches of one size only.
        size = min(_BATCH_SIZE, len(images))
        count = min(_N_CALIBRATION, len(images)) // size * size
        # Evenly over all of them: an image folder is sorted by label.
        chosen = np.linspace(0, len(images) - 1, count).astype(int)
        self._batches = iter(np.split(images[chosen], count // size))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next batch, or None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": np.ascontiguousarray(batch)}


def _compare_speeds(
    before: OnnxRuntime, after: OnnxRuntime, images: NDArray[np.uint8]
) -> tuple[float, float]:
    """Return images per second of two models, the best of some turns each, taken in turns."""
    batch = images[:_BATCH_SIZE]
    best = [float("inf"), float("inf")]
    for _ in range(7):
        for index, runtime in enumerate((before, after)):
            started = perf_counter()
            for _ in range(4):
                runtime.predict(batch)
            best[index] = min(best[index], (perf_counter() - started) / 4)
    return len(batch) / best[0], len(batch) / best[1]


@contextlib.contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Silence what the quantizer prints and logs about its own steps."""
    root: Any = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
