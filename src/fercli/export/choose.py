"""Which images an export is compared, calibrated and judged on, and exports of any kind by them.

Only splits are taken that may be looked at before a model is final: those that chose it, or train.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.data import build_synthetic, map_labels
from fercli.errors import ConfigError, DatasetNotFoundError
from fercli.export.ensemble import LabeledImages, join_models
from fercli.export.export import ParityImages, export_model, export_quantized
from fercli.export.quantize import QuantizationImages
from fercli.model_files import ModelFile, read_metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fercli.data import Dataset
    from fercli.results import ExportResult

__all__ = ["export_any", "find_judging_split"]

_N_PARITY: Final = 256
_SELECTION_SPLITS: Final = ("public", "validation")


def export_any(
    models: Sequence[ModelFile],
    output: Path,
    dataset: Dataset | None,
    *,
    half: bool = False,
    int8: bool = False,
) -> ExportResult:
    """Export a model, or the mean of several, as one ONNX file.

    Args:
        models: At least one; several become one that answers with the mean of their probabilities.
        output: Where to.
        dataset: What to compare, calibrate and judge on; None for 256 synthetic faces.
        half: Store weights in half precision.
        int8: Compute in eight bits, calibrated on the dataset's train split.

    Raises:
        ConfigError: `half` and `int8` together, a model twice, or one in that form already.
        DatasetNotFoundError: `int8` without a dataset.
        VerificationError: The file would say something else than the model; none is left.
        ModelFileError: A model is damaged.
    """
    if half and int8:
        message = "fp16 and int8 are two ways to store weights: choose one"
        raise ConfigError(message)
    _check_distinct(models)
    parity = _choose_parity_images(dataset)
    if len(models) == 1 and not int8:
        return export_model(models[0], output, parity, half=half)
    if int8 and dataset is None:
        message = "there is no dataset to calibrate --int8 on"
        raise DatasetNotFoundError(message, hint="give one with --data")
    labels = read_metadata(models[0]).labels
    if not int8:
        judged = _choose_judged(dataset, labels)
        return join_models(list(models), output, parity, half=half, judged=judged)
    subject = _choose_quantization_images(dataset, labels)  # type: ignore[arg-type]  # just asked
    if len(models) == 1:
        return export_quantized(models[0], output, parity, subject)
    # Quantized once it is one.
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "joined.onnx"
        judged = _choose_judged(dataset, labels)
        title = join_models(list(models), whole, parity, judged=judged).model
        draft = ModelFile(whole, None, assumed=False)
        result = export_quantized(draft, output, parity, subject)
    return replace(result, model=title)


def find_judging_split(dataset: Dataset | None) -> str | None:
    """Return the split that chose, by which the temperature of a mean is set; None without one."""
    names = _SELECTION_SPLITS if dataset is not None else ()
    return next((name for name in names if dataset and dataset.find_split(name) is not None), None)


def _check_distinct(models: Sequence[ModelFile]) -> None:
    paths = [model.path.resolve() for model in models]
    twice = [
        model.title for model, path in zip(models, paths, strict=True) if paths.count(path) > 1
    ]
    if twice:
        message = f"{twice[0]} is named twice, and the mean of a model with itself is that model"
        raise ConfigError(message)


def _choose_parity_images(dataset: Dataset | None) -> ParityImages:
    """Return images of the split that chose, or of train, or synthetic ones where there is none."""
    if dataset is None:
        return ParityImages(build_synthetic(_N_PARITY).images, f"synthetic:{_N_PARITY}")
    splits = (*_SELECTION_SPLITS, "train", *dataset.split_names)
    split = next(name for name in splits if dataset.find_split(name) is not None)
    images = dataset.select(split).images[:_N_PARITY]
    return ParityImages(images, f"{dataset.source}, {split}")


def _choose_judged(dataset: Dataset | None, labels: tuple[str, ...]) -> LabeledImages | None:
    """Return the split that chose, if there is one, its labels in a model's order."""
    split = find_judging_split(dataset)
    if dataset is None or split is None:
        return None
    chosen = dataset.select(split)
    mapped = map_labels(chosen.labels, dataset.label_names, labels)
    return LabeledImages(images=chosen.images, labels=mapped, split=split)


def _choose_quantization_images(dataset: Dataset, labels: tuple[str, ...]) -> QuantizationImages:
    """Return training images, and others to judge by: those that chose, else a tenth of train."""
    train = dataset.select("train")
    held_out = np.arange(len(train.labels)) % 10 == 0
    split = find_judging_split(dataset)
    judged = dataset.select(split) if split else train.take(held_out)
    return QuantizationImages(
        calibration=train.images if split else train.images[~held_out],
        images=judged.images,
        labels=map_labels(judged.labels, dataset.label_names, labels),
        source=f"{dataset.source}, {split or 'a tenth of train'}",
    )
