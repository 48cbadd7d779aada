"""Save a training and find the newest state that is whole.

Every file is complete and checked by its digest when it is read; the one before it is removed
only after the new one is on disk. safetensors and JSON, never pickle.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fercli.errors import ModelFileError
from fercli.fields import JsonObject
from fercli.storage import load_tensors, save_tensors
from fercli.training.state import Progress, TrainingState

__all__ = ["find_checkpoints", "restore_newest", "save_checkpoint"]

_SCHEMA: Final = 1
_KEPT: Final = 2


def save_checkpoint(folder: Path, state: TrainingState, total_steps: int) -> Path:
    """Write a state and remove all but the newest two; of a group, the leading process writes.

    Args:
        folder: Made when missing.
        state: What to save.
        total_steps: Steps done since the run began; orders the files.

    Returns:
        The new file.

    Raises:
        OSError: The disk is full or not writable; what was there before still is.
    """
    path = folder / f"step-{total_steps:09d}.safetensors"
    progress = state.progress.to_json()
    metadata = {"schema": _SCHEMA, "kind": "checkpoint", "progress": progress}
    arrays = state.to_arrays()
    if not state.group.is_main:
        return path
    save_tensors(path, arrays, metadata)
    found = find_checkpoints(folder)
    # What stands above was skipped as damaged when the training went on from an earlier step.
    for old in [*(other for other in found if other > path), *found[found.index(path) :][_KEPT:]]:
        old.unlink()
    return path


def find_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def restore_newest(
    folder: Path, state: TrainingState, on_note: Callable[[str], None]
) -> Path | None:
    """Restore the newest valid checkpoint; damaged ones are skipped, said aloud.

    Of a group, the leading process reads: the others need not see its disk.

    Args:
        folder: Where the checkpoints are.
        state: Restored in place.
        on_note: Told about each file that was skipped.

    Returns:
        The checkpoint, or None when the folder has no valid one and `state` is as it was.

    Raises:
        ModelFileError: It is valid, and does not fit `state`, which is of no use then.
    """
    group = state.group
    found = group.broadcast(_load_newest(folder, on_note) if group.is_main else None)
    if found is None:
        return None
    path, arrays, progress = found
    try:
        state.restore(arrays, progress)
    except (KeyError, RuntimeError, TypeError, ValueError) as reason:
        text = " ".join(str(reason).split())[:200]
        message = f"{path} is intact, but from another training than run.json describes ({text})"
        hint = "restore the run.json that it was made with"
        raise ModelFileError(message, hint=hint) from reason
    return Path(path)


def _load_newest(
    folder: Path, on_note: Callable[[str], None]
) -> tuple[Path, dict[str, Any], Progress] | None:
    for path in find_checkpoints(folder):
        try:
            arrays, metadata = load_tensors(path, ModelFileError)
            _check_kind(path, metadata)
            header = JsonObject(metadata, path, ModelFileError)
            progress = Progress.from_json(header.child("progress"))
        except ModelFileError as reason:
            on_note(f"skipped a checkpoint: {reason.message}")
            continue
        return path, arrays, progress
    return None


def _check_kind(path: Path, metadata: dict[str, Any]) -> None:
    if metadata.get("kind") != "checkpoint" or metadata.get("schema") != _SCHEMA:
        message = f"{path} is not a checkpoint of schema {_SCHEMA}"
        raise ModelFileError(message)
