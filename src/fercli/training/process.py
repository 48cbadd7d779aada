"""This process: signals become a request to stop between two steps; how it keeps its memory."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["catch_signals", "tune_malloc"]

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_MAX: Final = -4
_M_ARENA_MAX: Final = -8


@contextlib.contextmanager
def catch_signals(*, once: bool = True) -> Iterator[Callable[[], int]]:
    """Catch SIGINT and SIGTERM inside the block.

    The first signal is remembered; a second one acts as if it were not caught, for those who do
    not want to wait. Outside the main thread, where Python cannot catch signals, nothing is done.

    Args:
        once: Catch no second one. Of several processes each is told by more than one, and none may
            leave before the state is saved.

    Yields:
        A function that returns the signal caught, or 0.
    """
    caught = 0

    def remember(number: int, _frame: FrameType | None) -> None:
        nonlocal caught
        caught = number
        if once:
            restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, remember)
    try:
        yield lambda: caught
    finally:
        restore()


def tune_malloc() -> bool:
    """Let this process keep the memory that a step has used for the next one, until it ends.

    glibc gives large blocks back to the system as soon as they are free, and the system hands them
    out again page by page, each filled with zeros first: a ninth of a training step on a CPU
    (measured, docs/explanation/log.md). An application may turn that off, a library should not:
    `fer train` does.

    Returns:
        Whether that could be asked for: of glibc, on Linux.
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
