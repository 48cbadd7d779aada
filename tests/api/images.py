"""What schemathesis sends as images: real ones, and bytes that are none."""

from __future__ import annotations

import zlib
from typing import Final

import schemathesis
from hypothesis import strategies

__all__ = ["IMAGES"]


def draw(width: int, height: int, brightness: int) -> bytes:
    """Return a PNG of one brightness; without Pillow, so that schemathesis alone is needed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        size, check = len(content).to_bytes(4, "big"), zlib.crc32(checked).to_bytes(4, "big")
        return size + checked + check

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    row = b"\0" + bytes([brightness]) * width
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row * height)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


SIDES: Final = strategies.integers(1, 200)
IMAGES: Final = strategies.one_of(
    strategies.builds(draw, SIDES, SIDES, strategies.integers(0, 255)),
    strategies.binary(min_size=1),
)
schemathesis.openapi.media_type("application/octet-stream", IMAGES)
