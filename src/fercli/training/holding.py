"""The folder of a training while it lasts: one group of processes writes it, and all see it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from fercli.errors import ConfigError, FercliError
from fercli.locks import FOLDER_LOCK, lock_folder
from fercli.storage import check_apart
from fercli.training.distillation.teacher import list_config_files

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.runs import RunFolder
    from fercli.training.distributed import Group

__all__ = ["check_shared", "clear_folder", "hold_folder"]

_Answer = TypeVar("_Answer")
_SHARED_WITHIN_S: Final = 5.0
"""Seconds in which a change must show on the other machines of a group."""


@contextmanager
def hold_folder(
    folder: Path, group: Group, prepare: Callable[[], _Answer | None]
) -> Iterator[_Answer | None]:
    """Let the leading process hold a folder, and prepare it.

    Args:
        folder: Made when missing.
        group: Whose leading process holds it.
        prepare: Called in that process; what it raises, all raise, and what it returns, all get.

    Raises:
        OutputBusyError: Another process holds it.
        FercliError: As `prepare`.
    """
    with ExitStack() as stack:
        answer: _Answer | FercliError | None = None
        if group.is_main:
            try:
                stack.enter_context(lock_folder(folder))
                answer = prepare()
            except FercliError as reason:
                answer = reason
        answer = group.broadcast(answer)
        if isinstance(answer, FercliError):
            raise answer
        yield answer


def clear_folder(run: RunFolder, dataset: Dataset, config: TrainConfig) -> None:
    """Remove what a held folder holds, a run or repeated ones, for a training that replaces it.

    Raises:
        ConfigError: The new training learns from one of its files; nothing is removed.
    """
    own = [dataset.path] if dataset.path else []
    check_apart(run.list_files(), [*list_config_files(config), *own])
    run.clear()


def check_shared(folder: Path, group: Group) -> None:
    """Refuse a held folder that some processes do not see: any of them leads after a restart.

    Raises:
        ConfigError: There is one that does not.
    """
    if group.size == 1:
        return
    lock = folder / FOLDER_LOCK
    mark: int = group.broadcast(secrets.randbelow(2**30))
    if group.is_main:
        os.utime(lock, (mark, mark))
    group.all_gather(None)
    seen = group.all_gather(_wait_for(lock, mark))
    blind = [rank for rank, sees in enumerate(seen) if not sees]
    if blind:
        which = ", ".join(map(str, blind))
        message = f"{folder} of process 0 cannot be found by process {which}"
        hint = "give an --output in a folder that all machines share, under the same path"
        raise ConfigError(message, hint=hint)


def _wait_for(path: Path, mark: int) -> bool:
    """Return whether a file has a time of change, or gets it as soon as a network takes."""
    last = time.monotonic() + _SHARED_WITHIN_S
    while time.monotonic() < last:
        with suppress(OSError):
            if int(path.stat().st_mtime) == mark:
                return True
        time.sleep(0.1)
    return False
