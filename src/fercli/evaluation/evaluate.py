"""Score a model on a split; the same code whatever runs the model."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fercli.data.dataset import FERPLUS, FROM_SOURCE
from fercli.data.twins import digest_images
from fercli.errors import DatasetNotFoundError, ModelFileError
from fercli.inference import Runtime, predict_in_batches, predict_mirrored
from fercli.metrics import compute_scores, draw_confusion_matrix
from fercli.results import EvaluationResult
from fercli.runs import RunFolder, tell_time
from fercli.storage import write_json, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data import Dataset
    from fercli.models import ModelFile

__all__ = ["choose_split", "evaluate", "record_scores", "write_files"]

_BY_PREFERENCE = ("private", "test", "public", "validation")


def choose_split(dataset: Dataset, split: str | None) -> str:
    """Return the split to score: the one named, else private, test, public or validation.

    Raises:
        DatasetNotFoundError: The dataset has none of them, or not the one named.
    """
    names = (split,) if split else _BY_PREFERENCE
    for name in names:
        if dataset.find_split(name) is not None:
            return name
    has = [name for name in dataset.split_names if dataset.find_split(name) is not None]
    wanted = f"no complete {split} split" if split else "no split to score on"
    message = f"the dataset {dataset.source} has {wanted}; it has {', '.join(has) or 'no images'}"
    raise DatasetNotFoundError(message, hint="choose one of these with --split")


def evaluate(
    runtime: Runtime, model: ModelFile, dataset: Dataset, split: str, *, tta: bool = False
) -> EvaluationResult:
    """Score a model.

    Args:
        runtime: The model, opened.
        model: Its file, for the record.
        dataset: Has the split, and the model's labels in any order.
        split: What to score on.
        tta: Also score the mean of image and mirror image; the plain scores stay as they are.

    Raises:
        ModelFileError: The model's labels are not the dataset's, or are another task's.
    """
    _check_labeling(runtime, dataset)
    subset = dataset.select(split)
    labels = _map_labels(subset.labels, dataset.label_names, runtime.labels)
    started = time.perf_counter()
    plain = predict_in_batches(runtime, subset.images)
    duration_s = time.perf_counter() - started
    mirrored = predict_mirrored(runtime, subset.images, plain) if tta else None
    return EvaluationResult(
        model=model.title,
        model_sha256=model.compute_digest(),
        split=split,
        scores=compute_scores(plain, labels, runtime.labels),
        tta=None if mirrored is None else compute_scores(mirrored, labels, runtime.labels),
        deduplicated=_score_unseen(dataset, split, subset.images, plain.argmax(1) == labels),
        labels=list(runtime.labels),
        duration_s=duration_s,
        images_per_s=len(labels) / duration_s,
    )


def write_files(result: EvaluationResult, folder: Path) -> EvaluationResult:
    """Write `metrics.json` and `confusion-matrix.png`, and return the result that names them."""
    files = {
        "metrics": str(folder / "metrics.json"),
        "confusion_matrix": str(folder / "confusion-matrix.png"),
    }
    named = dataclasses.replace(result, files=files)
    scores = result.scores
    title = f"{result.split}: accuracy {scores.accuracy:.2%}, n = {scores.n_images:,}"
    draw_confusion_matrix(
        Path(files["confusion_matrix"]), scores.confusion_matrix, result.labels, title
    )
    write_json(Path(files["metrics"]), named.to_json())
    return named


def record_scores(run: RunFolder, result: EvaluationResult, dataset: Dataset) -> None:
    """Append a result to a run's `scores.jsonl`."""
    entry = {
        "at": tell_time(),
        "split": result.split,
        "dataset": {"source": dataset.source, "sha256": dataset.sha256},
        "model_sha256": result.model_sha256,
        "n_images": result.scores.n_images,
        "accuracy": result.scores.accuracy,
        "accuracy_ci95": result.scores.accuracy_ci95,
        "macro_f1": result.scores.macro_f1,
        "tta_accuracy": result.tta.accuracy if result.tta else None,
        "deduplicated": result.deduplicated,
    }
    before = run.scores.read_text(encoding="utf-8") if run.scores.exists() else ""
    write_text(run.scores, before + json.dumps(entry, allow_nan=False) + "\n")


def _check_labeling(runtime: Runtime, dataset: Dataset) -> None:
    """Refuse to score a model of one task by the labels of the other; their names are alike."""
    learned = runtime.metadata.get("dataset", {}).get("labeling", FROM_SOURCE)
    if learned != dataset.labeling:
        said = {FERPLUS: "the votes of FER+", FROM_SOURCE: "the labels of its source"}
        message = (
            f"the model learned {said.get(learned, learned)}, and {dataset.source} has "
            f"{said.get(dataset.labeling, dataset.labeling)}: the score would mean nothing"
        )
        hint = "name a dataset of the same labels with --data"
        raise ModelFileError(message, hint=hint)


def _map_labels(
    labels: NDArray[np.uint8], names: tuple[str, ...], wanted: tuple[str, ...]
) -> NDArray[np.uint8]:
    """Return label numbers in the model's order; orders may differ, names may not."""
    if set(names) != set(wanted):
        message = f"the model knows {', '.join(wanted)}; the dataset has {', '.join(names)}"
        raise ModelFileError(message, hint="evaluate it on a dataset with its own labels")
    return np.array([wanted.index(name) for name in names], dtype=np.uint8)[labels]


def _score_unseen(
    dataset: Dataset, split: str, images: NDArray[np.uint8], right: NDArray[np.bool_]
) -> dict[str, float] | None:
    """Return n and accuracy without the images that also stand in train, pixel for pixel."""
    positions = dataset.find_split("train")
    if positions is None or split == "train":
        return None
    unseen = ~np.isin(digest_images(images), digest_images(dataset.images[positions]))
    if not unseen.any():
        return None
    return {"n_images": int(unseen.sum()), "accuracy": float(right[unseen].mean())}
