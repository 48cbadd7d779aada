"""`fer train`: train a network on a dataset.

Options that stand for a field of the configuration are declared there and arrive as `typed`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fercli.cli._command import register
from fercli.cli._options import (
    DataOption,
    ForceOption,
    TableOption,
    build_parameters,
    complete_run,
    complete_setting,
    drop_untyped,
)
from fercli.cli._output import Outcome, Output, follow_main
from fercli.cli._repeats import resume_repeats, start_repeats
from fercli.cli._training import TrainRequest, extend_run, is_to_be_longer, resume_run, start_run
from fercli.config import DEFAULTS, RepeatConfig, list_options
from fercli.errors import ConfigError
from fercli.launch import read_launch
from fercli.ranges import find_unknown_choice
from fercli.recipes import RECIPES, list_changes
from fercli.runs import REPEATS
from fercli.settings import OPTIONS

__all__ = ["add_to"]

_LOGS: Final = ("tensorboard",)
_BY_RECIPE: Final = {field for name in RECIPES for field in list_changes(name)}


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    fields = build_parameters(OPTIONS.values(), _BY_RECIPE)
    fields += build_parameters(list_options(RepeatConfig))
    register(app, "train", fields=fields, needs=["torch"])(train_command)


def train_command(
    output: Output,
    *,
    data: DataOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(RECIPES),
            help=f"A named, complete configuration. Default: {DEFAULTS.recipe}.",
            autocompletion=lambda: list(RECIPES),
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML file, or a run's run.json.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any field of the configuration; see docs/reference/configuration.md.",
            autocompletion=complete_setting,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Train one network in N processes, one GPU each. Default: 1."),
    ] = None,
    run_folder: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="The run folder. Default: runs/<recipe>."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Continue a run exactly. With the same folder as --output: start the run if it "
            "does not exist. With more --epochs: train a finished run longer, in a new folder.",
            autocompletion=complete_run,
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="tensorboard",
            help="Log curves for TensorBoard too, in the run folder (extra tensorboard).",
            autocompletion=lambda: list(_LOGS),
        ),
    ] = None,
    table: TableOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run, and run nothing.")
    ] = False,
    force: ForceOption = False,
    **typed: Any,  # noqa: ANN401  # the options that fields of the configuration declare
) -> Outcome:
    """Train a network and write a run folder with its model.

    The best epoch is selected on the validation split; the private split is never opened. Ctrl-C
    saves the state, and --resume continues; on a CPU, the final weights are then bit-identical to
    those of an uninterrupted run. With the same folder as --output and --resume, the same command
    starts the run or continues it. Precedence: options, --set, environment, --config, recipe.

    Exit status: 0 done, 2 the configuration cannot be run, 3 data missing, 4 teacher, initial
    weights or dataset do not match, 5 no such device, or pretrained weights not available, 8 the
    run failed (its last good state is named), 130 interrupted.

    Examples:
      fer train --data synthetic:1000 --recipe fast --epochs 1 --dry-run
      fer train --recipe fast --device cpu
      fer train --epochs 60 --set erasing=0.3 --set widths=64,192,384
      fer train --members 5 --output runs/ensemble
      fer train --teacher runs/ensemble --recipe fast
      fer train --teacher runs/fast --teacher runs/standard --output runs/student
      fer train --init runs/fast --recipe fast --set trunk_ratio=0.1
      fer train --recipe fast --seeds 3
      fer train --recipe fast --folds 5 --dry-run
      fer train --processes 2 --dry-run
      fer train --network resnet18 --recipe fast --set input_px=96
      fer train --resume runs/standard
      fer train --resume runs/standard --epochs 3
      fer train --recipe fast --output runs/job-7 --resume runs/job-7
    """
    goes_on = (
        resume is not None and run_folder is not None and resume.resolve() == run_folder.resolve()
    )
    values = drop_untyped(typed)
    plan = RepeatConfig(**{one.name: values.pop(one.name, 0) for one in list_options(RepeatConfig)})
    request = TrainRequest(
        data=data,
        recipe=recipe,
        config=config,
        settings=settings or [],
        options=values,
        folder=run_folder,
        processes=processes,
        force=force,
        goes_on=goes_on,
        plan=plan,
        log=log,
        table=table,
    )
    _check(request, resume)
    rank, _ = read_launch()
    if rank:
        output = follow_main(output)
    if resume is None or goes_on:
        start = start_repeats if plan.kind else start_run
        return start(output, request, dry_run=dry_run)
    if dry_run:
        message = "--dry-run shows a new training, but --resume continues one"
        raise ConfigError(message, hint="leave one of them out")
    if (resume / REPEATS).exists():
        return resume_repeats(output, resume, request)
    go_on = extend_run if is_to_be_longer(resume, request) else resume_run
    return go_on(output, resume, request)


def _check(request: TrainRequest, resume: Path | None) -> None:
    """Refuse what was typed and cannot be; what a configuration holds checks itself."""
    if request.log is not None:
        _check_log(request.log)
    if request.processes is not None and request.processes < 1:
        message = f"--processes must be at least 1, not {request.processes}"
        raise ConfigError(message)
    if request.goes_on and request.force:
        message = "--force starts over, but --resume continues"
        raise ConfigError(message, hint="leave one of them out")
    repeats = request.plan.kind or (resume is not None and (resume / REPEATS).exists())
    if request.table is not None and not repeats:
        message = "--table needs repeated trainings: give --seeds or --folds"
        raise ConfigError(message)


def _check_log(log: str) -> None:
    """Refuse a log that there is none of, or whose library is missing."""
    if problems := find_unknown_choice("log", log, _LOGS):
        raise ConfigError(*problems)
    from fercli.training import check_tensorboard

    check_tensorboard()
