"""Which files of a folder may hold pictures: by their names, or by how they begin.

Whether one does is decided when it is read. Here the question is which files nobody meant: notes,
settings and databases that programs leave beside photos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fercli.images.decode import SUFFIXES
from fercli.images.video import HEAD_BYTES, begins_as_video

__all__ = ["HEAD_BYTES", "find_kind", "may_hold_pictures"]

_VIDEO_SUFFIXES: Final = frozenset(
    {
        ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".mpe", ".mts", ".m2ts",
        ".flv", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".vob",
    }
)  # fmt: skip
"""Names of videos; not `.ts`, which are programs more often."""
_RAW_SUFFIXES: Final = frozenset(
    {
        ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".rw2",
        ".orf", ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".mrw", ".raw", ".rwl",
    }
)  # fmt: skip
"""Names of what cameras save before it is a picture; each becomes a row that says so."""
_SIGNATURES: Final = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0",
    b"MM\0+",
)  # fmt: skip
_BITMAP_HEADS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})
"""Bytes of the second header of a BMP; its first begins with two letters, as words do."""


def may_hold_pictures(path: Path) -> bool:
    """Return whether a file has the name of an image or a video, or begins as one.

    What cannot be opened may; what is no file, a pipe for instance, may by its name alone.
    """
    if find_kind(path.name) is not None:
        return True
    try:
        if not path.is_file():
            # A link that leads nowhere raises.
            path.stat()
            return False
        with path.open("rb") as stream:
            return find_kind(path.name, stream.read(HEAD_BYTES)) is not None
    except (OSError, ValueError):
        return True


def find_kind(name: str, head: bytes = b"") -> str | None:
    """Return `image` or `video` for what a file is by its name, else by how it begins; None else.

    Args:
        name: Its name.
        head: Its first `HEAD_BYTES`, where the name says nothing.
    """
    suffix = Path(name).suffix.lower()
    if suffix in SUFFIXES or suffix in _RAW_SUFFIXES:
        return "image"
    if suffix in _VIDEO_SUFFIXES or begins_as_video(head):
        return "video"
    return "image" if _begins_as_image(head) else None


def _begins_as_image(head: bytes) -> bool:
    if head.startswith(_SIGNATURES) or head[4:8] == b"ftyp":
        return True
    if head.startswith(b"BM"):
        return int.from_bytes(head[14:18], "little") in _BITMAP_HEADS
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"
