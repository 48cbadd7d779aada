"""Models and forks: what a child of a process may not use, and may not let go of either.

Threads and locks of a runtime do not survive a fork. A child that used its parent's session, or
freed it, would wait for ever for threads that it does not have.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fercli.inference import Runtime

__all__ = ["FORK", "calm_torch_after_fork", "keep_for_ever"]


class _Fork:
    """What a forked child has from its parent."""

    has_torch = False
    """Whether torch was imported before the fork, and may have threads that a child has not."""

    def note(self) -> None:
        """Look at the parent's imports; runs in the child."""
        self.has_torch = "torch" in sys.modules


FORK: Final = _Fork()
"""Of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FORK.note)


def keep_for_ever(runtime: Runtime) -> None:
    """Never let what a parent opened go: it would wait for threads that a child does not have."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))


def calm_torch_after_fork() -> None:
    """Let torch compute on one thread: those of the parent's pool are not there in a child."""
    import torch

    torch.set_num_threads(1)
