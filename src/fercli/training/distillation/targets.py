"""What the teachers say of the training images: asked once, kept in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.errors import ModelFileError, RunInterruptedError
from fercli.metadata import read_teachers
from fercli.model_files import list_selection_splits
from fercli.runs import read_run_record
from fercli.storage import load_tensors, save_tensors
from fercli.training.distillation.teacher import Teacher, ask_teachers, open_named, open_teachers
from fercli.training.splits import assign_folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fercli.metadata import TeacherRecord
    from fercli.training.context import TrainingContext

__all__ = ["find_targets", "load_targets", "save_targets"]

_SCHEMA: Final = 1


def find_targets(
    context: TrainingContext, members: list[str]
) -> tuple[NDArray[np.float32] | None, Sequence[TeacherRecord]]:
    """Return what the teachers say of the training images, and who they are.

    What the run keeps is read; else they are asked, and their answers kept.

    Args:
        context: The training.
        members: Folders of the trained members, where they teach.

    Returns:
        Probabilities `[N, K]` and the teachers' identities. There are no probabilities without a
        teacher, nor with one that looks at every varied image.

    Raises:
        ModelFileError: The teacher is damaged, of other labels, or not the one the run began with.
        RunInterruptedError: `should_stop` said so.
    """
    config, images = context.config, context.splits.train.images
    label_names = tuple(context.dataset.label_names)
    if not config.distillation.has_teacher:
        return None, []
    live = config.distillation.consistent_teaching
    kept = None if live else load_targets(context.run.targets, (len(images), len(label_names)))
    if kept is not None:
        return kept
    if config.distillation.members:
        teachers = open_teachers(members, label_names, config.device, with_weights=live)
    else:
        teachers = open_named(context.dataset, config)
        _check_teachers(context, teachers)
    identities = [teacher.identity for teacher in teachers]
    if live:
        return None, identities
    run_log = context.run_log
    folds = None
    if config.distillation.cross_fit:
        folds = assign_folds(images, config.distillation.members)
    answers = ask_teachers(teachers, images, run_log.note, run_log.callbacks.should_stop, folds)
    if answers is None:
        message = "interrupted while the teachers were predicting"
        hint = f"go on with it: fer train --resume {context.run.path}"
        raise RunInterruptedError(message, signal_number=run_log.callbacks.should_stop(), hint=hint)
    save_targets(context.run.targets, answers, identities)
    return answers, identities


def _check_teachers(context: TrainingContext, teachers: list[Teacher]) -> None:
    """Refuse a teacher that changed since the run began; warn of one that knows the answers."""
    now = [teacher.identity for teacher in teachers]
    begun_with = read_run_record(context.run.path).teachers or now
    if len(begun_with) != len(now):
        message = (
            f"{context.run.record} names {len(begun_with)} teachers, and its config {len(now)}"
        )
        raise ModelFileError(message)
    names = context.config.distillation.teacher
    for name, teacher, before in zip(names, teachers, begun_with, strict=True):
        if before.sha256 != teacher.identity.sha256:
            message = f"the teacher {name} is not the one the run began with"
            raise ModelFileError(message, hint="put the old one back, or train anew")
        metadata = teacher.runtime.metadata
        same_data = metadata.dataset and metadata.dataset.sha256 == context.dataset.sha256
        chosen_on = list_selection_splits(metadata)
        if same_data and chosen_on != [context.splits.validation_name]:
            words = " and ".join(chosen_on) or "an unknown split"
            context.run_log.note(
                f"teacher {name} may have been trained on the validation images of this run "
                f"({context.splits.validation_name}); it was selected on {words}"
            )


def save_targets(
    path: Path, targets: NDArray[np.float32], teachers: Sequence[TeacherRecord]
) -> None:
    """Keep answers `[N, K]` and who gave them, for a resumed run to find."""
    named = [teacher.to_json() for teacher in teachers]
    metadata = {"schema": _SCHEMA, "kind": "targets", "teachers": named}
    save_tensors(path, {"targets": targets}, metadata)


def load_targets(
    path: Path, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], Sequence[TeacherRecord]] | None:
    """Return the answers that a run keeps and who gave them, or None when there are none.

    Args:
        path: What `save_targets` wrote.
        shape: N and K.

    Raises:
        ModelFileError: The file is damaged, or of other images or labels.
    """
    if not path.exists():
        return None
    arrays, metadata = load_tensors(path, ModelFileError)
    targets = arrays.get("targets")
    known = metadata.get("kind") == "targets" and metadata.get("schema") == _SCHEMA
    if not known or targets is None or targets.shape != shape:
        message = f"{path} does not hold a teacher's predictions for {shape[0]:,} images"
        raise ModelFileError(message, hint="remove it; the teacher will predict again")
    return targets, read_teachers(metadata, path=path)
