"""Many objects of stores on their way at once, each handed on in its turn.

A small object takes a store some tens of milliseconds, in which nothing here has anything to do:
one at a time that would be some twenty images a second. So requests run ahead in threads, a bounded
number of them and of bytes. Threads, not coroutines: obstore's own calls wait without Python's
lock, and cost half of the processor's time that asyncio does (0.2 ms an object instead of 0.45,
measured).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.images import HEAD_BYTES, find_kind
from fercli.prediction.buckets import MAX_OBJECT_BYTES, ObjectFailedError
from fercli.prediction.sources import Member, Others, hold_error
from fercli.prediction.stores import StoredObject

if TYPE_CHECKING:
    from fercli.errors import FercliError

__all__ = ["fetch_objects"]

_AT_ONCE: Final = 32
"""Requests that run at the same time."""
_AHEAD: Final = 128
"""Objects that are read, or being read, before their turn."""
_AHEAD_BYTES: Final = 64 << 20
"""Of them; one more may be on its way."""
_UNKNOWN_BYTES: Final = 1 << 20
"""What an object counts whose size was not listed."""

Waiting = tuple[int, Path | Member | StoredObject, Future[bytes] | None]


def fetch_objects(
    sources: Iterable[Path | Member | StoredObject], others: Others
) -> Iterator[Path | Member]:
    """Yield sources in order, what is read of a store in place of each object.

    Args:
        sources: Taken a little ahead of what is yielded, where objects are among them.
        others: Counts objects that nobody named and that are no images.

    Raises:
        FercliError: A store does not answer, or does not know who asks.
    """
    waiting: deque[Waiting] = deque()
    pool: ThreadPoolExecutor | None = None
    n_bytes = 0
    held: list[FercliError] = []
    try:
        for source in hold_error(sources, held):
            if isinstance(source, StoredObject):
                pool = pool or ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fer-fetch")
                waiting.append((_weigh(source), source, pool.submit(source.read)))
            elif waiting:
                waiting.append((getattr(source, "n_bytes", 0), source, None))
            else:
                yield source
                continue
            n_bytes += waiting[-1][0]
            while len(waiting) > _AHEAD or n_bytes > _AHEAD_BYTES:
                n_bytes -= waiting[0][0]
                yield from _settle(waiting.popleft(), others)
        while waiting:
            yield from _settle(waiting.popleft(), others)
        if held:
            raise held[0]
    finally:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _weigh(source: StoredObject) -> int:
    return _UNKNOWN_BYTES if source.n_bytes is None else min(source.n_bytes, MAX_OBJECT_BYTES)


def _settle(one: Waiting, others: Others) -> Iterator[Path | Member]:
    """Yield what became of a source: nothing where a found object is no image."""
    _, source, reading = one
    if not isinstance(source, StoredObject) or reading is None:
        if not isinstance(source, StoredObject):
            yield source
        return
    title = str(source)
    try:
        content = reading.result()
    except ObjectFailedError as reason:
        if reason.meaning is not None and not source.bucket.was_read:
            # Of none of them is known that it may be read: a row for each would hide that.
            raise reason.meaning from None
        yield Member(Path(title), reason=reason.reason, refused=reason.refused, title=title)
        return
    source.bucket.was_read = True
    if source.is_named or find_kind(source.name, content[:HEAD_BYTES]) == "image":
        yield Member(Path(title), content, title=title)
    else:
        others.add()
