"""Trainings from Python: begin one, go on with one, look at what came of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fercli.config import RepeatConfig
from fercli.data import Dataset, load_data
from fercli.dependencies import check_installed, import_pandas
from fercli.errors import ConfigError, DatasetNotFoundError
from fercli.model import Model, load
from fercli.model.arguments import to_dataset
from fercli.model_files import resolve_model_name
from fercli.names import name_split
from fercli.ranges import find_unknown_choice
from fercli.recipes import describe_difficulty, write_command
from fercli.results import to_json
from fercli.results.html import format_html
from fercli.runs import (
    RunFolder,
    is_finished,
    name_run_directory,
    read_history,
    read_run_record,
    read_scores,
)
from fercli.settings import build_config
from fercli.signals import catch_signals, name_signal
from fercli.transfer import build_train_config

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.figure import Figure
    from pandas import DataFrame

    from fercli.config import TrainConfig
    from fercli.metadata import RunRecord
    from fercli.results import EpochReport, RepeatsResult, TrainResult
    from fercli.training import Callbacks, StepReport

    Source = Dataset | str | PathLike[str] | None
    Progress = Callable[[EpochReport], object]

__all__ = ["Repeats", "Run", "load_dataset", "resume", "train", "train_repeats"]

_Result = TypeVar("_Result")
_LOG: Final = logging.getLogger(__name__)


class Run:
    """One training: a folder with its record, its metrics and its model.

    Args:
        path: The folder.

    Raises:
        ModelFileError: It is no run.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        read_run_record(self.path)

    def __fspath__(self) -> str:
        """Return the folder, so that a run stands wherever a path does."""
        return str(self.path)

    def __repr__(self) -> str:
        result = self.result
        state = "not finished"
        if result is not None:
            state = f"{result.validation_accuracy:.2%} on {name_split(result.validation_split)}"
        return f"<fercli run {self.path}: {state}>"

    def _repr_html_(self) -> str:
        pairs = {"state": "not finished"} if self.result is None else to_json(self.result)
        return format_html(f"fercli run {self.path}", pairs)

    def _read(self) -> RunRecord:
        return read_run_record(self.path)

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says: configuration, versions, device, data, result."""
        return self._read().to_json()

    @property
    def is_finished(self) -> bool:
        """Whether the run is finished and still has its model."""
        return is_finished(RunFolder(self.path))

    @property
    def result(self) -> TrainResult | None:
        """The result of the training; None for a run that is not finished."""
        return self._read().result

    @property
    def metrics(self) -> DataFrame:
        """A row per epoch, as `metrics.csv`.

        Raises:
            DependencyMissingError: pandas cannot be imported.
            ModelFileError: There is none yet, or it is damaged.
        """
        rows = [to_json(report) for report in read_history(RunFolder(self.path))]
        frame: DataFrame = import_pandas().DataFrame(rows)
        return frame

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """The last score of each split that it was evaluated on."""
        scores = read_scores(RunFolder(self.path))
        return {split: score.to_json() for split, score in scores.items()}

    @property
    def command(self) -> str:
        """The command that repeats it."""
        return write_command(self._read())

    @property
    def model(self) -> Model:
        """Its model, ready to use.

        Raises:
            ModelFileError: The run is not finished.
        """
        return load(self.path)

    def plot(self) -> Figure:
        """Return loss and accuracy over the epochs as a matplotlib figure.

        Raises:
            DependencyMissingError: matplotlib cannot be imported.
            ModelFileError: There are no metrics yet, or they are damaged.
        """
        from fercli.plots import plot_curves

        history = read_history(RunFolder(self.path))
        best = max(history, key=lambda report: report.validation_accuracy)
        config = build_config(read_run_record(self.path).config)
        return plot_curves(history, best.epoch, str(self.path), harder=describe_difficulty(config))


class Repeats:
    """The same training repeated: a folder of runs, and how much their scores vary.

    Args:
        path: The folder.
        result: What they came to.
    """

    def __init__(self, path: str | PathLike[str], result: RepeatsResult) -> None:
        self.path = Path(path)
        self.result = result

    def __repr__(self) -> str:
        result = self.result
        low, high = result.mean_ci95
        return (
            f"<fercli {len(result.runs)} {result.kind} in {self.path}: mean {result.score} "
            f"{result.mean:.2%}, 95 % interval {low:.2%} to {high:.2%}>"
        )

    @property
    def runs(self) -> list[Run]:
        """The runs, in order."""
        return [Run(one.run_directory) for one in self.result.runs]

    @property
    def table(self) -> DataFrame:
        """A row per run.

        Raises:
            DependencyMissingError: pandas cannot be imported.
        """
        rows = [to_json(one) for one in self.result.runs]
        frame: DataFrame = import_pandas().DataFrame(rows).set_index("name")
        return frame


def load_dataset(
    source: str | PathLike[str] | None = None,
    *,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Dataset:
    """Return a dataset in memory.

    >>> import fercli
    >>> fercli.load_dataset("synthetic:100").n_images
    100

    Args:
        source: A prepared file, FER2013 as a table, an image folder or an archive of either, or
            `synthetic[:N]`; None for the prepared default in the data home.
        on_progress: Called with images read so far, and how many there will be where that is known.

    Raises:
        DatasetNotFoundError: There is nothing at that path, or no default yet.
        DatasetLayoutError: It is damaged or not a layout that is read.
        ConfigError: The N of `synthetic:N` is not a number of images that can be made.
    """
    named = None if source is None else os.fspath(source)
    return load_data(named, on_progress, _LOG.info)


def train(  # noqa: PLR0913  # all but the first have defaults, and names
    data: Source = None,
    *,
    recipe: str = "standard",
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    go_on: bool = False,
    log: str | None = None,
    on_progress: Progress | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    **settings: Any,  # noqa: ANN401  # any field of the configuration
) -> Run:
    """Train a network and return its run.

    Ctrl-C saves the state; `resume` goes on with it.

    Args:
        data: A dataset, or the name of one as `load_dataset` takes it; the private split is never
            opened.
        recipe: The named configuration to start from.
        output: The run folder; None for `runs/<recipe>`, or the first free number behind it.
        overwrite: Replace the run that the folder holds.
        go_on: Go on with the run that `output` holds, where it is this same training.
        log: `tensorboard` logs curves for it, too, in the run folder; None does not.
        on_progress: Called with an `EpochReport` after every epoch.
        on_step: Called with a `StepReport` now and then within an epoch.
        settings: Any field of the configuration, as `epochs=5`; `teacher` and `init` take runs and
            models, too.

    Raises:
        RunExistsError: The folder holds something, and neither `overwrite` nor `go_on` is set.
        OutputBusyError: Another training writes into the folder.
        ConfigError: A setting is unknown or out of range (all are listed), or does not fit the
            data or the run to go on with.
        DatasetNotFoundError: There is no such dataset, or it lacks a split that is needed.
        DeviceUnavailableError: The device is not there.
        ModelFileError: A teacher is missing, damaged or of other labels, or `init` is nothing that
            can be fine-tuned.
        RunFailedError: The loss became NaN, memory or the disk ran out; the last state is named.
        RunInterruptedError: A signal came; the state is saved.
        DependencyMissingError: torch is not installed.
    """
    check_installed("torch")
    from fercli.training import train as train_run

    config = _build_config(settings, recipe)
    folder = RunFolder(Path(output) if output is not None else name_run_directory(recipe))
    if not go_on:
        folder.check_new(overwrite=overwrite)
    dataset = to_dataset(data)

    def work(callbacks: Callbacks) -> None:
        name = _name_data(data, dataset)
        train_run(
            dataset, config, folder, data=name, callbacks=callbacks, overwrite=overwrite,
            go_on=go_on,
        )  # fmt: skip

    _watch(work, log, on_progress, on_step)
    return Run(folder.path)


def train_repeats(  # noqa: PLR0913  # all but the first have defaults, and names
    data: Source = None,
    *,
    seeds: int = 0,
    folds: int = 0,
    recipe: str = "standard",
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    go_on: bool = False,
    log: str | None = None,
    on_progress: Progress | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    **settings: Any,  # noqa: ANN401  # any field of the configuration
) -> Repeats:
    """Train several times, with other seeds or as a cross-validation, and return the results.

    Args:
        data: As `train`.
        seeds: How often, each time with the next seed; the mean is of the validation accuracy,
            which chose the epochs.
        folds: How many folds of the train split; each run learns without one of them, and the mean
            is of the accuracy on those. One of `seeds` and `folds` is given.
        recipe: As `train`.
        output: The folder of the runs; None for `runs/<recipe>-seeds` or `-folds`.
        overwrite: Replace the trainings that it holds.
        go_on: Go on with them: finished runs are kept, one that was cut is resumed exactly.
        log: As `train`.
        on_progress: As `train`.
        on_step: As `train`.
        settings: As `train`; `teacher` and `init` with `seeds` only.

    Raises:
        ConfigError: As `train`, or neither or both of `seeds` and `folds` are given.
        DependencyMissingError: As `train`, or scipy (of folds scikit-learn, too) is not installed.
        FercliError: As `train`.
    """
    check_installed("torch", "scipy", *(["sklearn"] if folds else []))
    from fercli.training import train_repeats as repeat

    plan = RepeatConfig(seeds=seeds, folds=folds)
    if not plan.kind:
        message = "neither seeds nor folds are given"
        raise ConfigError(message, hint="seeds=5 or folds=5")
    config = _build_config(settings, recipe)
    folder = Path(output) if output is not None else name_run_directory(f"{recipe}-{plan.kind}")
    if not go_on:
        RunFolder(folder).check_new(overwrite=overwrite)
    dataset = to_dataset(data)

    def work(callbacks: Callbacks) -> RepeatsResult:
        name = _name_data(data, dataset)
        return repeat(
            dataset, config, plan, folder, data=name, callbacks=callbacks, overwrite=overwrite,
            go_on=go_on,
        )  # fmt: skip

    return Repeats(folder, _watch(work, log, on_progress, on_step))


def resume(  # noqa: PLR0913  # all but the first have defaults, and names
    run: str | PathLike[str],
    data: Source = None,
    *,
    epochs: int | None = None,
    output: str | PathLike[str] | None = None,
    log: str | None = None,
    on_progress: Progress | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> Run:
    """Continue a run exactly where it stopped, and return it; a finished one stays as it is.

    Args:
        run: The run, or its folder.
        data: The dataset it was begun with; None reads it again from where `run.json` says.
        epochs: More than a finished run has: a longer run begins with its state, by the schedule of
            all epochs, and is returned. None goes on as was planned.
        output: The folder of the longer run; None for a new one beside the finished.
        log: As `train`.
        on_progress: As `train`.
        on_step: As `train`.

    Raises:
        ModelFileError: There is no run, or it was begun with other data.
        DatasetNotFoundError: The data is not where it was, or the run does not say where.
        OutputBusyError: Another training writes into the folder.
        ConfigError: `epochs` are asked for of a run that is not finished or has as many, or
            `output` without them.
        FercliError: As `train`.
    """
    check_installed("torch")
    from fercli.training import extend
    from fercli.training import resume as resume_run

    folder = RunFolder(Path(run))
    record = read_run_record(folder.path)
    if output is not None and epochs is None:
        message = "output is the folder of a longer run, but epochs are not given"
        raise ConfigError(message, hint="give epochs, or leave output out")
    if is_finished(folder) and epochs is None:
        return Run(folder.path)
    named = record.dataset.data
    try:
        # A run that names none was begun with the prepared default; other data are refused below.
        dataset = to_dataset(data) if data is not None else load_data(named)
    except DatasetNotFoundError as reason:
        if data is not None or named is not None:
            raise
        message = f"the run {folder.path} does not say where its data is"
        hint = "give the dataset it was begun with: data="
        raise DatasetNotFoundError(message, hint=hint) from reason

    target = folder
    if epochs is not None:
        name = f"{folder.path.resolve().name}-{epochs}-epochs"
        longer = Path(output) if output else name_run_directory(name, folder.path.parent)
        target = RunFolder(longer)

    place = named if data is None else _name_data(data, dataset)

    def work(callbacks: Callbacks) -> None:
        if epochs is not None:
            extend(dataset, folder, target, epochs, data=place, callbacks=callbacks)
            return
        resume_run(dataset, folder, data=place, callbacks=callbacks)

    _watch(work, log, on_progress, on_step)
    return Run(target.path)


def _build_config(settings: dict[str, Any], recipe: str) -> TrainConfig:
    """Return the configuration of settings, in which runs and models may stand for their names."""
    if "teacher" in settings:
        settings["teacher"] = _name_teachers(settings["teacher"])
    if settings.get("init"):
        settings["init"] = _name_model(settings["init"])
    return build_train_config(settings, recipe)


def _watch(
    work: Callable[[Callbacks], _Result],
    log: str | None,
    on_progress: Progress | None,
    on_step: Callable[[StepReport], None] | None,
) -> _Result:
    """Train with signals caught and sentences logged; return what `work` does."""
    from fercli.training import Callbacks

    if log is not None and (problems := find_unknown_choice("log", log, ("tensorboard",))):
        raise ConfigError(*problems)

    def on_epoch(report: EpochReport) -> None:
        if on_progress is not None:
            on_progress(report)

    with catch_signals() as should_stop:
        result = work(
            Callbacks(
                on_step=on_step or (lambda _report: None),
                on_epoch=on_epoch,
                on_note=_LOG.info,
                should_stop=should_stop,
                tensorboard=log == "tensorboard",
            )
        )
    if signal_number := should_stop():
        _LOG.info("%s came after the training; the run is complete", name_signal(signal_number))
    return result


def _name_data(data: Source, dataset: Dataset) -> str | None:
    """Return how a run can find its data again, from any folder; None where it cannot."""
    if dataset.is_synthetic and dataset.path is None:
        return dataset.source
    if isinstance(data, Dataset):
        return None if data.path is None else str(data.path.resolve())
    return None if data is None else str(Path(data).resolve())


def _name_teachers(teachers: Any) -> tuple[str, ...]:  # noqa: ANN401  # one or many of several kinds
    """Return teachers as a configuration names them."""
    many = [teachers] if isinstance(teachers, str | os.PathLike | Model) else list(teachers)
    return tuple(map(_name_model, many))


def _name_model(model: str | PathLike[str] | Model) -> str:
    """Return a model as a configuration names it."""
    return resolve_model_name(model.name if isinstance(model, Model) else os.fspath(model))
