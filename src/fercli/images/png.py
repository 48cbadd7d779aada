"""Cut a large PNG into strips before it is decoded, so that its pixels are never all in memory.

Pillow takes four bytes for each pixel of a PNG in colors or with transparency, and has the whole
image at once. The rows of a PNG are one stream, each told by its difference from the row above. So
a strip of them is a PNG of its own once the last row before it stands on top, and Pillow decodes
them one after the other. What comes out is the same to the bit.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fercli.errors import ImageDecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image

__all__ = ["StripedPng", "cut_png"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {2: 3, 4: 2, 6: 4}
"""Bytes of a pixel of eight bits, by the kind of color: RGB, gray and RGB with transparency.

Source of these and of the layout: "Portable Network Graphics (PNG) Specification", W3C, 2003,
sections 5.3, 9.2 and 11.2.2.
"""
_WORTH_PIXELS: Final = 1 << 23
"""From so many on it is done: 32 MiB of Pillow's."""
_STRIP_PIXELS: Final = 1 << 20
_MOST_CHUNKS: Final = 100_000
"""The largest legal image in chunks of 8 KiB, as libpng writes them, has half of it."""
_PIECE_BYTES: Final = 1 << 16
"""Fed to zlib at once, which copies what it does not take."""


@dataclass(frozen=True)
class StripedPng:
    """A PNG that will be decoded strip by strip."""

    shell: Image.Image
    """One pixel with all that the file says beside its pixels."""
    _size: tuple[int, int]
    _open: Callable[[bytes], Image.Image]
    _content: bytes
    _begin: int
    """Where its first IDAT chunk is."""
    _row_bytes: int
    _head: bytes
    """The file's chunk IHDR, what it holds behind the size."""
    _key: bytes
    """Its chunk tRNS; nothing where it has none."""

    def cut(self) -> Iterator[tuple[slice, Image.Image]]:
        """Yield the rows of each strip, and the strip.

        Raises:
            ImageDecodeError: The file is cut off or damaged.
        """
        width, height = self._size
        n_rows = max(1, _STRIP_PIXELS // width)
        stream = _Inflated(self._content, self._begin)
        above = bytes(self._row_bytes)
        for top in range(0, height, n_rows):
            count = min(n_rows, height - top)
            rows = stream.read(count * (1 + self._row_bytes))
            head = struct.pack(">II", width, count + 1) + self._head
            # Without compression: it is unpacked again at once.
            packed = zlib.compress(b"\0" + above + rows, 0)
            image = self._open(
                _SIGNATURE + _pack(b"IHDR", head) + self._key + _pack(b"IDAT", packed)
                + _pack(b"IEND", b"")
            )  # fmt: skip
            above = image.crop((0, count, width, count + 1)).tobytes()
            strip = image.crop((0, 1, width, count + 1))
            strip.info = image.info
            yield slice(top, top + count), strip


def cut_png(content: bytes, open_image: Callable[[bytes], Image.Image]) -> StripedPng | None:
    """Return a PNG as it can be decoded in strips; None where it need not be, or cannot.

    Small ones need not; with 16 bits, interlaced or animated they cannot, and what is no whole
    file up to its pixels, or of very many chunks, is left for Pillow to refuse.

    Args:
        content: The file.
        open_image: Opens the files of one strip.
    """
    if content[:16] != _SIGNATURE + b"\0\0\0\rIHDR" or len(content) < 33:
        return None
    width, height = struct.unpack(">II", content[16:24])
    depth, color, *_, interlaced = content[24:29]
    if depth != 8 or color not in _CHANNELS or interlaced or width * height < _WORTH_PIXELS:
        return None
    chunks = _list_chunks(content)
    if chunks is None or b"acTL" in (names := [name for name, _, _ in chunks]):
        return None
    first = names.index(b"IDAT")
    n_parts = next((n for n, name in enumerate(names[first:]) if name != b"IDAT"), len(names))
    begin, after = chunks[first][1], chunks[min(first + n_parts, len(chunks)) - 1][2]
    key = b"".join(content[start:end] for name, start, end in chunks[:first] if name == b"tRNS")
    one = zlib.compress(bytes(1 + _CHANNELS[color]))
    shell = open_image(
        _SIGNATURE + _pack(b"IHDR", struct.pack(">II", 1, 1) + content[24:29])
        + content[33:begin] + _pack(b"IDAT", one) + content[after:]
    )  # fmt: skip
    row_bytes = width * _CHANNELS[color]
    size = (width, height)
    return StripedPng(shell, size, open_image, content, begin, row_bytes, content[24:29], key)


def _list_chunks(content: bytes) -> list[tuple[bytes, int, int]] | None:
    """Return the names of a file's chunks, and where they begin and end; None of an odd file."""
    chunks, begin = [], 33
    while len(name := content[begin + 4 : begin + 8]) == 4:
        end = _find_end(content, begin)
        chunks.append((name, begin, end))
        if len(chunks) > _MOST_CHUNKS:
            return None
        begin = end
    return chunks if any(name == b"IDAT" for name, _, _ in chunks) else None


class _Inflated:
    """The unpacked bytes of consecutive IDAT chunks."""

    def __init__(self, content: bytes, begin: int) -> None:
        self._content = content
        self._view = memoryview(content)
        self._next = begin
        self._at = self._end = begin
        self._inflater = zlib.decompressobj()
        self._rest = b""

    def read(self, n_bytes: int) -> bytes:
        """Return so many.

        Raises:
            ImageDecodeError: There are not as many, or they are damaged.
        """
        found = bytearray()
        while len(found) < n_bytes:
            piece = self._rest or self._take_piece()
            if not piece or self._inflater.eof:
                message = "image file is truncated"
                raise ImageDecodeError(message)
            try:
                found += self._inflater.decompress(piece, n_bytes - len(found))
            except zlib.error as reason:
                message = f"broken PNG file ({reason})"
                raise ImageDecodeError(message) from reason
            self._rest = self._inflater.unconsumed_tail
        return bytes(found)

    def _take_piece(self) -> bytes | memoryview:
        """Return the next packed bytes; none at the end."""
        while self._at >= self._end:
            if self._content[self._next + 4 : self._next + 8] != b"IDAT":
                return b""
            self._at, self._next = self._next + 8, _find_end(self._content, self._next)
            self._end = self._next - 4
        piece = self._view[self._at : min(self._at + _PIECE_BYTES, self._end)]
        self._at += _PIECE_BYTES
        return piece


def _find_end(content: bytes, begin: int) -> int:
    """Return where a chunk ends: a length, a name, as many bytes, a sum."""
    return begin + 12 + int.from_bytes(content[begin : begin + 4], "big")


def _pack(name: bytes, content: bytes) -> bytes:
    """Return a chunk."""
    return b"".join(
        (struct.pack(">I", len(content)), name, content,
         struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))
    )  # fmt: skip
