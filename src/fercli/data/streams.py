"""Bytes of a table, uncompressed where they are compressed."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Iterator
from typing import IO, cast

__all__ = ["decompress"]


@contextlib.contextmanager
def decompress(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the stream itself, or what it holds when it begins as gzip does."""
    with io.BufferedReader(cast("io.RawIOBase", raw)) as buffered:
        if buffered.peek(2)[:2] != b"\x1f\x8b":
            yield buffered
            return
        with gzip.GzipFile(fileobj=buffered) as plain:
            yield cast("IO[bytes]", plain)
