"""Keep the memory that a step has used for the next one.

glibc gives large blocks back to the system as soon as they are free, and the system hands them out
again page by page, each filled with zeros first: a ninth of a training step on a CPU (measured,
docs/explanation/log.md). An application may turn that off, a library should not: `fer train` does.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

__all__ = ["tune_malloc"]

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_MAX: Final = -4
_M_ARENA_MAX: Final = -8


def tune_malloc() -> bool:
    """Let this process keep what it frees, until it ends.

    Returns:
        Whether that could be request for: of glibc, on Linux.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = {
        _M_MMAP_MAX: 0,
        _M_TRIM_THRESHOLD: 2**31 - 1,
        _M_TOP_PAD: 64 * 2**20,
        # Backward passes run in a thread of their own, whose arena could not hold large blocks.
        _M_ARENA_MAX: 1,
    }
    return all(mallopt(name, value) == 1 for name, value in wanted.items())
