"""What `fer train --seeds` and `--folds` do: the same training several times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fercli.cli._display import print_pairs, print_table
from fercli.cli._output import Outcome, Output
from fercli.cli._training import (
    TrainRequest,
    choose_config,
    choose_data,
    find_changes,
    launch_processes,
    list_inputs,
    load_dataset,
    resolve_path,
    show_plan,
    watch,
)
from fercli.config import RepeatConfig, TrainConfig
from fercli.dependencies import check_installed
from fercli.errors import ConfigError
from fercli.launch import read_launch
from fercli.names import safe_name
from fercli.results import RepeatsResult, to_json
from fercli.runs import REPEATS, RunFolder, name_run_directory
from fercli.settings import flatten_config
from fercli.storage import check_apart
from fercli.table_files import build_repeats_table, check_table, write_table

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.data import Dataset
    from fercli.training import Callbacks

__all__ = ["resume_repeats", "start_repeats"]


def start_repeats(output: Output, request: TrainRequest, *, dry_run: bool) -> Outcome:
    """Train several times anew, or say what would be trained."""
    from fercli.training import check_training, list_repeats

    # For the interval of the mean, and for the scores on folds.
    check_installed("scipy", *(["sklearn"] if request.plan.folds else []))
    chosen = choose_config(request)
    data, digest = choose_data(request)
    folder = request.folder or name_run_directory(f"{chosen.recipe}-{request.plan.kind}")
    variants = list_repeats(chosen, request.plan)
    first = next(iter(variants.values()))
    if dry_run:
        runs = [str(folder / name) for name in variants]
        shown = show_plan(first, RunFolder(folder), load_dataset(output, data, digest))

        def show(console: Console) -> None:
            shown.show(console)
            print_pairs(console, {"runs": ", ".join(runs)})

        return Outcome({**shown.data, "runs": runs}, show)
    rank, n_launched = read_launch()
    if not rank and not request.goes_on:
        check_apart([folder / REPEATS], list_inputs(request, chosen, data))
    if n_launched == 1 and not request.goes_on:
        RunFolder(folder).check_new(overwrite=request.force)
    launches = (request.processes or 1) > n_launched == 1
    dataset = load_dataset(output.silenced() if launches else output, data, digest)
    check_training(dataset, first)
    if launches and request.processes:
        raise typer.Exit(launch_processes(chosen, request.processes, folder))
    return _train(output, dataset, chosen, request, folder, resolve_path(data))


def resume_repeats(output: Output, folder: Path, request: TrainRequest) -> Outcome:
    """Go on with the trainings of a folder; what is asked again must be what they are."""
    from fercli.training import open_repeats

    plan, config, record = open_repeats(folder)
    refused = find_changes(request, flatten_config(config), record.processes)
    refused += [request.plan.kind] if request.plan not in {RepeatConfig(), plan} else []
    if refused:
        message = f"{', '.join(refused)} would change the results of {folder}"
        raise ConfigError(message, hint="leave it out, or train anew with another --output")
    check_installed("scipy", *(["sklearn"] if plan.folds else []))
    given = request.data if request.data is not None else record.data
    _, n_launched = read_launch()
    launches = record.processes > n_launched == 1
    dataset = load_dataset(output.silenced() if launches else output, given)
    if launches:
        raise typer.Exit(launch_processes(config, record.processes, folder))
    named = resolve_path(request.data) if request.data is not None else given
    going_on = TrainRequest(**{**vars(request), "plan": plan, "goes_on": True})
    return _train(output, dataset, config, going_on, folder, named)


def _train(
    output: Output,
    dataset: Dataset,
    config: TrainConfig,
    request: TrainRequest,
    folder: Path,
    data: str | None,
) -> Outcome:
    def work(callbacks: Callbacks) -> RepeatsResult:
        from fercli.training import train_repeats

        return train_repeats(
            dataset, config, request.plan, folder, data=data, callbacks=callbacks,
            overwrite=request.force, go_on=request.goes_on,
        )  # fmt: skip

    check_table(request.table, force=request.force, inputs=[folder / REPEATS])
    result = watch(output, config.epochs, request.log, work)
    if not read_launch()[0]:
        write_table(request.table, build_repeats_table(result))
    return Outcome(to_json(result), lambda console: _show(console, result))


def _show(console: Console, result: RepeatsResult) -> None:
    from rich.table import Table

    title = f"{len(result.runs)} {result.kind}"
    table = Table(title=title, title_justify="left")
    table.add_column("run")
    columns = ["best epoch", result.validation_split]
    columns += ["fold", "macro F1", "images"] if result.kind == "folds" else []
    for name in columns:
        table.add_column(safe_name(name), justify="right")
    for run in result.runs:
        cells = [run.name, f"{run.best_epoch} of {run.epochs}", f"{run.validation_accuracy:.2%}"]
        if run.accuracy is not None and run.macro_f1 is not None:
            cells += [f"{run.accuracy:.2%}", f"{run.macro_f1:.2%}", f"{run.n_images:,}"]
        table.add_row(*cells)
    print_table(console, table)
    low, high = result.mean_ci95
    chose = f"validation accuracy on {result.validation_split}, which chose the epochs"
    pairs = {
        "score": "accuracy on the folds" if result.kind == "folds" else chose,
        "mean": f"{result.mean:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"n = {len(result.runs)} runs)",
        "standard deviation": f"{100 * result.standard_deviation:.2f} points",
    }
    if result.pooled_accuracy is not None and result.pooled_ci95 is not None:
        low, high = result.pooled_ci95
        pairs["all folds"] = (
            f"{result.pooled_accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, "
            f"n = {result.n_images:,} images)"
        )
    pairs["training"] = f"{result.duration_s:.1f} s"
    pairs["runs"] = result.run_directory
    print_pairs(console, pairs)
