"""Signals become a request to stop, for work that leaves something whole behind."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["catch_signals", "name_signal"]

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")
"""What is caught; Windows has no SIGHUP, which a terminal sends when it is closed."""
_HANGUP: Final = getattr(signal, "SIGHUP", 0)


def name_signal(number: int) -> str:
    """Return what people call a signal."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


@contextlib.contextmanager
def catch_signals(*, once: bool = True) -> Iterator[Callable[[], int]]:
    """Catch SIGINT, SIGTERM and SIGHUP inside the block; SIGHUP not where it is ignored (nohup).

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

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        if before.get(_HANGUP) == signal.SIG_IGN:
            del before[_HANGUP]
        for number in before:
            signal.signal(number, remember)
    try:
        yield lambda: caught
    finally:
        restore()
