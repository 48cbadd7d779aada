"""A whole training: the run folder, the epochs, the model it leaves.

The library's `fer train`. It prints nothing; a `Watcher` is told what happens.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from fercli.errors import RunInterruptedError
from fercli.networks.devices import name_device
from fercli.runs import RunFolder, is_finished
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
    from fercli.results import EpochReport, TrainResult
    from fercli.training.state import TrainingState

__all__ = ["train"]


def train(
    dataset: Dataset,
    config: TrainConfig,
    run: RunFolder,
    *,
    data: str | None = None,
    watcher: Watcher | None = None,
) -> TrainResult:
    """Train a network, or go on with a training.

    A folder with a `run.json` is gone on with: from its newest valid checkpoint, else from the
    start. Interrupted at any moment and gone on with, it ends with the same weights on the same
    machine.

    Args:
        dataset: What to learn from; the private split is never opened.
        config: The whole configuration.
        run: Where everything goes; made when missing.
        data: How `dataset` was named, noted for a later resume.
        watcher: Told what happens.

    Returns:
        What was reached; the same stands in `run.json`.

    Raises:
        ConfigError: The configuration does not fit the data, or a file of the run is one that it
            learns from.
        DatasetNotFoundError: The dataset has no train split, or not the validation split.
        DeviceUnavailableError: The device is not there.
        ModelFileError: The teacher is missing, damaged, of other labels, or not the one that the
            run began with.
        RunFailedError: The loss became NaN, memory or the disk ran out; states why and where
            the last good state is.
        PeerLostError: Another process of the same training went away.
        RunInterruptedError: `watcher.should_stop` said so; the state is saved.
    """
    config = resolve_config(config)
    splits = choose_splits(dataset, config)
    check_fit(config, splits)
    advice = f"go on from the last state: fer train --resume {run.path}"
    with join_group(torch.device(config.device), advice) as group:
        journal = Journal(run, watcher or Watcher(), writes=group.leads)
        job = Job(
            dataset=dataset, config=config, splits=splits, run=run, journal=journal, data=data,
            group=group,
        )  # fmt: skip
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
    own = [job.dataset.path] if job.dataset.path else []
    check_apart(job.run.list_files(), [*list_config_files(job.config), *own])
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
        train(job.dataset, member, folder, data=job.data, watcher=job.journal.watcher)

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
