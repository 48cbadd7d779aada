"""Trainings from Python: begin one, go on with one, look at what came of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli.data import Dataset, load_data
from fercli.dependencies import check_installed, import_pandas
from fercli.errors import DatasetNotFoundError
from fercli.model import Model, load, to_dataset
from fercli.model_files import resolve_model_name
from fercli.recipes import write_command
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
from fercli.signals import catch_signals, name_signal
from fercli.transfer import build_train_config

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.figure import Figure
    from pandas import DataFrame

    from fercli.metadata import RunRecord
    from fercli.results import EpochReport, TrainResult
    from fercli.training import Callbacks, StepReport

    Source = Dataset | str | PathLike[str] | None
    Progress = Callable[[EpochReport], object]

__all__ = ["Run", "load_dataset", "resume", "train"]

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
            state = f"{result.validation_accuracy:.2%} on {result.validation_split}"
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
        """Whether it came to its end and still has its model."""
        return is_finished(RunFolder(self.path))

    @property
    def result(self) -> TrainResult | None:
        """What was reached; None for a run that is not finished."""
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
        return plot_curves(history, best.epoch, str(self.path))


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

    if "teacher" in settings:
        settings["teacher"] = _name_teachers(settings["teacher"])
    if settings.get("init"):
        settings["init"] = _name_model(settings["init"])
    config = build_train_config(settings, recipe)
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

    _watch(work, on_progress, on_step)
    return Run(folder.path)


def resume(
    run: str | PathLike[str],
    data: Source = None,
    *,
    on_progress: Progress | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> Run:
    """Go on with a run exactly where it stopped, and return it; a finished one stays as it is.

    Args:
        run: The run, or its folder.
        data: The dataset it was begun with; None reads it again from where `run.json` says.
        on_progress: As `train`.
        on_step: As `train`.

    Raises:
        ModelFileError: There is no run, or it was begun with other data.
        DatasetNotFoundError: The data is not where it was, or the run does not say where.
        OutputBusyError: Another training writes into the folder.
        FercliError: As `train`.
    """
    check_installed("torch")
    from fercli.training import resume as resume_run

    folder = RunFolder(Path(run))
    record = read_run_record(folder.path)
    if is_finished(folder):
        return Run(folder.path)
    named = record.dataset.data
    if data is None and named is None:
        message = f"the run {folder.path} does not say where its data lies"
        raise DatasetNotFoundError(message, hint="give the dataset it was begun with: data=")
    dataset = to_dataset(data) if data is not None else load_data(named)

    def work(callbacks: Callbacks) -> None:
        name = named if data is None else _name_data(data, dataset)
        resume_run(dataset, folder, data=name, callbacks=callbacks)

    _watch(work, on_progress, on_step)
    return Run(folder.path)


def _watch(
    work: Callable[[Callbacks], None],
    on_progress: Progress | None,
    on_step: Callable[[StepReport], None] | None,
) -> None:
    """Train with signals caught and sentences logged."""
    from fercli.training import Callbacks

    def on_epoch(report: EpochReport) -> None:
        if on_progress is not None:
            on_progress(report)

    with catch_signals() as should_stop:
        work(
            Callbacks(
                on_step=on_step or (lambda _report: None),
                on_epoch=on_epoch,
                on_note=_LOG.info,
                should_stop=should_stop,
            )
        )
    if signal_number := should_stop():
        _LOG.info("%s came when all was trained; the run is whole", name_signal(signal_number))


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
