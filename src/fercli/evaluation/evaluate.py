"""Score a model on a split; the same code whatever runs the model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.data import map_labels
from fercli.data.dataset import is_synthetic_source
from fercli.dependencies import import_pandas
from fercli.evaluation.protocol import (
    check_labeling,
    find_train_duplicates,
    judge_split,
    score_deduplicated,
)
from fercli.inference import Runtime, predict_in_batches, predict_mirrored
from fercli.locks import append_line
from fercli.metadata import DatasetReference, DeduplicatedRecord, ScoreRecord
from fercli.metrics import (
    change_temperature,
    compute_coverage,
    compute_ece,
    compute_nll,
    compute_scores,
)
from fercli.names import safe_name
from fercli.results import Calibration, Confusion, EvaluationResult, to_json
from fercli.results.html import format_html
from fercli.runs import utc_now
from fercli.storage import check_outputs, seal_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame

    from fercli.data import Dataset
    from fercli.metadata import ModelMetadata
    from fercli.model_files import ModelFile
    from fercli.results import Scores
    from fercli.runs import RunFolder

__all__ = ["Evaluation", "describe_scores", "evaluate", "record_scores"]

_N_CONFUSIONS: Final = 5
_LONGEST: Final = 40
"""Characters of a model's name in a title."""


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on a split, and the predictions that they were computed from."""

    result: EvaluationResult
    """The scores."""
    metadata: ModelMetadata
    """The model's."""
    images: NDArray[np.uint8]
    """[N, 48, 48]."""
    rows: NDArray[np.int32]
    """[N], row of each in the dataset's source."""
    labels: NDArray[np.uint8]
    """[N], the truth, in the model's order."""
    plain: NDArray[np.float32]
    """[N, K], probabilities."""
    mirrored: NDArray[np.float32] | None
    """[N, K], mean of image and mirror image, when asked for."""
    seen: NDArray[np.bool_] | None
    """[N], learned from; None where unknown."""
    run: Path | None = None
    """The run that the model is of, if it is a run's."""
    sources: tuple[Path, ...] = ()
    """Files of the model and the dataset, which nothing may be written over."""

    def __repr__(self) -> str:
        low, high = self.accuracy_ci95
        return (
            f"<evaluation of {self.result.model} on {self.split} ({self.result.protocol}): "
            f"accuracy {self.accuracy:.2%} ({low:.2%} to {high:.2%}), n = {self.n_images:,}>"
        )

    def _repr_html_(self) -> str:
        low, high = self.accuracy_ci95
        pairs = {
            "accuracy": f"{self.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})",
            "macro F1": f"{self.macro_f1:.2%}",
            "images": f"{self.n_images:,} of {self.split} ({self.result.protocol})",
        }
        table: str = self.per_class.to_html()
        return format_html(self.result.model, pairs) + table

    @property
    def title(self) -> str:
        """Title of the pictures: the model, the split, and the protocol of the score."""
        name = safe_name(str(self.run or self.result.model))
        short = name if len(name) <= _LONGEST else f"...{name[-_LONGEST:]}"
        return f"{short} on {self.split} ({self.result.protocol})"

    @property
    def split(self) -> str:
        """The split that was scored."""
        return self.result.split

    @property
    def n_images(self) -> int:
        """Number of images in the split."""
        return self.result.scores.n_images

    @property
    def accuracy(self) -> float:
        """Fraction of correct predictions, in [0, 1], without test-time augmentation."""
        return self.result.scores.accuracy

    @property
    def accuracy_ci95(self) -> tuple[float, float]:
        """95 % Wilson interval of `accuracy`."""
        return self.result.scores.accuracy_ci95

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the labels."""
        return self.result.scores.macro_f1

    @property
    def per_class(self) -> DataFrame:
        """Precision, recall, F1 and support, a row per label.

        Raises:
            DependencyMissingError: pandas cannot be imported.
        """
        scores = {label: to_json(one) for label, one in self.result.scores.per_class.items()}
        frame: DataFrame = import_pandas().DataFrame.from_dict(scores, orient="index")
        return frame

    @property
    def confusion_matrix(self) -> DataFrame:
        """Counts `[K, K]`: a row per true label, a column per predicted one.

        Raises:
            DependencyMissingError: pandas cannot be imported.
        """
        counts, names = self.result.scores.confusion_matrix, self.result.labels
        frame: DataFrame = import_pandas().DataFrame(counts, index=names, columns=names)
        return frame

    def to_json(self) -> dict[str, Any]:
        """Return what `fer evaluate --json` gives, and `metrics.json` holds."""
        return self.result.to_json()

    def plot(self) -> Figure:
        """Return the confusion matrix as a matplotlib figure.

        Raises:
            DependencyMissingError: matplotlib cannot be imported.
        """
        from fercli.plots import plot_confusion_matrix

        title = f"{self.title}: accuracy {self.accuracy:.2%}, n = {self.n_images:,}"
        matrix = self.result.scores.confusion_matrix
        return plot_confusion_matrix(matrix, self.result.labels, title)

    def save(
        self, folder: str | PathLike[str], *, overwrite: bool = False, figures: str = "png"
    ) -> EvaluationResult:
        """Write the report, the metrics, the predictions and the pictures into a folder.

        Args:
            folder: Where to; made when missing.
            overwrite: Replace files that are there.
            figures: `png`, `pdf` or `svg`.

        Returns:
            The result that names the files.

        Raises:
            OutputExistsError: One of the files is there, and `overwrite` is not set.
            ConfigError: `figures` is none of the formats.
            DependencyMissingError: matplotlib or jinja2 cannot be imported.
        """
        from fercli.evaluation.files import FILES, write_files
        from fercli.plots import check_format, list_figure_names

        check_format(figures)
        target = Path(folder)
        check_outputs(target, list_figure_names(FILES), force=overwrite)
        return write_files(self, target, figures)


def evaluate(
    runtime: Runtime,
    model: ModelFile,
    dataset: Dataset,
    split: str,
    *,
    tta: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model.

    Args:
        runtime: The model, opened.
        model: Its file, for the record.
        dataset: Has the split, and the model's labels in any order.
        split: What to score on.
        tta: Also score the mean of image and mirror image; the plain scores stay as they are.
        on_progress: Called with the images that the model has answered, and with all it is asked.

    Raises:
        ModelFileError: The model's labels are not the dataset's, or are another task's.
    """
    check_labeling(runtime, dataset)
    subset = dataset.select(split)
    labels = map_labels(subset.labels, dataset.label_names, runtime.labels)
    report = _count_up(on_progress, len(labels) * (2 if tta else 1))
    started = time.perf_counter()
    plain = predict_in_batches(runtime, subset.images, on_progress=report)
    duration_s = time.perf_counter() - started
    mirrored = None
    if tta:
        mirrored = predict_mirrored(runtime, subset.images, plain, on_progress=report)
    seen = find_train_duplicates(model, runtime.metadata, dataset, split)
    scores = compute_scores(plain, labels, runtime.labels)
    result = EvaluationResult(
        model=model.title,
        model_sha256=model.compute_digest(),
        dataset={
            "source": dataset.source,
            "sha256": dataset.sha256,
            "labeling": dataset.labeling,
        },
        split=split,
        protocol=judge_split(runtime.metadata, dataset, split, seen),
        scores=scores,
        confusions=_list_confusions(scores, runtime.labels),
        calibration=_describe_calibration(runtime.metadata, dataset, plain, labels),
        coverage=compute_coverage(plain, labels),
        tta=None if mirrored is None else compute_scores(mirrored, labels, runtime.labels),
        deduplicated=score_deduplicated(seen, plain.argmax(1) == labels),
        labels=list(runtime.labels),
        duration_s=duration_s,
        images_per_s=len(labels) / duration_s,
    )
    return Evaluation(
        result=result,
        metadata=runtime.metadata,
        images=subset.images,
        rows=dataset.source_row[dataset.find_split(split)],
        labels=labels,
        plain=plain,
        mirrored=mirrored,
        seen=None if seen is None else seen[0],
        run=model.run,
        sources=(*model.files, *([dataset.path] if dataset.path else [])),
    )


def _count_up(
    on_progress: Callable[[int, int], None] | None, total: int
) -> Callable[[int], None] | None:
    """Return what counts batches for a caller who wants to know how many images are done."""
    if on_progress is None:
        return None
    done = 0

    def report(n_images: int) -> None:
        nonlocal done
        done += n_images
        on_progress(done, total)

    return report


def record_scores(run: RunFolder, result: EvaluationResult) -> None:
    """Append a result to a run's `scores.jsonl`; others may do so at once.

    Raises:
        OutputExistsError: It is a link, or no file.
        OutputBusyError: Others held it for too long.
        OSError: It cannot be written.
    """
    line = seal_json(describe_scores(result).to_json())
    append_line(run.scores, json.dumps(line, allow_nan=False))


def describe_scores(result: EvaluationResult) -> ScoreRecord:
    """Return what is kept of a result: a line of `scores.jsonl`, what a model card shows."""
    deduplicated = result.deduplicated
    return ScoreRecord(
        at=utc_now(),
        split=result.split,
        protocol=result.protocol,
        dataset=DatasetReference(source=result.dataset["source"], sha256=result.dataset["sha256"]),
        model_sha256=result.model_sha256,
        n_images=result.scores.n_images,
        accuracy=result.scores.accuracy,
        accuracy_ci95=result.scores.accuracy_ci95,
        macro_f1=result.scores.macro_f1,
        ece=result.scores.ece,
        tta_accuracy=result.tta.accuracy if result.tta else None,
        deduplicated=DeduplicatedRecord(**to_json(deduplicated)) if deduplicated else None,
        per_class=result.scores.per_class,
    )


def _list_confusions(scores: Scores, names: tuple[str, ...]) -> list[Confusion]:
    counts = np.array(scores.confusion_matrix)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_N_CONFUSIONS]
    return [
        Confusion(
            true=names[true],
            predicted=names[predicted],
            n_images=int(counts[true, predicted]),
            share=float(counts[true, predicted] / totals[true]),
        )
        for true, predicted in zip(*np.unravel_index(order, counts.shape), strict=True)
        if counts[true, predicted]
    ]


def _describe_calibration(
    metadata: ModelMetadata,
    dataset: Dataset,
    plain: NDArray[np.float32],
    labels: NDArray[np.uint8],
) -> Calibration:
    temperature = metadata.temperature
    fitted_on = metadata.calibration.split if metadata.calibration else None
    source = metadata.source
    # By kind of face, as `judge_split` tells data apart: a copy of FER2013 in another form is the
    # same images under another name.
    if fitted_on and is_synthetic_source(source) != dataset.is_synthetic:
        fitted_on = f"{fitted_on} of {source}"
    before = change_temperature(plain, before=temperature, after=1.0)
    return Calibration(
        temperature=temperature,
        fitted_on=fitted_on,
        ece_before=compute_ece(before, labels),
        nll_before=compute_nll(before, labels),
        ece=compute_ece(plain, labels),
        nll=compute_nll(plain, labels),
    )
