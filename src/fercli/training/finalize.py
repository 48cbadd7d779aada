"""What a training leaves: the model in both forms, the curves, the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

import fercli
from fercli.data.duplicates import digest_images, save_digests
from fercli.errors import DependencyMissingError, FercliError, ModelFileError
from fercli.export import ParityImages, export_model
from fercli.inference import predict_in_batches
from fercli.metadata import CalibrationRecord, DatasetRecord, ModelMetadata, ValidationRecord
from fercli.metrics import (
    change_temperature,
    compute_ece,
    compute_nll,
    fit_temperature,
)
from fercli.model_files import ModelFile, save_model
from fercli.names import name_split
from fercli.networks import count_parameters
from fercli.networks.runtime import TorchRuntime
from fercli.plots import plot_curves, save_figure
from fercli.recipes import describe_difficulty
from fercli.results import TrainResult
from fercli.runs import read_run_record, utc_now
from fercli.storage import load_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fercli.config import TrainConfig
    from fercli.metadata import TeacherRecord
    from fercli.results import EpochReport
    from fercli.runs import RunFolder
    from fercli.training.context import TrainingContext
    from fercli.training.splits import TrainingSplits
    from fercli.training.state import Progress, TrainingState

__all__ = ["finish_run"]

_EXPORT_FAILURES: Final = (
    FercliError, ImportError, RuntimeError, ValueError, TypeError, AttributeError, LookupError
)  # fmt: skip
"""The exporter fails in many ways; none of them may cost a trained model."""
_N_PARITY: Final = 256


def finish_run(
    state: TrainingState, context: TrainingContext, teachers: Sequence[TeacherRecord]
) -> TrainResult:
    """Write the best weights in both forms, the curves and the result.

    Args:
        state: Its best weights are kept.
        context: What was learned from, how, and where to.
        teachers: Who taught, as `Teacher.identity` says; empty when nobody did.
    """
    config, splits, run, run_log = context.config, context.splits, context.run, context.run_log
    progress = state.progress
    state.network.load_state_dict(state.best)
    temperature, calibration = _fit_temperature(state, splits, context.dataset.label_names)
    network = state.network.cpu()
    record = read_run_record(run.path)
    metadata = _describe(progress, context).replace(
        temperature=temperature,
        calibration=calibration,
        teachers=tuple(teachers),
        init=record.init,
    )
    _save_train_digests(run.train_digests, context)
    save_model(run.model, network, config.model, metadata)
    warnings = _write_extras(run, config, splits, progress.history, progress.best_epoch)
    for warning in warnings:
        run_log.note(warning)
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
        cpu_s=progress.cpu_s,
        images_per_s=len(progress.history) * len(splits.train.labels) / trained,
        device=config.device,
        precision=config.precision,
        seed=config.seed,
        temperature=temperature,
        members=config.distillation.members,
        onnx=str(run.onnx) if run.onnx.exists() else None,
        warnings=warnings,
    )
    run.write_record(record.replace(finished_at=utc_now(), result=result))
    run_log.log(f"finished: best epoch {result.best_epoch}, {result.validation_accuracy:.4f}")
    return result


def _fit_temperature(
    state: TrainingState, splits: TrainingSplits, names: tuple[str, ...]
) -> tuple[float, CalibrationRecord]:
    """Return the model's temperature and what it does, fitted on the validation split alone."""
    runtime = TorchRuntime(state.network, ModelMetadata(labels=names), state.device)
    labels = splits.validation.labels
    before = predict_in_batches(runtime, splits.validation.images)
    temperature = fit_temperature(before, labels)
    after = change_temperature(before, before=1.0, after=temperature)
    return temperature, CalibrationRecord(
        split=splits.validation_name,
        n_images=len(labels),
        ece_before=compute_ece(before, labels),
        ece_after=compute_ece(after, labels),
        nll_before=compute_nll(before, labels),
        nll_after=compute_nll(after, labels),
    )


def _describe(progress: Progress, context: TrainingContext) -> ModelMetadata:
    """Return what travels with the model."""
    config, dataset, splits = context.config, context.dataset, context.splits
    return ModelMetadata(
        labels=dataset.label_names,
        recipe=config.recipe,
        seed=config.seed,
        epochs=len(progress.history),
        best_epoch=progress.best_epoch,
        pretrained=_name_pretrained(config),
        dataset=DatasetRecord(
            source=dataset.source,
            sha256=dataset.sha256,
            labeling=dataset.labeling,
            targets=dataset.learned,
        ),
        validation=ValidationRecord(
            split=splits.validation_name,
            n_images=len(splits.validation.labels),
            accuracy=progress.best_accuracy,
        ),
        fercli=fercli.__version__,
        torch=torch.__version__,
    )


def _save_train_digests(path: Path, context: TrainingContext) -> None:
    """Keep which images were learned from, those of the model begun with among them."""
    digests = digest_images(context.splits.train.images)
    if path.exists():
        digests = np.concatenate([digests, load_tensors(path, ModelFileError)[0]["digests"]])
    save_digests(path, digests, context.dataset.sha256)


def _name_pretrained(config: TrainConfig) -> str | None:
    """Say what a model began with, without the folders of who trained it."""
    file = config.transfer.pretrained_weights
    return Path(file).name if file else "torchvision" if config.transfer.pretrained else None


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
    except _EXPORT_FAILURES as reason:
        cause = _find_cause(reason)
        warnings.append(f"model.onnx was not written: {_write_cause(cause)}")
    try:
        validation = name_split(splits.validation_name)
        title = f"{config.recipe} ({config.model.network}), validation on {validation}"
        harder = describe_difficulty(config)
        save_figure(plot_curves(history, best_epoch, title, harder=harder), run.curves)
    except DependencyMissingError as reason:
        warnings.append(f"curves.png was not written: {reason.message}")
    return warnings


def _write_cause(cause: BaseException) -> str:
    return " ".join(str(cause).split())[:300] or type(cause).__name__


def _find_cause(reason: BaseException) -> BaseException:
    """Return what an error came of: torch's exporter wraps it in advice for its developers."""
    # Ours say what happened already.
    while not isinstance(reason, FercliError) and reason.__cause__ is not None:
        reason = reason.__cause__
    return reason
