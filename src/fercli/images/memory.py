"""One budget of bytes for all images that are decoded at the same time.

Each thread's image may be within its own cap and all of them together far beyond the machine's
memory. A limit on threads would hold back small images for the sake of large ones, so bytes are
counted instead. Shares grow while they are held, which may never end in everybody waiting: who came
first always gets what it asks for, so one image at a time is decoded however large it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["MEMORY", "ByteBudget", "Share", "ask_malloc", "return_large_blocks"]

_DECODING_BYTES: Final = 1 << 28
"""Of all images under way: two photos of 24 megapixels, or one image of whatever size. With 0.2 GB
of Python and libraries the process keeps to 500 MiB, but for large images that their codecs
decode as a whole alone."""
_UNCOUNTED_BYTES: Final = 1 << 20
"""Up to this an image is not counted: of a face crop the counting would be felt."""

_M_MMAP_THRESHOLD: Final = -3
"""Of glibc's malloc.h."""
_LARGE_BYTES: Final = 8 << 20
"""Blocks that go back to the system: those of images above 1080p, of which Pillow takes 16 MiB at a
time."""


def return_large_blocks() -> bool:
    """Let this process give the memory of large images back as soon as they are done with.

    glibc keeps what a thread has freed for that thread: several that take turns at images of 100
    megapixels held an image's memory each. An application may ask for that, a library should not:
    `fer predict` does.

    Returns:
        Whether that could be asked for: of glibc, on Linux.
    """
    return ask_malloc({_M_MMAP_THRESHOLD: _LARGE_BYTES})


def ask_malloc(wanted: Mapping[int, int]) -> bool:
    """Set parameters of glibc's malloc for this process.

    Args:
        wanted: Values by the numbers of malloc.h.

    Returns:
        Whether all were taken; False where there is no glibc.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(mallopt(name, value) == 1 for name, value in wanted.items())


class ByteBudget:
    """So many bytes, shared by threads.

    Args:
        n_bytes: What all shares may have together, the oldest excepted.
    """

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self.forget()

    def forget(self) -> None:
        """Start anew; for a process whose threads stayed in its parent."""
        self._changed = threading.Condition()
        # In order of arrival, which dictionaries keep.
        self._held: dict[Share, int] = {}

    @contextlib.contextmanager
    def open_share(self) -> Iterator[Share]:
        """Yield a share of nothing; what it has grown to is given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self._give_back(share)

    def resize(self, share: Share, n_bytes: int) -> None:
        """See `Share.resize`."""
        if n_bytes <= _UNCOUNTED_BYTES and share not in self._held:
            return
        with self._changed:
            self._held.setdefault(share, 0)
            if n_bytes > self._held[share]:
                self._changed.wait_for(lambda: self._may_have(share, n_bytes))
            self._held[share] = n_bytes
            self._changed.notify_all()

    def _may_have(self, share: Share, n_bytes: int) -> bool:
        others = sum(self._held.values()) - self._held[share]
        return others + n_bytes <= self._n_bytes or next(iter(self._held)) is share

    def _give_back(self, share: Share) -> None:
        if share in self._held:
            with self._changed:
                del self._held[share]
                self._changed.notify_all()


class Share:
    """What one image has of a budget; `ByteBudget.open_share` makes one."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget

    def resize(self, n_bytes: int) -> None:
        """Have so many bytes from now on; waits until others have given back enough."""
        self._budget.resize(self, n_bytes)


MEMORY: Final = ByteBudget(_DECODING_BYTES)
"""The process's."""
if hasattr(os, "register_at_fork"):
    # Shares of threads that a child does not have would never be given back there.
    os.register_at_fork(after_in_child=MEMORY.forget)
