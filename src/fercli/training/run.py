"""A whole training: the run folder, the epochs, the model it leaves.

The library's `fer train`. It prints nothing; a `Watcher` is told what happens.
"""

from __future__ import annotations

import dataclasses
import platform
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

import fercli
from fercli.config import find_batch_misfit
from fercli.errors import ConfigError, RunInterruptedError
from fercli.launch import read_launch
from fercli.networks import build_network, initialize
from fercli.networks.devices import choose_device, choose_precision, name_device
from fercli.networks.pretrained import load_pretrained
from fercli.networks.runtime import to_pixels
from fercli.runs import RunFolder, is_finished, tell_time
from fercli.settings import flatten_config
from fercli.training.batches import count_steps
from fercli.training.checkpoint import find_checkpoints, restore_newest, save_checkpoint
from fercli.training.failures import explain_failures
from fercli.training.finish import finish_run
from fercli.training.group import join_group
from fercli.training.job import Job
from fercli.training.journal import Journal, Watcher
from fercli.training.loop import LabeledImages, TrainHooks, run_epochs
from fercli.training.loss import soften
from fercli.training.members import train_members
from fercli.training.memory import build_memory
from fercli.training.splits import TrainingSplits, choose_splits
from fercli.training.state import TrainingState, build_state
from fercli.training.targets import find_targets
from fercli.training.teacher import open_teacher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.data import Dataset, Subset
    from fercli.results import EpochReport, TrainResult

__all__ = ["Watcher", "check_training", "resolve_config", "train"]

_RANK_STRIDE: Final = 2**31
"""Keeps the seeds of a group's processes apart from each other and from other seeds."""
_N_FITTED: Final = 4096
"""Training images from which weights may be computed."""


def resolve_config(config: TrainConfig) -> TrainConfig:
    """Return a config whose device and precision are what will really be used.

    Raises:
        DeviceUnavailableError: The device is not there.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    return dataclasses.replace(config, device=str(device), precision=precision)


def check_training(dataset: Dataset, config: TrainConfig) -> int:
    """Check whatever can be checked before a run begins: the data, the device, the teacher.

    Returns:
        The steps of an epoch.

    Raises:
        ConfigError: The configuration does not fit the data.
        DatasetNotFoundError: The dataset has no train split, or not the validation split.
        DeviceUnavailableError: The device is not there.
        DependencyMissingError: torchvision is needed and cannot be imported.
        ModelFileError: The teacher is missing, damaged or of other labels, or the pretrained
            weights do not fit.
        SetupError: The pretrained weights cannot be downloaded.
    """
    config = resolve_config(config)
    splits = choose_splits(dataset, config.validation, config.split_seed)
    _check_fit(config, splits)
    open_teacher(dataset, config)
    if config.transfer.is_pretrained:
        load_pretrained(build_network(config.model, len(dataset.label_names)), config)
    return count_steps(len(splits.train.labels), config.batch_size)


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
        ConfigError: The configuration does not fit the data.
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
    splits = choose_splits(dataset, config.validation, config.split_seed)
    _check_fit(config, splits)
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
    teachers = open_teacher(job.dataset, job.config)
    if not job.group.leads:
        return
    # What a killed `--force` left of an older run must not be gone on with.
    for path in (*find_checkpoints(job.run.checkpoints), job.run.targets):
        path.unlink(missing_ok=True)
    job.run.path.mkdir(parents=True, exist_ok=True)
    identities = [teacher.identity for teacher in teachers]
    job.run.write_record({**_build_record(job), "teachers": identities})


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
        state = _start(job, device, pretrained=not resumed)
        if resumed and not _restore(state, job.run, journal):
            state = _start(job, device, pretrained=True)
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


def _check_fit(config: TrainConfig, splits: TrainingSplits) -> None:
    n_images = len(splits.train.labels)
    problems = find_batch_misfit(config.batch_size, n_images)
    _, n_processes = read_launch()
    if config.batch_size < n_processes:
        problems.append(f"batch_size {config.batch_size} is less than {n_processes} processes")
    if problems:
        raise ConfigError(*problems, hint=f"give --batch-size {max(2, n_images // 4)} or less")


def _build_record(job: Job) -> dict[str, Any]:
    config, dataset, splits = job.config, job.dataset, job.splits
    return {
        "config": flatten_config(config),
        "versions": {
            "fercli": fercli.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": name_device(torch.device(config.device)),
        "processes": job.group.size,
        "dataset": {
            "data": job.data,
            "source": dataset.source,
            "sha256": dataset.sha256,
            "labels": list(dataset.label_names),
            "n_train": len(splits.train.labels),
            "validation": splits.validation_name,
            "n_validation": len(splits.validation.labels),
        },
        "started_at": tell_time(),
        "finished_at": None,
        "result": None,
    }


def _start(job: Job, device: torch.device, *, pretrained: bool) -> TrainingState:
    """Return the state before the first step, every generator seeded.

    A state to be restored needs no pretrained weights, and those may be gone meanwhile.
    """
    config = job.config
    # Dropout draws from torch's own generators; they are put back when the training ends.
    # Each process of a group draws its own.
    seed = config.seed + job.group.rank * _RANK_STRIDE
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    pixels = job.splits.train.images
    mean, std = float(pixels.mean()) / 255, max(float(pixels.std()) / 255, 1e-3)
    network = build_network(config.model, len(job.dataset.label_names), mean=mean, std=std)
    sample = to_pixels(torch.from_numpy(np.ascontiguousarray(pixels[:_N_FITTED])))
    initialize(network, torch.Generator().manual_seed(config.seed), sample)
    if pretrained and config.transfer.is_pretrained:
        job.journal.note(f"began with {load_pretrained(network, config)}")
    state = build_state(network, config, device, job.group)
    memory = build_memory(len(pixels), len(job.dataset.label_names), config)
    state.memory = None if memory is None else memory.to(device)
    return state


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
    train_images = _put_on_device(splits.train, n_labels, state.device, targets, temperature)
    validation = _put_on_device(splits.validation, n_labels, state.device)
    stopped_by = run_epochs(state, train_images, validation, config, hooks)
    if stopped_by:
        epoch = state.progress.epoch + 1
        message = f"interrupted in epoch {epoch} of {config.epochs}; the state is saved"
        journal.log(message)
        hint = f"go on with it: fer train --resume {run.path}"
        raise RunInterruptedError(message, signal_number=stopped_by, hint=hint)


def _put_on_device(
    split: Subset,
    n_labels: int,
    device: torch.device,
    targets: NDArray[np.float32] | None = None,
    temperature: float = 1.0,
) -> LabeledImages:
    softened = None
    if targets is not None:
        softened = soften(torch.from_numpy(targets), temperature).to(device)
    return LabeledImages(
        n_labels=n_labels,
        targets=softened,
        images=torch.from_numpy(np.ascontiguousarray(split.images)).to(device),
        labels=torch.from_numpy(split.labels.astype(np.int64)).to(device),
    )
