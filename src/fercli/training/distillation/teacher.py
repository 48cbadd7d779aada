"""What a teacher says of the training images, computed once and kept with the run.

Each image and its mirror image are shown to the teacher as they are, not as the student sees
them, so that any model will do, an ONNX as well. Showing it every varied view costs a third of a
step for each teacher, and needs teachers that run inside the training: see
`fercli.training.distillation.consistent`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.config import find_size_misfit
from fercli.errors import ModelFileError
from fercli.inference import Runtime, predict_in_batches, predict_mirrored
from fercli.model_files import (
    describe_provenance,
    find_model,
    find_trainable,
    open_runtime,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.metadata import TeacherRecord
    from fercli.model_files import ModelFile

__all__ = ["Teacher", "ask_teachers", "list_config_files", "open_named", "open_teachers"]


_SIDE_PX: Final = 48
"""What the notebook's network sees, and no other size."""


@dataclass(frozen=True)
class Teacher:
    """A model that teaches."""

    runtime: Runtime
    """Ready to run."""
    columns: list[int]
    """Which of its outputs each label of the dataset is."""
    identity: TeacherRecord
    """What is noted of it in the model that learns from it."""


def list_config_files(config: TrainConfig) -> list[Path]:
    """Return the files that a configuration names: models and weights that it learns from."""
    weights, init = config.transfer.pretrained_weights, config.transfer.init
    files = [Path(weights)] if weights else []
    for spec in (*config.distillation.teacher, *([init] if init else [])):
        # One that is missing has no files; who opens it says so.
        with contextlib.suppress(ModelFileError):
            files += find_model(spec).files
    return files


def open_named(dataset: Dataset, config: TrainConfig) -> list[Teacher]:
    """Open the teachers that a configuration names; its members are not looked at.

    Raises:
        ModelFileError: One is missing, damaged, or has other labels than the dataset.
        DeviceUnavailableError: The device is not there.
    """
    part = config.distillation
    names = tuple(dataset.label_names)
    with_weights = part.consistent_teaching
    teachers = open_teachers(part.teacher, names, config.device, with_weights=with_weights)
    if with_weights:
        for spec, teacher in zip(part.teacher, teachers, strict=True):
            _check_sizes(spec, teacher, config)
    return teachers


def open_teachers(
    models: Sequence[str], label_names: tuple[str, ...], device: str, *, with_weights: bool = False
) -> list[Teacher]:
    """Open models and map their labels by name.

    Args:
        models: As `find_model` takes them.
        label_names: The dataset's.
        device: Where they run; an ONNX always runs on the CPU.
        with_weights: Take them as networks of torch, and refuse what is ONNX alone.

    Raises:
        ModelFileError: One is missing, damaged, or has other labels.
        DeviceUnavailableError: The device is not there.
    """
    teachers = []
    for spec in models:
        model = _find_weights(spec) if with_weights else find_model(spec)
        runtime = open_runtime(model, device="cpu" if model.is_onnx else device)
        if set(runtime.labels) != set(label_names):
            message = f"the teacher {spec} has other labels than the dataset: {runtime.labels}"
            raise ModelFileError(message, hint="take a teacher that was trained on these labels")
        columns = [runtime.labels.index(name) for name in label_names]
        teachers.append(Teacher(runtime, columns, describe_provenance(model, runtime.metadata)))
    return teachers


def _check_sizes(spec: str, teacher: Teacher, config: TrainConfig) -> None:
    """Refuse a teacher that cannot look at images as small as the network will see.

    Raises:
        ModelFileError: It cannot.
    """
    network = teacher.runtime.metadata.network.build_config(Path(spec))
    too_small = find_size_misfit(network, config.sizes_px)
    if too_small or (network.network == "notebook" and set(config.sizes_px) != {_SIDE_PX}):
        message = f"the teacher {spec} cannot see images of {min(config.sizes_px)} pixels"
        hint = "give --set sizes_px=48, or leave consistent_teaching out"
        raise ModelFileError(message, hint=hint)


def _find_weights(spec: str) -> ModelFile:
    """Return a teacher's weights.

    Raises:
        ModelFileError: It is missing, or an ONNX that comes without them.
    """
    model = find_trainable(find_model(spec))
    if model.is_onnx:
        message = f"the teacher {spec} is an ONNX alone, which cannot see every varied image"
        hint = "name a run or a .safetensors, or leave consistent_teaching out"
        raise ModelFileError(message, hint=hint)
    return model


def ask_teachers(
    teachers: list[Teacher],
    images: NDArray[np.uint8],
    note: Callable[[str], None],
    should_stop: Callable[[], int],
    folds: NDArray[np.int64] | None = None,
) -> NDArray[np.float32] | None:
    """Return the mean answer of some teachers.

    Args:
        teachers: At least one.
        images: `[N, 48, 48]`, the training images.
        note: Told who is asked.
        should_stop: Asked after every teacher; anything but 0 gives up.
        folds: `[N]`, the one teacher, from 1, that is asked about an image; by default all are.

    Returns:
        Probabilities `[N, K]`: mean over teachers, image and mirror image; None when told to stop.
    """
    total = np.zeros((len(images), len(teachers[0].columns)), dtype=np.float32)
    times = np.zeros((len(images), 1), dtype=np.float32)
    for number, teacher in enumerate(teachers, start=1):
        asked = np.full(len(images), fill_value=True) if folds is None else folds == number
        note(f"teacher {number} of {len(teachers)} predicts {asked.sum():,} images")
        if asked.any():
            shown = images[asked]
            plain = predict_in_batches(teacher.runtime, shown)
            total[asked] += predict_mirrored(teacher.runtime, shown, plain)[:, teacher.columns]
            times[asked] += 1
        if should_stop():
            return None
    mean: NDArray[np.float32] = total / times
    return mean
