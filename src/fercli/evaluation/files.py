"""What an evaluation leaves in a folder: numbers, answers, pictures, a page that holds them all."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.evaluation.report import build_report, import_jinja2
from fercli.metrics import change_temperature
from fercli.names import disarm_cell
from fercli.plots import (
    PALETTE,
    list_figure_names,
    name_figures,
    plot_confusion_matrix,
    plot_coverage,
    plot_faces,
    plot_per_class,
    plot_reliability,
    plot_robustness,
    render_png,
    save_figure,
)
from fercli.runs import RunFolder
from fercli.storage import check_apart, remove_others, write_json, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fercli.evaluation.evaluate import Evaluation
    from fercli.results import EvaluationResult

__all__ = ["FILES", "write_files"]

FILES: Final = {
    "metrics": "metrics.json",
    "predictions": "predictions.csv",
    "confusion_matrix": "confusion-matrix.png",
    "per_class": "per-class.png",
    "reliability": "reliability.png",
    "coverage": "coverage.png",
    "mistakes": "mistakes.png",
    "samples": "samples.png",
    "robustness": "robustness.png",
    "report": "report.html",
}
"""What each file is, and its name."""
_N_MISTAKES: Final = 32
_COLUMNS: Final = 8
_RIGHT: Final = PALETTE[0]
_WRONG: Final = PALETTE[4]


def write_files(evaluation: Evaluation, folder: Path, figures: str = "png") -> EvaluationResult:
    """Write everything, and return the result that names the files.

    Without a mistake there is no `mistakes.png`, without corrupted images no `robustness.png`.

    Args:
        evaluation: What `evaluate` returned.
        folder: Where to; made when missing.
        figures: Format of the pictures, of `FIGURE_FORMATS`; the report keeps its own as PNG.

    Raises:
        ConfigError: One of the files is the model's or the dataset's.
        DependencyMissingError: matplotlib or jinja2 cannot be imported.
    """
    files = {kind: folder / name for kind, name in name_figures(FILES, figures).items()}
    others = {name: folder / name for name in list_figure_names(FILES)}
    check_apart(others.values(), evaluation.sources)
    # Before the first file: a page of older numbers must not stay beside new ones.
    import_jinja2()
    drawn = _plot_all(evaluation)
    for kind, figure in drawn.items():
        save_figure(figure, files[kind])
    named = {
        kind: str(path) for kind, path in files.items() if kind not in _PICTURES or kind in drawn
    }
    result = dataclasses.replace(evaluation.result, files=named)
    write_text(files["predictions"], format_predictions(evaluation))
    write_json(files["metrics"], result.to_json())
    pictures = {
        kind: files[kind].read_bytes() if figures == "png" else render_png(figure)
        for kind, figure in drawn.items()
    }
    if evaluation.run is not None and RunFolder(evaluation.run).curves.exists():
        pictures["curves"] = RunFolder(evaluation.run).curves.read_bytes()
    page = build_report(evaluation, pictures, find_mistakes(evaluation))
    remove_others(others, (files[kind].name for kind in named))
    write_text(files["report"], page)
    return result


_PICTURES: Final = {kind for kind, name in FILES.items() if name.endswith(".png")}


def format_predictions(evaluation: Evaluation) -> str:
    """Return the answers as CSV, a row per image.

    Nine digits give back every float32. `row` is the image's in the dataset's source; `in_train` is
    1 where it was learned from, pixel for pixel, and empty where that is not known.
    """
    names = evaluation.result.labels
    header = ["row", "true", "predicted", "in_train", *(f"p_{name}" for name in names)]
    blocks = [evaluation.plain]
    if evaluation.mirrored is not None:
        header += ["tta_predicted", *(f"tta_p_{name}" for name in names)]
        blocks.append(evaluation.mirrored)
    cell_names = [disarm_cell(name) for name in names]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for number, (row, label) in enumerate(zip(evaluation.rows, evaluation.labels, strict=True)):
        cells = [str(row), cell_names[label]]
        for position, block in enumerate(blocks):
            cells.append(cell_names[block[number].argmax()])
            if position == 0:
                cells.append("" if evaluation.seen is None else str(int(evaluation.seen[number])))
            cells += [f"{value:.9g}" for value in block[number]]
        writer.writerow(cells)
    return stream.getvalue()


def _plot_all(evaluation: Evaluation) -> dict[str, Figure]:
    """Return the figures that there are, by kind."""
    result, labels, plain = evaluation.result, evaluation.labels, evaluation.plain
    scores = result.scores
    split = evaluation.title
    title = f"{split}: accuracy {scores.accuracy:.2%}, n = {scores.n_images:,}"
    figures = {
        "confusion_matrix": plot_confusion_matrix(scores.confusion_matrix, result.labels, title),
        "per_class": plot_per_class(scores.per_class, title),
        "coverage": plot_coverage(result.coverage, title),
        "reliability": plot_reliability(_name_answers(evaluation), labels, title),
        "samples": _plot_answers(
            evaluation, _choose_samples(labels), f"{split}: a few of each label"
        ),
    }
    wrong = np.flatnonzero(plain.argmax(1) != labels)
    if len(wrong):
        title = f"{split}: the most confident of {len(wrong):,} errors"
        figures["mistakes"] = _plot_answers(evaluation, find_mistakes(evaluation), title)
    if result.robustness:
        title = f"{split}, n = {scores.n_images:,}: corrupted images"
        figures["robustness"] = plot_robustness(result.robustness, scores.accuracy, title)
    return figures


def find_mistakes(evaluation: Evaluation) -> NDArray[np.intp]:
    """Return the positions of the most confident errors, most confident first."""
    wrong = np.flatnonzero(evaluation.plain.argmax(1) != evaluation.labels)
    sure = evaluation.plain[wrong].max(axis=1)
    return wrong[np.argsort(-sure, kind="stable")][:_N_MISTAKES]


def _name_answers(evaluation: Evaluation) -> dict[str, NDArray[np.float32]]:
    temperature = evaluation.result.calibration.temperature
    if temperature == 1:
        return {"as trained": evaluation.plain}
    before = change_temperature(evaluation.plain, before=temperature, after=1.0)
    return {"as trained": before, f"at temperature {temperature:.2f}": evaluation.plain}


def _choose_samples(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return up to a row of images of each label that occurs, spread over the split."""
    rows = []
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        n_shown = min(len(of_label), _COLUMNS)
        rows.append(of_label[np.linspace(0, len(of_label) - 1, n_shown).round().astype(int)])
    return np.concatenate(rows)


def _plot_answers(evaluation: Evaluation, chosen: NDArray[np.intp], title: str) -> Figure:
    names, captions, colors = evaluation.result.labels, [], []
    for position in chosen:
        answer, label = evaluation.plain[position], evaluation.labels[position]
        said = int(answer.argmax())
        verdict = "right" if said == label else f"said {names[said]}"
        captions.append(f"{names[label]}\n{verdict}, {answer[said]:.0%}")
        colors.append(_RIGHT if said == label else _WRONG)
    return plot_faces(
        evaluation.images[chosen],
        title,
        columns=_COLUMNS,
        captions=captions,
        colors=colors,
    )
