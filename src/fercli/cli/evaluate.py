"""`fer evaluate`: score a model on a split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from fercli.cli._command import register
from fercli.cli._display import (
    build_scores_table,
    describe_accuracy,
    describe_dataset,
    describe_labels,
    print_pairs,
    print_table,
    watch_images,
    watch_work,
)
from fercli.cli._options import (
    DeviceOption,
    FiguresOption,
    ForceOption,
    ModelArgument,
    OutputFolderOption,
    ScoredDataOption,
    SplitOption,
    TableOption,
    choose_device_name,
)
from fercli.cli._output import Outcome, Output, warn_if_synthetic
from fercli.errors import ConfigError, VerificationError
from fercli.names import name_split
from fercli.results import EvaluationResult
from fercli.runs import RunFolder
from fercli.storage import check_outputs
from fercli.table_files import build_evaluation_table, check_table, write_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fercli.data import Dataset
    from fercli.evaluation import Evaluation
    from fercli.inference import Runtime
    from fercli.model_files import ModelFile

__all__ = ["add_to", "show_evaluation"]

_PROTOCOLS: Final = {
    "held-out": "held-out: nothing about this model was chosen on {}",
    "selection": "selection score: the checkpoint was chosen on {}, so this accuracy is "
    "optimistic; without another split, train with --validation 0.1 to keep {} held out",
    "training": "training: the model was trained on these images",
}
"""What a score is worth."""


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "evaluate", needs=["sklearn", "scipy"])(evaluate_command)


def evaluate_command(
    output: Output,
    *,
    model: ModelArgument = None,
    data: ScoredDataOption = None,
    split: SplitOption = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Also score the mean over each image and its mirror.")
    ] = False,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Also score corrupted images: blurred, noisy, compressed, dark, covered, rotated.",
        ),
    ] = False,
    device: DeviceOption = None,
    require: Annotated[
        str | None,
        typer.Option(metavar="accuracy=X", help="Exit 6 when the plain accuracy is below X."),
    ] = None,
    folder: OutputFolderOption = None,
    table: TableOption = None,
    figures: FiguresOption = "png",
    force: ForceOption = False,
) -> Outcome:
    """Score a model: accuracy with its interval, F1 of every label.

    With --output DIR, writes report.html, a page with all scores, including precision and recall of
    every label; metrics.json; predictions.csv, one row per image; and the pictures. A run also
    gets a line in its scores.jsonl. Plain and mirrored (--tta) scores are reported separately. A
    score on the split that the best epoch was selected on is called a selection score.

    Exit status: 0 done, 2 bad options, 3 data missing, 4 model missing or refused, 5 no such
    device, 6 the accuracy is below --require.

    Examples:
      fer evaluate
      fer evaluate runs/fast --split public --output scores
      fer evaluate runs/fast --split public --table scores.tex
      fer evaluate runs/fast --robustness --output scores --force
      fer evaluate model.onnx --data synthetic:1000 --require accuracy=0.9
    """
    from fercli.data import list_source_files, load_data
    from fercli.evaluation import (
        FILES,
        choose_split,
        find_own_data,
        write_files,
    )
    from fercli.model_files import find_model, open_runtime
    from fercli.plots import check_format, list_figure_names

    least = _parse_require(require) if require is not None else None
    found = find_model(model)
    data = data or find_own_data([found])
    inputs = [*found.files, *list_source_files(data)]
    check_table(table, force=force, inputs=inputs)
    check_format(figures)
    check_outputs(folder, list_figure_names(FILES), force=force, inputs=inputs)
    if found.remark:
        output.note(found.remark)
    runtime = open_runtime(found, device=choose_device_name(device))
    with watch_images(output, "reading the dataset") as on_progress:
        dataset = load_data(data, on_progress, output.warn)
    chosen = choose_split(dataset, split)
    if split is None:
        output.note(f"split: {chosen}")
    if dataset.is_synthetic:
        output.warn("these faces are synthetic: scores on them say nothing about real faces")
    else:
        warn_if_synthetic(output, runtime.metadata)
    run = RunFolder(found.run) if found.run else None
    evaluation = _score(output, runtime, found, dataset, chosen, tta=tta, robustness=robustness)
    result = evaluation.result
    if folder is not None:
        with watch_work(output, "drawing the report"):
            result = write_files(evaluation, folder, figures)
    write_table(table, build_evaluation_table(result))
    if run is not None:
        _record(output, run, result)
    accuracy = result.scores.accuracy
    failure = None
    if least is not None and accuracy < least:
        message = f"the accuracy {accuracy:.4f} on {chosen} is below the required {least}"
        failure = VerificationError(message)
    return Outcome(
        result.to_json(), lambda console: show_evaluation(console, result), failure=failure
    )


def _score(  # what is scored, and how
    output: Output,
    runtime: Runtime,
    found: ModelFile,
    dataset: Dataset,
    split: str,
    *,
    tta: bool,
    robustness: bool,
) -> Evaluation:
    """Return the scores, with progress on stderr."""
    from fercli.evaluation import evaluate, measure_robustness

    with watch_images(output, "scoring") as on_progress:
        evaluation = evaluate(runtime, found, dataset, split, tta=tta, on_progress=on_progress)
    if robustness:
        with watch_images(output, "scoring corrupted images") as on_progress:
            evaluation = measure_robustness(runtime, evaluation, on_progress)
    return evaluation


def _record(output: Output, run: RunFolder, result: EvaluationResult) -> None:
    """Append to the run's scores; a run that cannot be written to is scored all the same."""
    from fercli.evaluation import record_scores

    try:
        record_scores(run, result)
    except OSError as reason:
        output.warn(f"{run.scores} was not written: {reason.strerror or reason}")
    except ConfigError as reason:
        output.warn(f"{run.scores} was not written: {reason.message}")


def show_evaluation(console: Console, result: EvaluationResult) -> None:
    """Show an evaluation's tables and files."""
    scores = result.scores
    print_table(console, build_scores_table(scores, f"{result.split}, {scores.n_images:,} images"))
    if result.robustness:
        print_table(console, _build_robustness_table(result))
    pairs = {
        "dataset": describe_dataset(result.dataset),
        "labels": describe_labels(result.labels, result.dataset),
        "accuracy": describe_accuracy(scores),
    }
    if result.protocol in _PROTOCOLS:
        pairs["protocol"] = _PROTOCOLS[result.protocol].replace("{}", result.split)
    pairs |= {
        "macro F1": f"{scores.macro_f1:.2%}",
        "balanced accuracy": f"{scores.balanced_accuracy:.2%}",
        "NLL, ECE, Brier": f"{scores.nll:.3f}, {scores.ece:.3f}, {scores.brier:.3f}",
    }
    fitted = result.calibration
    if fitted.fitted_on:
        pairs["calibration"] = (
            f"temperature {fitted.temperature:.2f}, fitted on {name_split(fitted.fitted_on)}: "
            f"ECE {fitted.ece_before:.3f} before, {fitted.ece:.3f} after"
        )
    if result.confusions:
        pairs["confusions"] = ", ".join(
            f"{one.true} taken for {one.predicted} {one.n_images:,} ({one.share:.0%})"
            for one in result.confusions
        )
    if deduplicated := result.deduplicated:
        left = f"{deduplicated.accuracy:.2%}" if deduplicated.accuracy is not None else "nothing"
        pairs["excluding train duplicates"] = (
            f"{left} (n = {deduplicated.n_images:,}; {deduplicated.n_seen:,} left out)"
        )
    if tta := result.tta:
        pairs["with mirror TTA"] = describe_accuracy(tta)
        pairs["macro F1 with TTA"] = f"{tta.macro_f1:.2%}"
        pairs["NLL, ECE, Brier with TTA"] = f"{tta.nll:.3f}, {tta.ece:.3f}, {tta.brier:.3f}"
    pairs["speed"] = f"{result.images_per_s:,.0f} images/s"
    pairs["model"] = result.model
    pairs.update({f"{name.replace('_', ' ')}": path for name, path in result.files.items()})
    print_pairs(console, pairs)


def _build_robustness_table(result: EvaluationResult) -> Table:
    from rich.table import Table

    table = Table(title="the same images, corrupted", title_justify="left")
    table.add_column("corruption")
    for name in ("amount", "accuracy", "macro F1"):
        table.add_column(name, justify="right")
    for row in result.robustness:
        scores = (f"{row.accuracy:.1%}", f"{row.macro_f1:.1%}")
        table.add_row(row.corruption, f"{row.amount:g}", *scores)
    return table


def _parse_require(text: str) -> float:
    name, equals, value = text.partition("=")
    try:
        least = float(value)
    except ValueError:
        least = -1.0
    if name != "accuracy" or not equals or not 0 <= least <= 1:
        message = f"--require takes accuracy=X with X from 0 to 1, not {text!r}"
        raise ConfigError(message)
    return least
