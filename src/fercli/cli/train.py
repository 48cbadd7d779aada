"""`fer train`: train a network on a dataset."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fercli.cli._command import register
from fercli.cli._configuration import merge_config
from fercli.cli._options import DataOption, DeviceOption, ForceOption
from fercli.cli._output import Outcome, Output
from fercli.cli._progress import watch_images, watch_training
from fercli.cli._tables import print_pairs
from fercli.config import BALANCES, DEFAULTS, NETWORKS, OPTIMIZERS, TrainConfig, find_batch_misfit
from fercli.errors import ConfigError, FercliError, ModelFileError, OutputExistsError
from fercli.recipes import RECIPES
from fercli.results import TrainResult, to_json
from fercli.runs import RunFolder, is_finished, name_run_directory, read_run_record
from fercli.settings import build_config, flatten_config, parse_setting

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.data import Dataset

__all__ = ["add_to", "clear_run"]

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
        str | None, typer.Option(metavar="MODEL", help="Learn from a model's answers, too.")
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
        "teacher": teacher,
        "balance": balance,
        "patience": patience,
        "validation": validation,
        "device": device,
        "precision": precision,
        "seed": seed,
    }
    options = {name: value for name, value in typed.items() if value is not None}
    if resume is not None:
        if dry_run:
            message = "--dry-run says what would be trained anew, and --resume goes on"
            raise ConfigError(message, hint="leave one of them out")
        given = {"recipe": recipe, "config": config, "output": run_folder}
        refused = [name for name, value in given.items() if value is not None]
        asked = {**dict(map(parse_setting, settings or [])), **options}
        return _resume(output, resume, data=data, asked=asked, refused=refused)
    try:
        chosen = merge_config(config, recipe, settings or [], options)
    except ConfigError as error:
        # Everything that is wrong is said at once, what only the data can tell included.
        misfits = _find_misfits(data, settings or [], options)
        problems = dict.fromkeys((*error.problems, *misfits))
        raise ConfigError(*problems, hint=error.hint) from None
    lasting = {
        "teacher": _make_teacher_lasting(chosen.distillation.teacher),
        "pretrained_weights": _make_lasting(chosen.transfer.pretrained_weights) or "",
    }
    chosen = build_config(lasting, base=chosen)
    folder = RunFolder(run_folder or name_run_directory(chosen.recipe))
    if dry_run:
        return _show_plan(output, chosen, folder, data)
    _check_folder(folder, force=force)
    from fercli.training import check_training

    dataset = _load(output, data)
    # Whatever can be refused is refused before an older run is removed.
    _check_teacher_outside(chosen, folder)
    check_training(dataset, chosen)
    if force:
        clear_run(folder)
    return _train(output, dataset, chosen, folder, _make_lasting(data))


def _find_misfits(data: str | None, settings: list[str], options: dict[str, Any]) -> list[str]:
    """Return how a batch size that was typed does not fit the data.

    Only data that is at hand is looked at, prepared or drawn, and without torch: a typing error
    must not cost the reading of an archive.
    """
    from fercli.data import load_data, parse_synthetic
    from fercli.paths import find_default_dataset

    path = Path(data) if data is not None else find_default_dataset()
    batch_size = options.get("batch_size")
    for text in settings:
        with contextlib.suppress(ConfigError):
            key, value = parse_setting(text)
            batch_size = value if key == "batch_size" and batch_size is None else batch_size
    try:
        at_hand = path.suffix == ".safetensors" or parse_synthetic(data or "") is not None
        if not batch_size or not at_hand:
            return []
        n_images = len(load_data(data).select("train").labels)
    except FercliError:
        return []
    return find_batch_misfit(batch_size, n_images)


def _check_teacher_outside(config: TrainConfig, folder: RunFolder) -> None:
    """Refuse a teacher that `--force` would remove."""
    teacher = config.distillation.teacher
    if teacher and Path(teacher).is_relative_to(folder.path.resolve()):
        message = f"the teacher {teacher} lies in the run folder that would be replaced"
        raise ConfigError(message, hint="name another --output")


def _make_teacher_lasting(teacher: str) -> str:
    """Return a teacher as it will still be right from another folder; bundled names stay."""
    from fercli.models import list_bundled

    return teacher if teacher in {"", *list_bundled()} else str(Path(teacher).resolve())


def _make_lasting(data: str | None) -> str | None:
    """Return the name of a source as it will still be right from another folder."""
    return str(Path(data).resolve()) if data and Path(data).exists() else data


def _check_folder(folder: RunFolder, *, force: bool) -> None:
    if folder.path.is_file():
        message = f"{folder.path} is a file, and a run is a folder"
        raise OutputExistsError(message, hint="name another --output")
    if folder.path.exists() and not force and any(folder.path.iterdir()):
        message = f"{folder.path} is already there"
        hint = f"go on with it (fer train --resume {folder.path}), name another, or give --force"
        raise OutputExistsError(message, hint=hint)


def clear_run(folder: RunFolder) -> None:
    """Remove the files of an older run and of its members, and only those."""
    # Members whose record is gone already, by a kill in here, are cleared all the same.
    for member in folder.members.glob("[0-9]*"):
        clear_run(RunFolder(member))
    for name in ("record", "metrics", "curves", "log", "model", "onnx", "scores", "targets"):
        getattr(folder, name).unlink(missing_ok=True)
    for checkpoint in folder.checkpoints.glob("step-*.safetensors"):
        checkpoint.unlink()


def _load(output: Output, data: str | None) -> Dataset:
    from fercli.data import find_warnings, load_data

    with watch_images(output, "reading the dataset") as on_progress:
        dataset = load_data(data, on_progress)
    for warning in find_warnings(dataset) if dataset.is_synthetic else []:
        output.warn(warning)
    return dataset


def _resume(
    output: Output, path: Path, *, data: str | None, asked: dict[str, Any], refused: list[str]
) -> Outcome:
    """Go on with a run; `asked` are fields typed again, `refused` options that never fit."""
    record = read_run_record(path)
    folder = RunFolder(path)
    config = build_config(record["config"])
    own = flatten_config(config)
    if asked.get("teacher"):
        asked["teacher"] = _make_teacher_lasting(str(asked["teacher"]))
    # Saying again what the run was begun with changes nothing.
    refused += [name for name, value in asked.items() if value not in {own[name], "auto"}]
    if refused:
        message = f"{', '.join(refused)} would change the result of the run being resumed"
        raise ConfigError(message, hint="leave it out, or train anew with another --output")
    if is_finished(folder):
        output.note(f"{path} is finished already")
        result = TrainResult(**record["result"])
        return Outcome(to_json(result), _build_show(result))
    dataset = _load(output, data if data is not None else record["dataset"]["data"])
    if dataset.sha256 != record["dataset"]["sha256"]:
        message = f"the run {path} was trained on other data (sha256 {record['dataset']['sha256']})"
        raise ModelFileError(message, hint="name the dataset it began with by --data")
    named = _make_lasting(data) if data is not None else record["dataset"]["data"]
    return _train(output, dataset, config, folder, named)


def _show_plan(output: Output, config: TrainConfig, folder: RunFolder, data: str | None) -> Outcome:
    """Say what would be run: the configuration, the device, the sizes."""
    from fercli.networks import build_network, count_parameters
    from fercli.training import check_training, resolve_config

    dataset = _load(output, data)
    config = resolve_config(config)
    n_steps = check_training(dataset, config)
    network = build_network(config.model, len(dataset.label_names))
    plan = {
        "run_directory": str(folder.path),
        "parameters": count_parameters(network),
        "steps_per_epoch": n_steps,
        "config": flatten_config(config),
    }

    def show(console: Console) -> None:
        pairs = {key: value for key, value in plan.items() if key != "config"}
        print_pairs(console, {**pairs, **flatten_config(config)})

    return Outcome(plan, show)


def _train(
    output: Output, dataset: Dataset, config: TrainConfig, folder: RunFolder, data: str | None
) -> Outcome:
    from fercli.training import Watcher, catch_signals, train

    with (
        watch_training(output, config.epochs) as (on_step, on_epoch),
        catch_signals() as should_stop,
    ):
        watcher = Watcher(
            on_step=on_step, on_epoch=on_epoch, on_note=output.note, should_stop=should_stop
        )
        result = train(dataset, config, folder, data=data, watcher=watcher)
    return Outcome(to_json(result), _build_show(result))


def _build_show(result: TrainResult) -> Any:  # noqa: ANN401  # a closure over a lazy type
    def show(console: Console) -> None:
        pairs = {
            "network": f"{result.network}, {result.parameters:,} parameters",
            "best epoch": f"{result.best_epoch} of {result.epochs}",
            "validation accuracy": f"{result.validation_accuracy:.2%} on "
            f"{result.validation_split}, which chose the epoch",
            "training": f"{result.duration_s:.1f} s on {result.device} in {result.precision}, "
            f"{result.images_per_s:,.0f} images/s",
            "model": result.model,
            "ONNX": result.onnx or "not written",
            "run": result.run_directory,
        }
        print_pairs(console, pairs)

    return show
