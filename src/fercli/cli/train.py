"""`fer train`: train a network on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fercli.cli._command import register
from fercli.cli._options import DataOption, DeviceOption, ForceOption
from fercli.cli._output import Outcome, Output, follow_main
from fercli.cli._train_request import TrainRequest
from fercli.cli._training import resume_run, start_run
from fercli.config import BALANCES, DEFAULTS, NETWORKS, OPTIMIZERS
from fercli.errors import ConfigError
from fercli.launch import read_launch
from fercli.recipes import RECIPES

__all__ = ["add_to"]

_CHANGES = "Default: the recipe's."


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "train")(train_command)


def train_command(
    output: Output,
    *,
    data: DataOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(RECIPES),
            help=f"A named, complete configuration. Default: {DEFAULTS.recipe}.",
        ),
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="|".join(NETWORKS), help=f"The network. {_CHANGES}")
    ] = None,
    pretrained: Annotated[
        bool | None,
        typer.Option(
            "--pretrained", help="Begin with torchvision's ImageNet weights; fetched once."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help=f"Passes over the images. {_CHANGES}")] = None,
    batch_size: Annotated[int | None, typer.Option(help=f"Images per step. {_CHANGES}")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help=f"Peak learning rate. {_CHANGES}")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="|".join(OPTIMIZERS), help=f"The optimizer. {_CHANGES}")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help=f"Weight decay. {_CHANGES}")] = None,
    dropout: Annotated[
        float | None, typer.Option(help=f"Dropout before the last layer. {_CHANGES}")
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(
            help=f"Train so many networks first, and one that learns from them. {_CHANGES}"
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Learn from a model's answers, too; given again, from the mean of several.",
        ),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(metavar="|".join(BALANCES), help=f"What is done for rare labels. {_CHANGES}"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help=f"Stop after so many epochs without gain; 0 never. {_CHANGES}"),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT|FRACTION",
            help="What chooses the best epoch. Default: public, else validation, else 0.1 of "
            "train.",
        ),
    ] = None,
    device: DeviceOption = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="auto|fp32|bf16|fp16", help="Default: auto, what the device is fastest in."
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Train one network in so many processes, one GPU each. Default: 1."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help=f"Default: {DEFAULTS.seed}.")] = None,
    run_folder: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="The run folder. Default: runs/<recipe>."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run, exactly.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML file, or a run's run.json.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any field of the configuration."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run, and run nothing.")
    ] = False,
    force: ForceOption = False,
) -> Outcome:
    """Train a network and leave a run folder with a model in it.

    The best epoch is chosen on the validation split; the private split is never opened. Ctrl-C
    saves the state, and --resume goes on with it, on a CPU to the same weights bit for bit.
    Precedence: options, --set, environment, --config, recipe.

    Exit status: 0 done, 2 the configuration cannot be run, 3 data missing, 4 the teacher cannot
    teach, pretrained weights do not fit or a run does not fit its data, 5 no such device, or
    pretrained weights cannot be had, 8 the run failed (its last good state is named), 130
    interrupted.

    Examples:
      fer train --data synthetic:1000 --recipe fast --epochs 1 --dry-run
      fer train --recipe fast --device cpu
      fer train --epochs 60 --set erasing=0.3 --set widths=64,192,384
      fer train --members 5 --output runs/ensemble
      fer train --teacher runs/ensemble --recipe fast
      fer train --teacher runs/fast --teacher runs/standard --output runs/student
      fer train --processes 2 --dry-run
      fer train --network resnet18 --recipe fast --set input_px=96
      fer train --resume runs/standard
    """
    typed = {
        "network": network,
        "pretrained": pretrained,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "dropout": dropout,
        "members": members,
        "teacher": tuple(teacher) if teacher else None,
        "balance": balance,
        "patience": patience,
        "validation": validation,
        "device": device,
        "precision": precision,
        "seed": seed,
    }
    request = TrainRequest(
        data=data,
        recipe=recipe,
        config=config,
        settings=settings or [],
        options={name: value for name, value in typed.items() if value is not None},
        folder=run_folder,
        processes=processes,
        force=force,
    )
    if processes is not None and processes < 1:
        message = f"--processes must be at least 1, not {processes}"
        raise ConfigError(message)
    rank, _ = read_launch()
    if rank:
        output = follow_main(output)
    if resume is None:
        return start_run(output, request, dry_run=dry_run)
    if dry_run:
        message = "--dry-run says what would be trained anew, and --resume goes on"
        raise ConfigError(message, hint="leave one of them out")
    return resume_run(output, resume, request)
