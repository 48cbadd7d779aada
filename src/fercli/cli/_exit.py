"""Exit statuses, and which error means which."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from fercli.errors import (
    ConfigError,
    DataError,
    FercliError,
    ModelFileError,
    RunFailedError,
    RunInterruptedError,
    SetupError,
    VerificationError,
)

__all__ = ["STATUSES", "ExitStatus", "find_status"]


class ExitStatus(IntEnum):
    """What a command's end means to a script."""

    DONE = 0
    """Everything was done."""
    BUG = 1
    """A defect of fercli, shown with its traceback."""
    USAGE = 2
    """Options or configuration that cannot be run, or an output that is already there."""
    DATA = 3
    """Data missing or refused."""
    MODEL = 4
    """A model file missing or refused."""
    SETUP = 5
    """A device, a dependency or credentials are missing."""
    VERIFICATION = 6
    """A check did not hold: export parity, --require, the demo's accuracy."""
    PARTIAL = 7
    """Finished, but some inputs were skipped, each with its row and reason."""
    RUN_FAILED = 8
    """A run failed after it started; its last good state is kept and named."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C, the state kept; 143 stands for SIGTERM, 129 for
    a terminal that was closed."""


STATUSES: Final[dict[type[FercliError], ExitStatus]] = {
    ConfigError: ExitStatus.USAGE,
    DataError: ExitStatus.DATA,
    ModelFileError: ExitStatus.MODEL,
    SetupError: ExitStatus.SETUP,
    VerificationError: ExitStatus.VERIFICATION,
    RunFailedError: ExitStatus.RUN_FAILED,
    RunInterruptedError: ExitStatus.INTERRUPTED,
}
"""Status of each kind of error; a kind not named has that of its nearest parent."""


def find_status(error: FercliError) -> int:
    """Return the exit status of an error; the order of the table plays no part."""
    if isinstance(error, RunInterruptedError):
        return 128 + error.signal_number
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return ExitStatus.BUG
