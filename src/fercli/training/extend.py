"""A finished run trained for longer: a run of its own, which begins with the state of the other.

It follows another schedule. Rates are functions of the step and of all steps, so a run of 4 epochs
that goes on to 8 jumps back to the rate of half of the way, and is not the run of 8 epochs that was
planned as one. That is why it gets a folder of its own, and why its record names the other.
"""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

from fercli.errors import ConfigError, ModelFileError
from fercli.metadata import ExtensionRecord
from fercli.runs import is_finished, utc_now
from fercli.settings import build_config, flatten_config
from fercli.storage import load_tensors, save_tensors
from fercli.training.checkpoint import find_checkpoints

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.metadata import RunRecord
    from fercli.runs import RunFolder

__all__ = ["begin_extension", "plan_extension"]


def plan_extension(run: RunFolder, record: RunRecord, epochs: int) -> TrainConfig:
    """Return the configuration of a longer run.

    Args:
        run: The finished one.
        record: Its record.
        epochs: In all, its own counted.

    Raises:
        ConfigError: It is not finished, or has as many epochs.
    """
    config = build_config(record.config)
    if not is_finished(run):
        message = f"{run.path} is not finished, so its number of epochs cannot be changed"
        raise ConfigError(message, hint=f"finish it first: fer train --resume {run.path}")
    if epochs <= config.epochs:
        message = f"{run.path} already has {config.epochs} epochs, and {epochs} is not more"
        raise ConfigError(message, hint=f"give --epochs {config.epochs + 1} or more")
    return dataclasses.replace(config, epochs=epochs)


def begin_extension(run: RunFolder, record: RunRecord, longer: RunFolder, epochs: int) -> None:
    """Put the state of a finished run into a new folder; nothing of the old one is changed.

    Args:
        run: The finished run.
        record: Its record.
        longer: The new one, held and empty.
        epochs: Of the new one, in all.

    Raises:
        ConfigError: Its own members taught it step by step.
        ModelFileError: The state that it ended with is gone or damaged, or its teacher's answers.
    """
    config = plan_extension(run, record, epochs)
    live = config.distillation.consistent_teaching
    if live and config.distillation.members:
        message = f"the members of {run.path} look at every image, and cannot be taken along"
        raise ConfigError(message, hint="train anew, with --teacher for each of them")
    if config.distillation.has_teacher and not live and not run.targets.exists():
        message = f"{run.targets} with the teacher's predictions is missing"
        raise ModelFileError(message, hint="train anew")
    name, arrays, metadata = _load_end(run)
    progress = {**metadata["progress"], "finished": False}
    save_tensors(longer.checkpoints / name, arrays, {**metadata, "progress": progress})
    for source, target in zip(
        (run.targets, run.train_digests), (longer.targets, longer.train_digests), strict=True
    ):
        if source.exists():
            shutil.copyfile(source, target)
    own = build_config(record.config)
    extends = ExtensionRecord(
        run=str(run.path),
        epochs=own.epochs,
        epochs_run=len(progress["history"]),
        started_at=record.started_at,
        validation_accuracy=progress["best_accuracy"],
    )
    # Last: without it the folder is no run.
    longer.write_record(
        record.replace(
            config=flatten_config(config),
            started_at=utc_now(),
            finished_at=None,
            result=None,
            extends=extends,
        )
    )


def _load_end(run: RunFolder) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the state that a run ended with: its file's name, its arrays and its metadata."""
    newest = next(iter(find_checkpoints(run.checkpoints)), None)
    if newest is not None:
        arrays, metadata = load_tensors(newest, ModelFileError)
        if metadata.get("kind") == "checkpoint" and metadata["progress"]["finished"]:
            return newest.name, arrays, metadata
    message = f"{run.checkpoints} does not hold the state that the run ended with"
    hint = f"start another training from its weights: fer train --init {run.path}"
    raise ModelFileError(message, hint=hint)
