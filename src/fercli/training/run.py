"""A whole training: the run folder, the epochs, the model it leaves.

The library's `fer train`. It prints nothing; `Callbacks` are told what happens.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

import fercli
from fercli.errors import (
    ConfigError,
    ModelFileError,
    OutputBusyError,
    RunInterruptedError,
)
from fercli.launch import read_launch
from fercli.networks.devices import find_passed_over, full_fp32, name_device
from fercli.runs import RunFolder, is_finished, read_run_record
from fercli.settings import build_config, flatten_config
from fercli.storage import check_apart
from fercli.training.callbacks import Callbacks, RunLog
from fercli.training.checkpoint import find_checkpoints, restore_newest, save_checkpoint
from fercli.training.checks import check_fit, resolve_config
from fercli.training.context import TrainingContext, build_record
from fercli.training.distillation.consistent import open_consistent
from fercli.training.distillation.members import train_members
from fercli.training.distillation.targets import find_targets
from fercli.training.distillation.teacher import open_named
from fercli.training.distributed import join_group
from fercli.training.errors import explain_failures
from fercli.training.events import check_tensorboard
from fercli.training.extend import begin_extension, plan_extension
from fercli.training.finalize import finish_run
from fercli.training.holding import check_shared, clear_folder, hold_folder
from fercli.training.loop import run_epochs
from fercli.training.process import keep_generators
from fercli.training.setup import open_init, put_on_device, start
from fercli.training.splits import choose_splits

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.metadata import RunRecord, TeacherRecord
    from fercli.results import EpochReport, TrainResult
    from fercli.training.state import TrainingState

__all__ = ["extend", "resume", "train"]


def train(  # noqa: PLR0913  # by name
    dataset: Dataset,
    config: TrainConfig,
    run: RunFolder,
    *,
    data: str | None = None,
    callbacks: Callbacks | None = None,
    overwrite: bool = False,
    go_on: bool = False,
) -> TrainResult:
    """Train a network anew, or go on with the same training where the folder holds it.

    Args:
        dataset: What to learn from; the private split is never opened.
        config: The whole configuration.
        run: Where everything goes; made when missing, and held against other writers meanwhile.
        data: How `dataset` was named, noted for a later resume.
        callbacks: Told what happens.
        overwrite: Replace the run that the folder holds.
        go_on: Go on with the run that the folder holds, exactly; a finished one stays as it is.

    Returns:
        What was reached; the same stands in `run.json`.

    Raises:
        RunExistsError: The folder holds something, and neither `overwrite` nor `go_on` is set, or
            there is no run to go on with.
        OutputBusyError: Another training writes into the folder.
        ConfigError: The configuration does not fit the data, a file of the run is one that it
            learns from, the run in the folder is another training, or the processes of a group were
            given different configurations or do not see the same folder.
        DatasetNotFoundError: The dataset has no train split, or not the validation split.
        DeviceUnavailableError: The device is not there.
        ModelFileError: The teacher, or the model to begin with, is missing, damaged or does not
            fit.
        RunFailedError: The loss became NaN, memory or the disk ran out; states why and where
            the last good state is.
        PeerLostError: Another process of the same training went away.
        RunInterruptedError: `callbacks.should_stop` said so; the state is saved.
    """

    def prepare() -> TrainResult | None:
        if go_on and run.record.exists():
            return _find_result(run, dataset, resolve_config(config))
        run.check_new(overwrite=overwrite)
        if overwrite:
            clear_folder(run, dataset, config)
        return None

    return _train(dataset, config, run, prepare, data=data, callbacks=callbacks)


def resume(
    dataset: Dataset,
    run: RunFolder,
    *,
    data: str | None = None,
    callbacks: Callbacks | None = None,
) -> TrainResult:
    """Go on with a run from its newest valid checkpoint, else from its configuration.

    Interrupted at any moment and gone on with, it ends with the same weights on the same machine.
    A finished run is left as it is.

    Args:
        dataset: What the run was begun with.
        run: Its folder, held against other writers meanwhile.
        data: How `dataset` was named, noted for a later resume.
        callbacks: Told what happens.

    Returns:
        What was reached; of a finished run, what stands in its `run.json`.

    Raises:
        ModelFileError: There is no run, it was begun with other data, or its teacher has
            changed, or what it is to begin with.
        ConfigError: It was begun in another number of processes.
        DeviceUnavailableError: The device that it was begun on is not there.
        OutputBusyError: Another training writes into the folder, or has since this one looked.
        FercliError: As `train`.
    """
    record = read_run_record(run.path)
    if is_finished(run) and record.result is not None:
        return record.result
    _check_data(run, record, dataset)
    _check_processes(run, record)

    def prepare() -> TrainResult | None:
        # The folder was free to others until now: who replaced the run trained another one.
        if read_run_record(run.path) != record:
            message = f"{run.path} was written by another process meanwhile"
            raise OutputBusyError(message, hint="look at it with fer info, then resume it again")
        return None

    config = resolve_config(build_config(record.config), resumed=run.record)
    return _train(dataset, config, run, prepare, data=data, callbacks=callbacks)


def extend(  # noqa: PLR0913  # by name
    dataset: Dataset,
    run: RunFolder,
    longer: RunFolder,
    epochs: int,
    *,
    data: str | None = None,
    callbacks: Callbacks | None = None,
    overwrite: bool = False,
) -> TrainResult:
    """Go on with a finished run for more epochs, in a folder of its own.

    The schedule is that of all epochs, which the first ones did not follow: see
    `fercli.training.extend`. The finished run stays as it is.

    Args:
        dataset: What the run was trained on.
        run: The finished run.
        longer: Where the longer one goes.
        epochs: In all, those of the finished run counted.
        data: How `dataset` is named now, noted for a later resume; None for as it was.
        callbacks: Told what happens.
        overwrite: Replace the run that `longer` holds.

    Raises:
        ConfigError: The run is not finished, has as many epochs, or was trained in another number
            of processes.
        ModelFileError: It was trained on other data, or the state that it ended with is gone.
        RunExistsError: `longer` holds something, and `overwrite` is not set.
        FercliError: As `train`.
    """
    record = read_run_record(run.path)
    config = resolve_config(plan_extension(run, record, epochs), resumed=run.record)
    _check_data(run, record, dataset)
    _check_processes(run, record)
    named = data or record.dataset.data
    moved = record.replace(dataset=record.dataset.replace(data=named))

    def prepare() -> None:
        longer.check_new(overwrite=overwrite)
        if overwrite:
            check_apart(longer.list_files(), run.list_files())
            longer.clear()
        begin_extension(run, moved, longer, epochs)

    return _train(dataset, config, longer, prepare, data=named, callbacks=callbacks)


def _check_data(run: RunFolder, record: RunRecord, dataset: Dataset) -> None:
    """Refuse to go on with other data than a run was begun with."""
    if dataset.sha256 != record.dataset.sha256:
        message = f"the run {run.path} was trained on other data (sha256 {record.dataset.sha256})"
        raise ModelFileError(message, hint="give the dataset that it was started with: --data")


def _check_processes(run: RunFolder, record: RunRecord) -> None:
    """Refuse to go on in another number of processes than a run was begun in."""
    processes, (_, n_launched) = record.processes, read_launch()
    if processes != n_launched:
        message = f"{run.path} was started with {processes} processes, not {n_launched}"
        raise ConfigError(message, hint="another number would change the result")


def _find_result(run: RunFolder, dataset: Dataset, config: TrainConfig) -> TrainResult | None:
    """Return what a run reached, None where it is to be gone on with; refuse another training."""
    record = read_run_record(run.path)
    begun, asked = flatten_config(build_config(record.config)), flatten_config(config)
    problems = [
        f"{name} is {asked[name]} now, but {run.path} was started with {begun[name]}"
        for name in asked
        if asked[name] != begun[name]
    ]
    if dataset.sha256 != record.dataset.sha256:
        problems.append(f"{run.path} was begun with other data")
    if problems:
        raise ConfigError(*problems, hint="name another --output, or ask for the same")
    if is_finished(run) and record.result is not None:
        return record.result
    _check_processes(run, record)
    return None


def _train(
    dataset: Dataset,
    config: TrainConfig,
    run: RunFolder,
    prepare: Callable[[], TrainResult | None],
    *,
    data: str | None,
    callbacks: Callbacks | None,
) -> TrainResult:
    """Hold the run folder and train; `prepare` looks at the folder while it is held.

    What `prepare` returns is the result of a training that is finished already.
    """
    callbacks = callbacks or Callbacks()
    if callbacks.tensorboard:
        check_tensorboard()
    passed_over = find_passed_over(config.device)
    config = resolve_config(config)
    if passed_over:
        callbacks.on_note(f"{passed_over}; training on {config.device} instead")
    splits = choose_splits(dataset, config)
    check_fit(config, splits)
    advice = f"go on from the last state: fer train --resume {run.path}"
    terms = {**flatten_config(config), "data": dataset.sha256, "fercli": fercli.__version__}
    with (
        join_group(torch.device(config.device), advice, terms) as group,
        hold_folder(run.path, group, prepare) as finished,
    ):
        if finished is not None:
            callbacks.on_note(f"{run.path} is finished already")
            return finished
        # One name for all: without --output each process looked for a free one by itself.
        run = RunFolder(group.broadcast(run.path))
        check_shared(run.path, group)
        run_log = RunLog(run, callbacks, writes=group.is_main)
        context = TrainingContext(
            dataset=dataset, config=config, splits=splits, run=run, run_log=run_log, data=data,
            group=group,
        )  # fmt: skip
        return _begin_or_go_on(context)


def _begin_or_go_on(context: TrainingContext) -> TrainResult:
    """Train from the state that the run folder is in."""
    group, run, config = context.group, context.run, context.config
    if group.is_main:
        run.remove_drafts()
    resumed = group.broadcast(run.record.exists())
    if not resumed:
        _begin(context)
    elif config.distillation.has_teacher:
        # A run cut before its first save begins only now: its members came first.
        resumed = group.broadcast(bool(find_checkpoints(run.checkpoints)))
    folders = _train_members(context)
    with explain_failures(run, config):
        found = find_targets(context, folders) if group.is_main else None
        targets, identities = group.broadcast(found)
        return _train_one(context, targets, identities, folders, resumed=resumed)


def _begin(context: TrainingContext) -> None:
    """Write the record; models that cannot be learned from are refused before that."""
    run = context.run
    teachers = open_named(context.dataset, context.config)
    init = open_init(context.dataset, context.config)
    if not context.group.is_main:
        return
    # What a killed `--force` left of an older run must not be gone on with.
    for path in (*find_checkpoints(run.checkpoints), run.targets, run.train_digests):
        path.unlink(missing_ok=True)
    run.path.mkdir(parents=True, exist_ok=True)
    if init is not None:
        init.save_train_digests(run.train_digests, context.dataset.sha256)
    identities = [teacher.identity for teacher in teachers]
    run.write_record(build_record(context, identities, None if init is None else init.record))


def _train_one(
    context: TrainingContext,
    targets: NDArray[np.float32] | None,
    teachers: Sequence[TeacherRecord],
    members: list[str],
    *,
    resumed: bool,
) -> TrainResult:
    """Run the epochs that are missing; torch's generators are put back afterwards."""
    config, run_log = context.config, context.run_log
    device = context.group.local_device(torch.device(config.device))
    with keep_generators(device):
        # Only the epochs are held to fp32: torch's exporter refuses to look while it is forbidden.
        with full_fp32(device):
            # Opened first: building networks draws from the generators that a state seeds.
            teacher = open_consistent(context, members, device)
            state = start(context, device, transfer=not resumed)
            if resumed and not _restore(state, context.run, run_log):
                _check_can_begin(context)
                state = start(context, device, transfer=True)
            if not resumed:
                _note_beginning(context, device)
            _run(state, context, targets, None if teacher is None else teacher.predict)
        result = finish_run(state, context, teachers) if context.group.is_main else None
        finished: TrainResult = context.group.broadcast(result)
        return finished


def _note_beginning(context: TrainingContext, device: torch.device) -> None:
    """Say what a run begins with."""
    config, splits, run_log = context.config, context.splits, context.run_log
    if context.dataset.find_split(splits.validation_name) is None:
        share = f"a stratified {splits.validation_name} of train"
        run_log.note(f"{share} ({len(splits.validation.labels):,} images) chooses the epoch")
    run_log.note(f"began: {config.recipe} on {name_device(device)}, {config.precision}")


def _train_members(context: TrainingContext) -> list[str]:
    """Train what is missing of the members, unless they were asked already."""
    if not context.config.distillation.members or context.group.broadcast(
        context.run.targets.exists()
    ):
        return []

    def train_one(member: TrainConfig, folder: RunFolder) -> None:
        run_log = RunLog(folder, context.run_log.callbacks, writes=context.group.is_main)
        splits = choose_splits(context.dataset, member)
        check_fit(member, splits)
        _begin_or_go_on(
            dataclasses.replace(context, config=member, splits=splits, run=folder, run_log=run_log)
        )

    def is_done(folder: RunFolder) -> bool:
        done: bool = context.group.broadcast(is_finished(folder))
        return done

    folders = train_members(context.config, context.run, context.run_log.note, train_one, is_done)
    context.run_log.note("the members are trained; now the network that learns from them")
    return folders


def _check_can_begin(context: TrainingContext) -> None:
    """Refuse to begin anew what began with the state of another run."""
    run, group = context.run, context.group
    if group.broadcast(group.is_main and read_run_record(run.path).extends is not None):
        message = f"{run.path} has no valid checkpoint, and started from one of another run"
        raise ModelFileError(message, hint="create it again: fer train --resume RUN --epochs N")


def _restore(state: TrainingState, run: RunFolder, run_log: RunLog) -> bool:
    """Take over the newest valid checkpoint; return whether there is one."""
    checkpoint = restore_newest(run.checkpoints, state, run_log.note)
    if checkpoint is None:
        run_log.note("there is no valid checkpoint: the run starts again from its configuration")
        return False
    progress = state.progress
    done = f"epochs done {progress.epoch}, steps of the next {progress.step}"
    run_log.note(f"resumed from {checkpoint.name}: {done}")
    return True


def _run(
    state: TrainingState,
    context: TrainingContext,
    targets: NDArray[np.float32] | None,
    teach: Callable[[Tensor], Tensor] | None,
) -> None:
    config, splits, run, run_log = context.config, context.splits, context.run, context.run_log

    cpu_before = state.progress.cpu_s - time.process_time()

    def save(state: TrainingState, total_steps: int) -> None:
        state.progress.cpu_s = cpu_before + time.process_time()
        save_checkpoint(run.checkpoints, state, total_steps)

    def on_epoch(report: EpochReport) -> None:
        run_log.write_metrics(state.progress.history)
        run_log.log(
            f"epoch {report.epoch}: train loss {report.train_loss:.4f}, validation accuracy "
            f"{report.validation_accuracy:.4f}, {report.images_per_s:.0f} images/s"
        )
        run_log.callbacks.on_epoch(report)

    callbacks = dataclasses.replace(run_log.callbacks, on_epoch=on_epoch)
    temperature = config.distillation.teacher_temperature
    n_labels = len(context.dataset.label_names)
    train_images = put_on_device(splits.train, n_labels, state.device, targets, temperature)
    train_images = dataclasses.replace(train_images, teach=teach)
    validation = put_on_device(splits.validation, n_labels, state.device)
    try:
        stopped_by = run_epochs(state, train_images, validation, config, callbacks, save)
    finally:
        run_log.close()
    if stopped_by:
        epoch = state.progress.epoch + 1
        message = f"interrupted in epoch {epoch} of {config.epochs}; the state is saved"
        run_log.log(message)
        hint = f"go on with it: fer train --resume {run.path}"
        raise RunInterruptedError(message, signal_number=stopped_by, hint=hint)
