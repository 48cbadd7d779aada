"""Bytes of a table: uncompressed where they are compressed, and counted."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Iterator
from typing import IO, cast

from fercli.data.archives import MAX_TOTAL_BYTES
from fercli.errors import DatasetLayoutError

__all__ = ["Counted", "decompress"]


class Counted(io.RawIOBase):
    """A stream that ends badly where no table of faces would go on.

    Args:
        stream: What is read.
        name: What to call it.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self._left = MAX_TOTAL_BYTES

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer
        """Read into a buffer and return how many bytes.

        Raises:
            DatasetLayoutError: More came than `MAX_TOTAL_BYTES`.
        """
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        self._left -= len(content)
        if self._left < 0:
            message = f"{self._name} goes on after {MAX_TOTAL_BYTES:,} bytes"
            raise DatasetLayoutError(message, hint="nothing was written")
        return len(content)


@contextlib.contextmanager
def decompress(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the stream itself, or what it holds when it begins as gzip does."""
    with io.BufferedReader(cast("io.RawIOBase", raw)) as buffered:
        if buffered.peek(2)[:2] != b"\x1f\x8b":
            yield buffered
            return
        with gzip.GzipFile(fileobj=buffered) as plain:
            yield cast("IO[bytes]", plain)
