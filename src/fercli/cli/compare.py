"""`fer compare`: several models on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._display import (
    describe_dataset,
    describe_labels,
    print_line,
    print_pairs,
    print_table,
    say_value,
    watch_images,
)
from fercli.cli._options import (
    DeviceOption,
    FiguresOption,
    ForceOption,
    OutputFolderOption,
    ScoredDataOption,
    SplitOption,
    TableOption,
    choose_device_name,
    complete_model,
)
from fercli.cli._output import Outcome, Output
from fercli.errors import ConfigError
from fercli.names import safe_name
from fercli.ranges import find_unknown_choice
from fercli.results import ComparisonResult, PairedDifference, to_json
from fercli.storage import check_outputs
from fercli.table_files import build_comparison_table, check_table, write_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "compare", needs=["sklearn", "scipy"])(compare_command)


def compare_command(
    output: Output,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Two or more: run folders, .safetensors, .onnx or bundled models; for repeated "
            "trainings (--seeds, --folds), their folder.",
            autocompletion=complete_model,
        ),
    ],
    *,
    data: ScoredDataOption = None,
    split: SplitOption = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[MODEL=]NAME,NAME,...|fer2013|ferplus|folders",
            help="Output labels, in order, of ONNX files not exported by fercli. MODEL=… sets them "
            "for one file.",
        ),
    ] = None,
    scaling: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="[MODEL=]0-255|0-1|-1-1|imagenet",
            help="Pixel scaling those files expect (size and channels are read from the file). "
            "Default: 0-1.",
        ),
    ] = None,
    device: DeviceOption = None,
    folder: OutputFolderOption = None,
    table: TableOption = None,
    figures: FiguresOption = "png",
    force: ForceOption = False,
) -> Outcome:
    """Compare models on the same images, and test the differences.

    Each pair of models gets McNemar's exact test, adjusted for the number of pairs, and a bootstrap
    interval of the difference. For runs, the settings that differ are listed, too. With --output
    DIR, writes comparison.json, pictures of disagreements and of accuracy against cost, and the
    training curves of the runs.

    Exit status: 0 done, 2 bad options or only one model, 3 data missing, 4 a model missing or
    refused, 5 no such device.

    Examples:
      fer compare runs/fast runs/standard
      fer compare runs/fast runs/standard --split public --output comparison
      fer compare runs/fast runs/standard --split public --table comparison.md
      fer compare runs/fast other.onnx --labels ferplus --input other.onnx=0-255
    """
    from fercli.data import list_source_files, load_data
    from fercli.evaluation import (
        COMPARISON_FILES,
        check_names,
        choose_split,
        compare,
        find_own_data,
        list_runs,
        open_candidate,
        write_comparison,
    )
    from fercli.model_files import find_model
    from fercli.plots import check_format, list_figure_names

    models = list_runs(models)
    names = check_names(models)
    how = _read_how(models, labels or [], scaling or [], choose_device_name(device))
    found = [find_model(spec) for spec in models]
    for remark in filter(None, (file.remark for file in found)):
        output.note(remark)
    data = data or find_own_data(found)
    inputs = [*(path for file in found for path in file.files), *list_source_files(data)]
    check_table(table, force=force, inputs=inputs)
    check_format(figures)
    check_outputs(folder, list_figure_names(COMPARISON_FILES), force=force, inputs=inputs)
    with watch_images(output, "reading the dataset") as on_progress:
        dataset = load_data(data, on_progress, output.warn)
    chosen = choose_split(dataset, split)
    if split is None:
        output.note(f"split: {chosen}")
    if dataset.is_synthetic:
        output.warn("these faces are synthetic: scores on them say nothing about real faces")
    candidates = [
        open_candidate(
            name, model, dataset, device=how.device, order=how.orders.get(spec),
            scaling=how.scalings[spec],
        )
        for name, spec, model in zip(names, models, found, strict=True)
    ]  # fmt: skip
    for one in candidates:
        if one.ignored_labels:
            left_out = ", ".join(one.ignored_labels)
            output.note(f"{one.name}: {left_out} left out, the dataset has no such label")
    with watch_images(output, "scoring") as on_progress:
        comparison = compare(candidates, dataset, chosen, on_progress=on_progress)
    result = comparison.result
    if folder is not None:
        result = write_comparison(comparison, folder, figures)
    write_table(table, build_comparison_table(result))
    return Outcome(to_json(result), lambda console: _show(console, result))


@dataclass(frozen=True)
class _How:
    """How models are opened."""

    device: str
    """Where they run."""
    orders: dict[str, tuple[str, ...]]
    """Labels of models that fercli did not export, by what was typed; others are refused."""
    scalings: dict[str, str]
    """Of their pixels."""


def _read_how(models: list[str], labels: list[str], scaling: list[str], device: str) -> _How:
    """Read what was said of models that fercli did not export."""
    from fercli.inference.external import SCALINGS, parse_labels

    scalings = dict.fromkeys(models, "0-1") | _assign(models, scaling)
    problems = [
        problem
        for value in dict.fromkeys(scalings.values())
        for problem in find_unknown_choice("input", value, SCALINGS)
    ]
    if problems:
        raise ConfigError(*problems)
    words = _assign(models, labels)
    return _How(device, {spec: parse_labels(text) for spec, text in words.items()}, scalings)


def _assign(models: list[str], values: list[str]) -> dict[str, str]:
    """Return each model's value; `MODEL=VALUE` is of one of them, whatever is said of all."""
    assigned: dict[str, str] = {}
    of_one: dict[str, str] = {}
    for text in values:
        spec, equals, value = text.rpartition("=")
        if not equals:
            assigned |= dict.fromkeys(models, text)
        elif spec in models:
            of_one[spec] = value
        else:
            message = f"{text}: {spec} is not one of the compared models"
            raise ConfigError(message)
    return assigned | of_one


def _show(console: Console, result: ComparisonResult) -> None:
    from rich.table import Table

    table = Table(title=f"{result.split}, {result.n_images:,} images", title_justify="left")
    for column in ("model", "accuracy", "95 % interval", "macro F1", "ECE", "parameters", "MB",
                   "images/s", "on", "protocol"):  # fmt: skip
        left = column in {"model", "on", "protocol"}
        table.add_column(column, justify="left" if left else "right")
    for model in result.models:
        scores = model.scores
        low, high = scores.accuracy_ci95
        table.add_row(
            safe_name(model.name),
            f"{scores.accuracy:.2%}",
            f"{low:.2%} to {high:.2%}",
            f"{scores.macro_f1:.2%}",
            f"{scores.ece:.3f}",
            "unknown" if model.parameters is None else f"{model.parameters:,}",
            f"{model.size_bytes / 1e6:.1f}",
            f"{model.images_per_s:,.0f}",
            model.device,
            model.protocol,
        )
    print_table(console, table)
    for one in result.repeats:
        low, high = one.mean_ci95
        deviation = 100 * one.standard_deviation
        print_line(
            console,
            f"{one.name}: mean {one.mean:.2%} (95 % interval {low:.2%} to {high:.2%}, "
            f"n = {len(one.models)} runs), standard deviation {deviation:.2f} points",
        )
    # Of repeated runs every pair would be many lines that nobody asks for; the JSON has them.
    for pair in [] if result.repeats else result.pairs:
        print_line(console, _describe(pair))
    if result.settings:
        print_table(console, _build_settings_table(result))
    pairs = {
        "dataset": describe_dataset(result.dataset),
        "labels": describe_labels(result.models[0].labels, result.dataset),
        "answered differently": f"{result.n_disagreements:,} of {result.n_images:,} images",
    }
    print_pairs(console, {**pairs, **result.files})


def _describe(pair: PairedDifference) -> str:
    low, high = pair.difference_ci95
    verdict = "significant" if pair.significant else "no significant difference"
    # Below that a float is 0, and no probability is.
    p = f"p = {pair.p_adjusted:.2g}" if pair.p_adjusted > 1e-300 else "p < 1e-300"
    return (
        f"{pair.second} against {pair.first}: {100 * pair.difference:+.2f} points (95 % interval "
        f"{100 * low:+.2f} to {100 * high:+.2f}), alone right on {pair.n_only_second} and "
        f"{pair.n_only_first} images, {p}: {verdict}"
    )


def _build_settings_table(result: ComparisonResult) -> Table:
    from rich.table import Table

    table = Table(title="settings in which the runs differ", title_justify="left")
    runs = list(next(iter(result.settings.values())))
    table.add_column("setting")
    for run in runs:
        table.add_column(safe_name(run))
    for setting, values in result.settings.items():
        table.add_row(setting, *(safe_name(say_value(values[run])) for run in runs))
    return table
