"""A whole training: the run folder, the epochs, the model it leaves.

The library's `fer train`. It prints nothing; a `Watcher` is told what happens.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

import fercli
from fercli.config import TrainConfig, flatten_config
from fercli.errors import (
    ConfigError,
    DependencyMissingError,
    FercliError,
    RunFailedError,
    RunInterruptedError,
    VerificationError,
)
from fercli.export import ParityImages, export_model
from fercli.metrics import draw_curves
from fercli.models import ModelFile, save_model
from fercli.networks import build_network, count_parameters, initialize
from fercli.networks.devices import choose_device, choose_precision, name_device
from fercli.results import EpochReport, TrainResult, to_json
from fercli.runs import RunFolder, read_run_record, tell_time
from fercli.storage import write_text
from fercli.training.batches import count_steps
from fercli.training.checkpoint import find_checkpoints, restore_newest, save_checkpoint
from fercli.training.loop import LabeledImages, StepReport, TrainHooks, run_epochs
from fercli.training.splits import TrainingSplits, choose_splits
from fercli.training.state import Progress, TrainingState, build_state

if TYPE_CHECKING:
    from fercli.data import Dataset, Subset

__all__ = ["Watcher", "count_training_steps", "resolve_config", "train"]

_N_PARITY: Final = 256


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """Who is told about a training, and may stop it."""

    on_step: Callable[[StepReport], None] = lambda _report: None
    """Called now and then within an epoch."""
    on_epoch: Callable[[EpochReport], None] = lambda _report: None
    """Called after every epoch."""
    on_note: Callable[[str], None] = lambda _text: None
    """Called with a sentence for the user."""
    should_stop: Callable[[], int] = lambda: 0
    """Asked after every step; a signal's number stops the run, its state saved."""


def resolve_config(config: TrainConfig) -> TrainConfig:
    """Return a config whose device and precision are what will really be used.

    Raises:
        DeviceUnavailableError: The device is not there.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    return dataclasses.replace(config, device=str(device), precision=precision)


def count_training_steps(dataset: Dataset, config: TrainConfig) -> int:
    """Return the steps of an epoch, the config checked against the data.

    Raises:
        ConfigError: The configuration does not fit the data.
        DatasetNotFoundError: The dataset has no train split, or not the validation split.
    """
    splits = choose_splits(dataset, config.validation, config.seed)
    _check_fit(config, splits)
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
        RunFailedError: The loss became NaN, memory or the disk ran out; states why and where
            the last good state is.
        RunInterruptedError: `watcher.should_stop` said so; the state is saved.
    """
    watcher = watcher or Watcher()
    config = resolve_config(config)
    splits = choose_splits(dataset, config.validation, config.seed)
    _check_fit(config, splits)
    resumed = run.record.exists()
    if not resumed:
        run.path.mkdir(parents=True, exist_ok=True)
        run.write_record(_build_record(dataset, config, splits, data))
    journal = _Journal(run, watcher)
    device = torch.device(config.device)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), _explain_failures(run, config):
        state = _start(dataset, config, splits, device)
        if resumed:
            _restore(state, run, journal)
        else:
            journal.note(f"began: {config.recipe} on {name_device(device)}, {config.precision}")
        _run(state, config, splits, run, journal)
        return _finish(state, dataset, config, splits, run, journal)


class _Journal:
    """Tells the watcher and writes `log.txt`."""

    def __init__(self, run: RunFolder, watcher: Watcher) -> None:
        self.watcher = watcher
        self._run = run

    def note(self, text: str) -> None:
        """Say and log a sentence."""
        self.log(text)
        self.watcher.on_note(text)

    def log(self, text: str) -> None:
        """Log a sentence."""
        with self._run.log.open("a", encoding="utf-8") as stream:
            stream.write(f"{tell_time()} {text}\n")


def _check_fit(config: TrainConfig, splits: TrainingSplits) -> None:
    n_images = len(splits.train.labels)
    if config.batch_size > n_images:
        message = f"batch_size {config.batch_size} is more than the {n_images} training images"
        raise ConfigError(message, hint=f"give --batch-size {max(2, n_images // 4)} or less")


def _build_record(
    dataset: Dataset, config: TrainConfig, splits: TrainingSplits, data: str | None
) -> dict[str, Any]:
    return {
        "config": flatten_config(config),
        "versions": {
            "fercli": fercli.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": name_device(torch.device(config.device)),
        "dataset": {
            "data": data,
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


def _start(
    dataset: Dataset, config: TrainConfig, splits: TrainingSplits, device: torch.device
) -> TrainingState:
    """Return the state before the first step, every generator seeded."""
    # Dropout draws from torch's own generators; they are put back when the training ends.
    torch.default_generator.manual_seed(config.seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(config.seed)
    pixels = splits.train.images
    mean, std = float(pixels.mean()) / 255, max(float(pixels.std()) / 255, 1e-3)
    network = build_network(config.model, len(dataset.label_names), mean=mean, std=std)
    initialize(network, torch.Generator().manual_seed(config.seed))
    return build_state(network, config, device)


def _restore(state: TrainingState, run: RunFolder, journal: _Journal) -> None:
    checkpoint = restore_newest(run.checkpoints, state, journal.note)
    if checkpoint is None:
        journal.note("there is no valid checkpoint: the run starts again from its configuration")
        return
    progress = state.progress
    journal.note(f"resumed from {checkpoint.name}: {progress.epoch} epochs, {progress.step} steps")


def _run(
    state: TrainingState,
    config: TrainConfig,
    splits: TrainingSplits,
    run: RunFolder,
    journal: _Journal,
) -> None:
    def save(state: TrainingState, total_steps: int) -> None:
        save_checkpoint(run.checkpoints, state, total_steps)

    def on_epoch(report: EpochReport, state: TrainingState) -> None:
        _write_metrics(run, state.progress.history)
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
    train_images, validation = (
        _put_on_device(split, state.device) for split in (splits.train, splits.validation)
    )
    stopped_by = run_epochs(state, train_images, validation, config, hooks)
    if stopped_by:
        epoch = state.progress.epoch + 1
        message = f"interrupted in epoch {epoch} of {config.epochs}; the state is saved"
        journal.log(message)
        hint = f"go on with it: fer train --resume {run.path}"
        raise RunInterruptedError(message, signal_number=stopped_by, hint=hint)


def _put_on_device(split: Subset, device: torch.device) -> LabeledImages:
    return LabeledImages(
        images=torch.from_numpy(np.ascontiguousarray(split.images)).to(device),
        labels=torch.from_numpy(split.labels.astype(np.int64)).to(device),
    )


def _finish(
    state: TrainingState,
    dataset: Dataset,
    config: TrainConfig,
    splits: TrainingSplits,
    run: RunFolder,
    journal: _Journal,
) -> TrainResult:
    """Write the best weights in both forms, the curves and the result."""
    progress = state.progress
    state.network.load_state_dict(state.best)
    network = state.network.cpu()
    save_model(run.model, network, config.model, _describe(progress, dataset, config, splits))
    warnings = _write_extras(run, config, splits, progress.history, progress.best_epoch)
    for warning in warnings:
        journal.note(warning)
    duration_s = sum(report.duration_s for report in progress.history)
    trained = sum(len(splits.train.labels) / report.images_per_s for report in progress.history)
    result = TrainResult(
        run_directory=str(run.path),
        model=str(run.model),
        network=config.model.network,
        parameters=count_parameters(network),
        epochs=len(progress.history),
        best_epoch=progress.best_epoch,
        validation_accuracy=progress.best_accuracy,
        validation_split=splits.validation_name,
        duration_s=duration_s,
        images_per_s=len(progress.history) * len(splits.train.labels) / trained,
        device=config.device,
        precision=config.precision,
        seed=config.seed,
        onnx=str(run.onnx) if run.onnx.exists() else None,
        warnings=warnings,
    )
    record = read_run_record(run.path)
    run.write_record({**record, "finished_at": tell_time(), "result": to_json(result)})
    journal.log(f"finished: best epoch {result.best_epoch}, {result.validation_accuracy:.4f}")
    return result


def _describe(
    progress: Progress,
    dataset: Dataset,
    config: TrainConfig,
    splits: TrainingSplits,
) -> dict[str, Any]:
    """Return what travels with the model."""
    return {
        "labels": list(dataset.label_names),
        "recipe": config.recipe,
        "seed": config.seed,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch,
        "dataset": {"source": dataset.source, "sha256": dataset.sha256},
        "validation": {
            "split": splits.validation_name,
            "n_images": len(splits.validation.labels),
            "accuracy": progress.best_accuracy,
        },
        "fercli": fercli.__version__,
        "torch": torch.__version__,
    }


def _write_extras(
    run: RunFolder,
    config: TrainConfig,
    splits: TrainingSplits,
    history: list[EpochReport],
    best_epoch: int,
) -> list[str]:
    """Write `model.onnx` and `curves.png`; what cannot be written becomes a warning."""
    warnings = []
    try:
        parity = ParityImages(splits.validation.images[:_N_PARITY], splits.validation_name)
        export_model(ModelFile(run.model, run.path, assumed=False), run.onnx, parity)
    except (DependencyMissingError, VerificationError) as reason:
        warnings.append(f"model.onnx was not written: {reason.message}")
    try:
        title = f"{config.recipe} ({config.model.network}), validation on {splits.validation_name}"
        draw_curves(run.curves, history, best_epoch, title)
    except DependencyMissingError as reason:
        warnings.append(f"curves.png was not written: {reason.message}")
    return warnings


def _write_metrics(run: RunFolder, history: list[EpochReport]) -> None:
    text = io.StringIO(newline="")
    names = [item.name for item in dataclasses.fields(EpochReport)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_json(report) for report in history)
    write_text(run.metrics, text.getvalue())


@contextmanager
def _explain_failures(run: RunFolder, config: TrainConfig) -> Iterator[None]:
    """Turn what can go wrong in mid-run into a RunFailedError that names the last good state."""
    try:
        yield
    except FercliError as reason:
        if isinstance(reason, RunFailedError):
            raise RunFailedError(reason.message, hint=_name_last_state(run, reason.hint)) from None
        raise
    except OSError as reason:
        message = f"the run's files cannot be written ({reason.strerror or reason})"
        raise RunFailedError(message, hint=_name_last_state(run, "free some space")) from reason
    except RuntimeError as reason:
        if not _is_out_of_memory(reason):
            raise
        half = max(2, config.batch_size // 2)
        message = f"memory ran out at batch size {config.batch_size}"
        advice = f"train anew with --batch-size {half}"
        raise RunFailedError(message, hint=_name_last_state(run, advice)) from reason


def _is_out_of_memory(reason: RuntimeError) -> bool:
    return isinstance(reason, torch.OutOfMemoryError) or "not enough memory" in str(reason)


def _name_last_state(run: RunFolder, advice: str) -> str:
    checkpoints = find_checkpoints(run.checkpoints)
    state = f"the last good state is {checkpoints[0]}" if checkpoints else "no state was saved yet"
    return f"{advice}; {state}"
