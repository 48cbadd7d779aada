"""Several models as one ONNX file that answers with the mean of their probabilities.

Networks trained apart err apart: their mean is more often right than each of them, at the sum of
their cost. The members lie side by side in the graph, each with its own normalization and
temperature, so they need not be alike.

Source:
    Hansen and Salamon, "Neural Network Ensembles", 1990; of deep networks: Lakshminarayanan et al.,
    "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", 2017, arXiv
    1612.01474.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

import fercli
from fercli.errors import ModelFileError
from fercli.export.export import (
    ParityImages,
    check_parity,
    check_target,
    describe_file,
    export_model,
)
from fercli.export.writing import check_graph, serialize_model
from fercli.inference import predict_in_batches
from fercli.inference.onnx import OnnxRuntime
from fercli.metadata import ENSEMBLE, CalibrationRecord, ModelMetadata, NetworkRecord
from fercli.metrics import change_temperature, compute_ece, compute_nll, fit_temperature
from fercli.model_files import ModelFile, identify_member
from fercli.results import ExportResult
from fercli.storage import open_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabeledImages", "join_models"]

_SAME: Final = "join models that were trained on the same prepared dataset"


@dataclass(frozen=True, kw_only=True)
class LabeledImages:
    """Images of the split that chose the members, which may choose a temperature too."""

    images: NDArray[np.uint8]
    """[N, 48, 48]."""
    labels: NDArray[np.uint8]
    """[N], in the order of the first member."""
    split: str
    """Its name."""


def join_models(
    models: Sequence[ModelFile],
    output: Path,
    parity: ParityImages,
    *,
    half: bool = False,
    judged: LabeledImages | None = None,
) -> ExportResult:
    """Export several models as one.

    Each member is compared with torch where it is a torch model, then the whole with the mean of
    what the members say. Labels are matched by name.

    Args:
        models: Two or more.
        output: Where to.
        parity: What to compare on.
        half: Store weights in half precision.
        judged: What a temperature is fitted on, since a mean is less sure than its members; without
            them it is 1.

    Raises:
        VerificationError: The file says something else than the members; none is left.
        ModelFileError: One is damaged, in eight bits, or has other labels or data than the first.
        ConfigError: `half` for a model that is ONNX already, or `output` is not to be written.
    """
    check_target(output, models)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.onnx" for number in range(len(models))]
        differences = [
            export_model(model, path, parity, half=half).max_abs_difference or 0.0
            for model, path in zip(models, paths, strict=True)
        ]
        members = [OnnxRuntime(path) for path in paths]
        columns = _match_labels(models, members)
        metadata = _describe(models, members, half=half)
        if judged is not None:
            metadata = _fit(metadata, _average(members, columns, judged.images), judged)
        draft = Path(folder) / "joined.onnx"
        draft.write_bytes(_build(paths, columns, metadata))
        mean = _average(members, columns, parity.images)
        expected = change_temperature(mean, before=1.0, after=metadata.temperature)
        found = predict_in_batches(OnnxRuntime(draft), parity.images)
        difference = float(np.abs(expected - found).max())
        agreement = float((expected.argmax(1) == found.argmax(1)).mean())
        check_parity(difference, agreement)
        content = draft.read_bytes()
    with open_atomically(output) as stream:
        stream.write(content)
    return ExportResult(
        max_abs_difference=max(difference, *differences),
        label_agreement=agreement,
        n_checked=len(parity.images),
        parity_images=parity.source,
        quantized=metadata.quantized,
        **describe_file(" + ".join(model.title for model in models), output),
    )


def _match_labels(models: Sequence[ModelFile], members: list[OnnxRuntime]) -> list[list[int]]:
    """Return for each member which of its outputs each label of the first is."""
    labels, data = members[0].labels, _read_data(members[0])
    for model, member in zip(models, members, strict=True):
        if set(member.labels) != set(labels):
            message = f"{model.title} has other labels than {models[0].title}: {member.labels}"
            raise ModelFileError(message, hint=_SAME)
        if _read_data(member) != data:
            message = f"{model.title} was trained on other data than {models[0].title}"
            raise ModelFileError(message, hint=_SAME)
        if member.metadata.quantized == "int8":
            message = f"{model.title} is quantized (int8) already"
            raise ModelFileError(message, hint="join the unquantized models with --int8")
    return [[member.labels.index(label) for label in labels] for member in members]


def _read_data(member: OnnxRuntime) -> object:
    """Return the digest of what a model learned from, its labels included."""
    return member.metadata.dataset.sha256 if member.metadata.dataset else None


def _average(
    members: list[OnnxRuntime], columns: list[list[int]], images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    answers = [
        predict_in_batches(member, images)[:, chosen]
        for member, chosen in zip(members, columns, strict=True)
    ]
    mean: NDArray[np.float32] = np.mean(answers, axis=0)
    return mean


def _describe(
    models: Sequence[ModelFile], members: list[OnnxRuntime], *, half: bool
) -> ModelMetadata:
    """Return what travels with the whole."""
    held = [member.metadata for member in members]
    return ModelMetadata(
        network=NetworkRecord(name=ENSEMBLE, networks=tuple(one.network for one in held)),
        parameters=sum(one.parameters or 0 for one in held),
        labels=members[0].labels,
        dataset=held[0].dataset,
        members=tuple(identify_member(model, one) for model, one in zip(models, held, strict=True)),
        quantized="fp16" if half else None,
        fercli=fercli.__version__,
    )


def _fit(
    metadata: ModelMetadata, mean: NDArray[np.float32], judged: LabeledImages
) -> ModelMetadata:
    """Return what travels with the whole, its temperature fitted."""
    temperature = fit_temperature(mean, judged.labels)
    after = change_temperature(mean, before=1.0, after=temperature)
    calibration = CalibrationRecord(
        split=judged.split,
        n_images=len(judged.labels),
        ece_before=compute_ece(mean, judged.labels),
        ece_after=compute_ece(after, judged.labels),
        nll_before=compute_nll(mean, judged.labels),
        nll_after=compute_nll(after, judged.labels),
    )
    return metadata.replace(temperature=temperature, calibration=calibration)


def _build(paths: list[Path], columns: list[list[int]], metadata: ModelMetadata) -> bytes:
    """Return the ONNX file: the members' nodes under names of their own, then their mean."""
    import onnx
    from onnx import compose, helper

    models = [onnx.load(path) for path in paths]
    versions = {tuple((item.domain, item.version) for item in one.opset_import) for one in models}
    if len(versions) > 1:
        message = f"the models use different operator sets: {sorted(versions)}"
        raise ModelFileError(message, hint="export them anew with one version of fercli")
    nodes, initializers, answers = [], [], []
    for number, (model, chosen) in enumerate(zip(models, columns, strict=True)):
        part = compose.add_prefix_graph(model.graph, f"{number}/", rename_inputs=False)
        nodes += part.node
        initializers += part.initializer
        answers.append(part.output[0].name)
        if chosen != sorted(chosen):
            order = onnx.numpy_helper.from_array(np.array(chosen), f"{number}/order")
            initializers.append(order)
            answers[-1] = f"{number}/ordered"
            inputs = [part.output[0].name, order.name]
            nodes.append(helper.make_node("Gather", inputs, [answers[-1]], axis=1))
    temperature = np.array(metadata.temperature, dtype=np.float32)
    initializers.append(onnx.numpy_helper.from_array(temperature, "temperature"))
    nodes += [
        helper.make_node("Mean", answers, ["mean"]),
        helper.make_node("Log", ["mean"], ["log"]),
        helper.make_node("Div", ["log", "temperature"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    first = models[0]
    graph = helper.make_graph(nodes, ENSEMBLE, first.graph.input, first.graph.output, initializers)
    joined = helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version)
    check_graph(joined)
    return serialize_model(joined, metadata)
