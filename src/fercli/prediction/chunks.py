"""Lists of files in small chunks, a few of which are worked on ahead of their turn.

Where a chunk ends depends on its files alone, so that rows, and which faces share a call of the
model, are the same in every run.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fercli.prediction.sources import Member, hold_error
from fercli.prediction.stores import StoredObject

if TYPE_CHECKING:
    from fercli.errors import FercliError

__all__ = ["count_processors", "pack_images", "work_ahead"]

T = TypeVar("T", Path | Member, Path | Member | StoredObject)

Work = Callable[[list[Any]], list[Any]]
"""What is done to a chunk, in a thread."""
_CHUNK_BYTES: Final = 1 << 20
"""A chunk ends with the file that fills it: about 500 face crops, or one photo."""
_AHEAD_BYTES: Final = 3 << 25
"""Of decoded frames under way: 16 of 1080p, 4 of 4K."""
_SAMPLED: Final = 8
"""Of so many files of a chunk the size of the first is looked up, and counts for each."""


def pack_images(paths: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield files in chunks: at most so many, and of so many bytes.

    Where a chunk ends depends on its own files alone, so that work which is cut up at the ends of
    chunks has the same chunks everywhere.
    """
    chunk: list[T] = []
    n_bytes = 0
    held: list[FercliError] = []
    for path in hold_error(paths, held):
        if not isinstance(path, Path):
            n_bytes += path.n_bytes or 0
        elif len(chunk) % _SAMPLED == 0:
            n_bytes += _SAMPLED * _measure(path)
        chunk.append(path)
        if len(chunk) >= most or n_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk
    if held:
        raise held[0]


def _measure(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return path.stat().st_size
    return 0


def work_ahead(
    chunks: Iterable[list[Any]], work: Work, n_threads: int | None = None
) -> Generator[list[Any], None, None]:
    """Yield what becomes of chunks, in order; the next ones are worked on meanwhile."""
    n_threads = n_threads or count_processors()
    with ThreadPoolExecutor(n_threads, thread_name_prefix="fer-load") as pool:
        under_way: deque[tuple[int, Future[list[Any]]]] = deque()
        n_bytes = 0
        held: list[FercliError] = []
        try:
            for chunk in hold_error(chunks, held):
                size = sum(getattr(one, "n_bytes", 0) for one in chunk)
                under_way.append((size, pool.submit(work, chunk)))
                n_bytes += size
                while len(under_way) > 2 * n_threads or n_bytes > _AHEAD_BYTES:
                    size, done = under_way.popleft()
                    n_bytes -= size
                    yield done.result()
            while under_way:
                yield under_way.popleft()[1].result()
            if held:
                raise held[0]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def count_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
