"""What `fer train` does: begin a run or go on with one, alone or in several processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from fercli.cli._display import (
    describe_dataset,
    print_pairs,
    say_value,
    watch_images,
    watch_training,
)
from fercli.cli._exit import find_status
from fercli.cli._output import Outcome, Output
from fercli.config import RepeatConfig, TrainConfig
from fercli.config_files import merge_config, read_data
from fercli.errors import ConfigError, PeerLostError
from fercli.launch import check_processes, has_speaker, launch, read_launch
from fercli.names import name_split
from fercli.results import TrainResult, to_json
from fercli.runs import RunFolder, is_finished, name_run_directory, read_run_record
from fercli.settings import build_config, flatten_config, parse_setting
from fercli.signals import catch_signals, name_signal
from fercli.storage import check_apart

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from fercli.data import Dataset
    from fercli.training import Callbacks

__all__ = [
    "TrainRequest",
    "choose_config",
    "choose_data",
    "extend_run",
    "find_changes",
    "is_to_be_longer",
    "launch_processes",
    "list_inputs",
    "load_dataset",
    "resolve_path",
    "resume_run",
    "show_plan",
    "start_run",
    "watch",
]

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What was typed of a training."""

    data: str | None
    """`--data`."""
    recipe: str | None
    """`--recipe`."""
    config: Path | None
    """`--config`."""
    settings: list[str]
    """Every `--set`."""
    options: dict[str, Any]
    """The options that stand for a field of the configuration."""
    folder: Path | None
    """`--output`."""
    processes: int | None
    """`--processes`."""
    force: bool
    """`--force`."""
    goes_on: bool
    """`--resume` of the folder of `--output`: begin, or go on with the same training."""
    plan: RepeatConfig
    """`--seeds` and `--folds`."""
    log: str | None
    """`--log`."""
    table: Path | None
    """`--table`."""


def find_changes(request: TrainRequest, own: dict[str, Any], processes: int) -> list[str]:
    """Return the names of what would change a run that is gone on with."""
    from fercli.model_files import resolve_model_name

    never = {"recipe": request.recipe, "config": request.config, "output": request.folder}
    fields = {**dict(map(parse_setting, request.settings)), **request.options}
    if fields.get("init"):
        fields["init"] = resolve_model_name(fields["init"])
    if fields.get("teacher"):
        fields["teacher"] = tuple(map(resolve_model_name, fields["teacher"]))
    if fields.get("pretrained_weights"):
        fields["pretrained_weights"] = resolve_path(str(fields["pretrained_weights"]))
    refused = [name for name, value in never.items() if value is not None]
    # Saying again what the run was begun with changes nothing.
    refused += [name for name, value in fields.items() if value not in {own[name], "auto"}]
    return refused + (["processes"] if request.processes not in {None, processes} else [])


def choose_config(request: TrainRequest) -> TrainConfig:
    """Return the configuration that was asked for, its files named for good."""
    from fercli.model_files import resolve_model_name

    chosen = merge_config(request.config, request.recipe, request.settings, request.options)
    init = chosen.transfer.init
    lasting = {
        "init": resolve_model_name(init) if init else "",
        "teacher": tuple(map(resolve_model_name, chosen.distillation.teacher)),
        "pretrained_weights": resolve_path(chosen.transfer.pretrained_weights) or "",
    }
    return build_config(lasting, base=chosen)


def choose_data(request: TrainRequest) -> tuple[str | None, str | None]:
    """Return the data to train on, and the digest that it had for a run that is repeated.

    A `run.json` that is given as the configuration names the data, too; `--data` goes before it.
    """
    if request.data is not None or request.config is None:
        return request.data, None
    return read_data(request.config)


def resolve_path(data: str | None) -> str | None:
    """Return the name of a source as it will still be right from another folder."""
    return str(Path(data).resolve()) if data and Path(data).exists() else data


def start_run(output: Output, request: TrainRequest, *, dry_run: bool) -> Outcome:
    """Train anew, or say what would be trained; whatever can be refused is refused first."""
    chosen = choose_config(request)
    data, digest = choose_data(request)
    folder = RunFolder(request.folder or name_run_directory(chosen.recipe))
    if dry_run:
        return show_plan(chosen, folder, load_dataset(output, data, digest))
    rank, n_launched = read_launch()
    if not rank and not request.goes_on:
        check_apart(folder.list_files(), list_inputs(request, chosen, data))
    if n_launched == 1 and not request.goes_on:
        # Of several processes none may end alone: the others would wait for it.
        folder.check_new(overwrite=request.force)
    from fercli.training import check_training

    launches = (request.processes or 1) > n_launched == 1
    dataset = load_dataset(output.silenced() if launches else output, data, digest)
    check_training(dataset, chosen)
    if launches and request.processes:
        raise typer.Exit(launch_processes(chosen, request.processes, folder.path))
    named = resolve_path(data)

    def begin(callbacks: Callbacks) -> TrainResult:
        from fercli.training import train

        return train(
            dataset, chosen, folder, data=named, callbacks=callbacks, overwrite=request.force,
            go_on=request.goes_on,
        )  # fmt: skip

    return _show_result(watch(output, chosen.epochs, request.log, begin))


def resume_run(output: Output, path: Path, request: TrainRequest) -> Outcome:
    """Go on with a run; what is asked again must be what it was begun with."""
    record = read_run_record(path)
    folder = RunFolder(path)
    config = build_config(record.config)
    processes, (_, n_launched) = record.processes, read_launch()
    refused = find_changes(request, flatten_config(config), processes)
    if refused:
        message = f"{', '.join(refused)} would change the result of the run being resumed"
        raise ConfigError(message, hint="leave it out, or train anew with another --output")
    if is_finished(folder) and record.result is not None:
        output.note(f"{path} is finished already")
        return _show_result(record.result)
    given = request.data if request.data is not None else record.dataset.data
    launches = processes > n_launched == 1
    dataset = load_dataset(output.silenced() if launches else output, given)
    if launches:
        from fercli.training import resolve_config

        config = resolve_config(config, resumed=folder.record)
        raise typer.Exit(launch_processes(config, processes, folder.path))
    named = resolve_path(request.data) if request.data is not None else given

    def go_on(callbacks: Callbacks) -> TrainResult:
        from fercli.training import resume

        return resume(dataset, folder, data=named, callbacks=callbacks)

    return _show_result(watch(output, config.epochs, request.log, go_on))


def is_to_be_longer(path: Path, request: TrainRequest) -> bool:
    """Return whether a finished run is asked to have more epochs, or fewer, than it has."""
    if "epochs" not in request.options or not is_finished(RunFolder(path)):
        return False
    return bool(request.options["epochs"] != build_config(read_run_record(path).config).epochs)


def extend_run(output: Output, path: Path, request: TrainRequest) -> Outcome:
    """Go on with a finished run for more epochs, in another folder."""
    record, epochs = read_run_record(path), request.options["epochs"]
    options = {name: value for name, value in request.options.items() if name != "epochs"}
    rest = replace(request, options=options, folder=None)
    refused = find_changes(rest, flatten_config(build_config(record.config)), record.processes)
    if refused:
        message = f"{', '.join(refused)} cannot be changed when a run gets more epochs"
        raise ConfigError(message, hint=f"leave it out, or train anew: fer train --init {path}")
    from fercli.training import plan_extension

    plan_extension(RunFolder(path), record, epochs)
    name = f"{path.resolve().name}-{epochs}-epochs"
    longer = RunFolder(request.folder or name_run_directory(name, path.parent))
    _, n_launched = read_launch()
    if n_launched == 1:
        longer.check_new(overwrite=request.force)
    launches = record.processes > n_launched == 1
    given = request.data if request.data is not None else record.dataset.data
    dataset = load_dataset(output.silenced() if launches else output, given)
    if launches:
        config = build_config(record.config)
        raise typer.Exit(launch_processes(config, record.processes, longer.path))
    output.note(f"{path} continues to {epochs} epochs in {longer.path}, on a schedule of that many")

    def go_on(callbacks: Callbacks) -> TrainResult:
        from fercli.training import extend

        return extend(
            dataset,
            RunFolder(path),
            longer,
            epochs,
            data=resolve_path(given),
            callbacks=callbacks,
            overwrite=request.force,
        )

    return _show_result(watch(output, epochs, request.log, go_on))


def launch_processes(config: TrainConfig, processes: int, folder: Path) -> int:
    """Let this command be run by several processes; return the status they end with."""
    from fercli.training import resolve_config

    check_processes(processes, resolve_config(config).device)
    return launch(sys.argv[1:], processes, folder)


def list_inputs(request: TrainRequest, config: TrainConfig, data: str | None) -> Iterator[Path]:
    """Yield the files that a training reads."""
    from fercli.data import list_source_files
    from fercli.training import list_config_files

    if request.config is not None:
        yield request.config
    yield from list_config_files(config)
    yield from list_source_files(data)


def load_dataset(output: Output, data: str | None, repeated: str | None = None) -> Dataset:
    """Return the dataset; `repeated` is the digest that it had for the run that is repeated."""
    from fercli.data import find_warnings, load_data

    with watch_images(output, "reading the dataset") as on_progress:
        dataset = load_data(data, on_progress, output.warn)
    for warning in find_warnings(dataset) if dataset.is_synthetic else []:
        output.warn(warning)
    if repeated not in {None, dataset.sha256}:
        output.warn(f"the run being repeated was trained on other data than {dataset.source}")
    return dataset


def show_plan(config: TrainConfig, folder: RunFolder, dataset: Dataset) -> Outcome:
    """Say what would be run: the configuration, the device, the sizes."""
    from fercli.networks import build_network, count_parameters
    from fercli.training import check_training, resolve_config

    config = resolve_config(config)
    n_steps = check_training(dataset, config)
    network = build_network(config.model, len(dataset.label_names))
    flat = flatten_config(config)
    n_parameters = count_parameters(network)
    plan = {
        "run_directory": str(folder.path),
        "parameters": n_parameters,
        "steps_per_epoch": n_steps,
        "config": flat,
    }

    def show(console: Console) -> None:
        pairs = {
            "run": str(folder.path),
            "dataset": describe_dataset({"source": dataset.source, "sha256": dataset.sha256}),
            "parameters": f"{n_parameters:,}",
            "steps": f"{n_steps:,} an epoch, {n_steps * config.epochs:,} in all",
        }
        print_pairs(console, {**pairs, **{name: say_value(one) for name, one in flat.items()}})

    return Outcome(plan, show)


def watch(
    output: Output, epochs: int, log: str | None, work: Callable[[Callbacks], _Result]
) -> _Result:
    """Train with progress on stderr and signals caught; return what `work` does."""
    from fercli.training import Callbacks, tune_malloc

    tune_malloc()

    with (
        watch_training(output, epochs) as (on_step, on_epoch),
        catch_signals(once=read_launch()[1] == 1) as should_stop,
    ):
        callbacks = Callbacks(
            on_step=on_step, on_epoch=on_epoch, on_note=output.note, should_stop=should_stop,
            tensorboard=log == "tensorboard",
        )  # fmt: skip
        try:
            result = work(callbacks)
        except PeerLostError as reason:
            if not has_speaker():
                raise
            raise typer.Exit(find_status(reason)) from None
    if signal_number := should_stop():
        output.note(f"{name_signal(signal_number)} came after the training; the run is complete")
    return result


def _show_result(result: TrainResult) -> Outcome:
    return Outcome(to_json(result), _build_show(result))


def _build_show(result: TrainResult) -> Any:  # noqa: ANN401  # a closure over a lazy type
    def show(console: Console) -> None:
        pairs = {
            "network": f"{result.network}, {result.parameters:,} parameters",
            "best epoch": f"{result.best_epoch} of {result.epochs}",
            "validation accuracy": f"{result.validation_accuracy:.2%} on "
            f"{name_split(result.validation_split)}, which chose the epoch",
            "training": f"{result.duration_s:.1f} s on {result.device} in {result.precision}, "
            f"{result.images_per_s:,.0f} images/s",
            "model": result.model,
            "ONNX": result.onnx or "not written",
            "run": result.run_directory,
        }
        print_pairs(console, pairs)

    return show
