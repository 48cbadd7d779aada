"""A whole training: the run folder, the epochs, the model it leaves.

The library's `fer train`. It prints nothing; a `Watcher` is told what happens.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from fercli.errors import ConfigError, FercliError, ModelFileError, RunInterruptedError
from fercli.launch import read_launch
from fercli.locks import lock_folder
from fercli.networks.devices import name_device
from fercli.results import TrainResult
from fercli.runs import RunFolder, is_finished, read_run_record
from fercli.settings import build_config
from fercli.storage import check_apart
from fercli.training.checkpoint import find_checkpoints, restore_newest, save_checkpoint
from fercli.training.failures import explain_failures
from fercli.training.finish import finish_run
from fercli.training.group import join_group
from fercli.training.hooks import TrainHooks
from fercli.training.job import Job, build_record
from fercli.training.journal import Journal, Watcher
from fercli.training.loop import run_epochs
from fercli.training.members import train_members
from fercli.training.preflight import check_fit, resolve_config
from fercli.training.splits import choose_splits
from fercli.training.start import put_on_device, start
from fercli.training.targets import find_targets
from fercli.training.teacher import list_config_files, open_named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.results import EpochReport
    from fercli.training.group import Group
    from fercli.training.state import TrainingState

__all__ = ["resume", "train"]


def train(
    dataset: Dataset,
    config: TrainConfig,
    run: RunFolder,
    *,
    data: str | None = None,
    watcher: Watcher | None = None,
    overwrite: bool = False,
) -> TrainResult:
    """Train a network anew.

    Args:
        dataset: What to learn from; the private split is never opened.
        config: The whole configuration.
        run: Where everything goes; made when missing, and held against other writers meanwhile.
        data: How `dataset` was named, noted for a later resume.
        watcher: Told what happens.
        overwrite: Replace the run that the folder holds.

    Returns:
        What was reached; the same stands in `run.json`.

    Raises:
        RunExistsError: The folder holds something, and `overwrite` is not set.
        OutputBusyError: Another training writes into the folder.
        ConfigError: The configuration does not fit the data, or a file of the run is one that it
            learns from.
        DatasetNotFoundError: The dataset has no train split, or not the validation split.
        DeviceUnavailableError: The device is not there.
        ModelFileError: The teacher is missing, damaged or of other labels.
        RunFailedError: The loss became NaN, memory or the disk ran out; states why and where
            the last good state is.
        PeerLostError: Another process of the same training went away.
        RunInterruptedError: `watcher.should_stop` said so; the state is saved.
    """

    def prepare() -> None:
        run.check_new(overwrite=overwrite)
        if overwrite:
            own = [dataset.path] if dataset.path else []
            check_apart(run.list_files(), [*list_config_files(config), *own])
            run.clear()

    return _train(dataset, config, run, prepare, data=data, watcher=watcher)


def resume(
    dataset: Dataset,
    run: RunFolder,
    *,
    data: str | None = None,
    watcher: Watcher | None = None,
) -> TrainResult:
    """Go on with a run from its newest valid checkpoint, else from its configuration.

    Interrupted at any moment and gone on with, it ends with the same weights on the same machine.
    A finished run is left as it is.

    Args:
        dataset: What the run was begun with.
        run: Its folder, held against other writers meanwhile.
        data: How `dataset` was named, noted for a later resume.
        watcher: Told what happens.

    Returns:
        What was reached; of a finished run, what stands in its `run.json`.

    Raises:
        ModelFileError: There is no run, it was begun with other data, or its teacher has changed.
        ConfigError: It was begun in another number of processes.
        OutputBusyError: Another training writes into the folder.
        FercliError: As `train`.
    """
    record = read_run_record(run.path)
    if is_finished(run):
        return TrainResult(**record["result"])
    if dataset.sha256 != record["dataset"]["sha256"]:
        message = (
            f"the run {run.path} was trained on other data (sha256 {record['dataset']['sha256']})"
        )
        raise ModelFileError(message, hint="name the dataset it began with by --data")
    processes, (_, n_launched) = int(record.get("processes", 1)), read_launch()
    if processes != n_launched:
        message = f"{run.path} was begun in {processes} processes, and here are {n_launched}"
        raise ConfigError(message, hint="another number would change the result")
    config = build_config(record["config"])
    return _train(dataset, config, run, lambda: None, data=data, watcher=watcher)


def _train(
    dataset: Dataset,
    config: TrainConfig,
    run: RunFolder,
    prepare: Callable[[], None],
    *,
    data: str | None,
    watcher: Watcher | None,
) -> TrainResult:
    """Hold the run folder and train; `prepare` looks at the folder while it is held."""
    config = resolve_config(config)
    splits = choose_splits(dataset, config)
    check_fit(config, splits)
    advice = f"go on from the last state: fer train --resume {run.path}"
    with (
        join_group(torch.device(config.device), advice) as group,
        _hold(run, group, prepare),
    ):
        journal = Journal(run, watcher or Watcher(), writes=group.leads)
        job = Job(
            dataset=dataset, config=config, splits=splits, run=run, journal=journal, data=data,
            group=group,
        )  # fmt: skip
        return _begin_or_go_on(job)


@contextmanager
def _hold(run: RunFolder, group: Group, prepare: Callable[[], None]) -> Iterator[None]:
    """Let the leading process hold the run folder; what it refuses, all refuse."""
    with ExitStack() as stack:
        refusal = None
        if group.leads:
            try:
                stack.enter_context(lock_folder(run.path))
                prepare()
            except FercliError as reason:
                refusal = reason
        refusal = group.share(refusal)
        if refusal is not None:
            raise refusal
        yield


def _begin_or_go_on(job: Job) -> TrainResult:
    """Train from the state that the run folder is in."""
    group, run, config = job.group, job.run, job.config
    resumed = group.share(run.record.exists())
    if not resumed:
        _begin(job)
    elif config.distillation.has_teacher:
        # A run cut before its first save begins only now: its members came first.
        resumed = group.share(bool(find_checkpoints(run.checkpoints)))
    folders = _train_members(job)
    with explain_failures(run, config):
        found = find_targets(job, folders) if group.leads else None
        targets, identities = group.share(found)
        return _train_one(job, targets, identities, resumed=resumed)


def _begin(job: Job) -> None:
    """Write the record; a teacher that cannot teach is refused before anything is written."""
    teachers = open_named(job.dataset, job.config)
    if not job.group.leads:
        return
    # What a killed `--force` left of an older run must not be gone on with.
    for path in (*find_checkpoints(job.run.checkpoints), job.run.targets):
        path.unlink(missing_ok=True)
    job.run.path.mkdir(parents=True, exist_ok=True)
    identities = [teacher.identity for teacher in teachers]
    job.run.write_record({**build_record(job), "teachers": identities})


def _train_one(
    job: Job,
    targets: NDArray[np.float32] | None,
    teachers: list[dict[str, Any]],
    *,
    resumed: bool,
) -> TrainResult:
    """Run the epochs that are missing; torch's generators are put back afterwards."""
    config, splits, journal = job.config, job.splits, job.journal
    device = job.group.place(torch.device(config.device))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        state = start(job, device, pretrained=not resumed)
        if resumed and not _restore(state, job.run, journal):
            state = start(job, device, pretrained=True)
        if not resumed:
            if job.dataset.find_split(splits.validation_name) is None:
                share = f"a stratified {splits.validation_name} of train"
                journal.note(
                    f"{share} ({len(splits.validation.labels):,} images) chooses the epoch"
                )
            journal.note(f"began: {config.recipe} on {name_device(device)}, {config.precision}")
        _run(state, job, targets)
        result = finish_run(state, job, teachers) if job.group.leads else None
        finished: TrainResult = job.group.share(result)
        return finished


def _train_members(job: Job) -> list[str]:
    """Train what is missing of the members, unless they were asked already."""
    if not job.config.distillation.members or job.group.share(job.run.targets.exists()):
        return []

    def train_one(member: TrainConfig, folder: RunFolder) -> None:
        journal = Journal(folder, job.journal.watcher, writes=job.group.leads)
        splits = choose_splits(job.dataset, member)
        check_fit(member, splits)
        _begin_or_go_on(
            dataclasses.replace(job, config=member, splits=splits, run=folder, journal=journal)
        )

    def is_done(folder: RunFolder) -> bool:
        done: bool = job.group.share(is_finished(folder))
        return done

    folders = train_members(job.config, job.run, job.journal.note, train_one, is_done)
    job.journal.note("the members are trained; now the network that learns from them")
    return folders


def _restore(state: TrainingState, run: RunFolder, journal: Journal) -> bool:
    """Take over the newest valid checkpoint; return whether there is one."""
    checkpoint = restore_newest(run.checkpoints, state, journal.note)
    if checkpoint is None:
        journal.note("there is no valid checkpoint: the run starts again from its configuration")
        return False
    progress = state.progress
    journal.note(f"resumed from {checkpoint.name}: {progress.epoch} epochs, {progress.step} steps")
    return True


def _run(state: TrainingState, job: Job, targets: NDArray[np.float32] | None) -> None:
    config, splits, run, journal = job.config, job.splits, job.run, job.journal

    cpu_before = state.progress.cpu_s - time.process_time()

    def save(state: TrainingState, total_steps: int) -> None:
        state.progress.cpu_s = cpu_before + time.process_time()
        save_checkpoint(run.checkpoints, state, total_steps)

    def on_epoch(report: EpochReport, state: TrainingState) -> None:
        journal.write_metrics(state.progress.history)
        journal.log(
            f"epoch {report.epoch}: train loss {report.train_loss:.4f}, validation accuracy "
            f"{report.validation_accuracy:.4f}, {report.images_per_s:.0f} images/s"
        )
        journal.watcher.on_epoch(report)

    hooks = TrainHooks(
        save=save,
        on_step=journal.watcher.on_step,
        on_epoch=on_epoch,
        should_stop=journal.watcher.should_stop,
    )
    temperature = config.distillation.teacher_temperature
    n_labels = len(job.dataset.label_names)
    train_images = put_on_device(splits.train, n_labels, state.device, targets, temperature)
    validation = put_on_device(splits.validation, n_labels, state.device)
    stopped_by = run_epochs(state, train_images, validation, config, hooks)
    if stopped_by:
        epoch = state.progress.epoch + 1
        message = f"interrupted in epoch {epoch} of {config.epochs}; the state is saved"
        journal.log(message)
        hint = f"go on with it: fer train --resume {run.path}"
        raise RunInterruptedError(message, signal_number=stopped_by, hint=hint)
