"""What can go wrong in the middle of a training, said with the last good state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch

from fercli.errors import FercliError, RunFailedError
from fercli.training.checkpoint import find_checkpoints

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.runs import RunFolder

__all__ = ["explain_failures"]

_OUT_OF_MEMORY: Final = (
    "not enough memory",
    "allocate memory",
    "out of memory",
    "_STATUS_ALLOC_FAILED",
)
"""Words of plain RuntimeErrors: the CPU's allocator's, which differ by system, those of CUDA's
driver and of MPS, and those of cuDNN, cuBLAS and the like."""


@contextmanager
def explain_failures(run: RunFolder, config: TrainConfig) -> Iterator[None]:
    """Turn what can go wrong in mid-run into a RunFailedError that names the last good state."""
    try:
        yield
    except FercliError as reason:
        if isinstance(reason, RunFailedError):
            raise RunFailedError(reason.message, hint=_name_last_state(run, reason.hint)) from None
        raise
    except OSError as reason:
        if reason.errno is None or isinstance(reason, ConnectionError | TimeoutError):
            # Of a callback that asked something of a network: no file of ours.
            raise
        message = f"the run's files cannot be written ({reason.strerror or reason})"
        raise RunFailedError(message, hint=_name_last_state(run, "free some space")) from reason
    except (RuntimeError, MemoryError) as reason:
        if not _is_out_of_memory(reason):
            raise
        half = max(2, config.batch_size // 2)
        message = f"memory ran out at batch size {config.batch_size}"
        advice = f"train anew with --batch-size {half}"
        raise RunFailedError(message, hint=_name_last_state(run, advice)) from reason


def _is_out_of_memory(reason: RuntimeError | MemoryError) -> bool:
    if isinstance(reason, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(reason) for words in _OUT_OF_MEMORY)


def _name_last_state(run: RunFolder, advice: str) -> str:
    checkpoints = find_checkpoints(run.checkpoints)
    state = f"the last good state is {checkpoints[0]}" if checkpoints else "no state was saved yet"
    return f"{advice}; {state}"
