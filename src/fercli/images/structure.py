"""What an image file is made of, counted before a codec sees it.

Small files can hold a great deal: a hundred thousand empty frames, a thousand scans that each pass
over all pixels, lists of millions of strips. A codec works through them all before it gives a
pixel, some in quadratic time, and has no option that ends it. Counting costs a step for each part,
and a byte of a JPEG about a nanosecond.

Source:
    "TIFF Revision 6.0", 1992, section 2, and "The BigTIFF File Format", libtiff; ITU-T T.81, 1992,
    annex B.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import Final

from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images.boxes import read_container
from fercli.images.limits import refuse_pixels

__all__ = ["MAX_FRAMES", "Structure", "check_frames", "check_scans", "check_structure"]

MAX_FRAMES: Final = 10_000
"""Of one file; all but the first are only counted."""
_MAX_SCANS: Final = 100
"""Of a JPEG, as many as jpegtran writes; encoders write about ten."""
_MAX_SCANNED_PIXELS: Final = 2_500_000_000
"""Scans of a JPEG times its pixels; an empty scan of a megapixel takes a millisecond."""
_MAX_SEGMENTS: Final = 100_000
"""Of a JPEG; a large color profile and metadata are some hundreds."""
_MAX_ENTRIES: Final = 65_535
"""Of a TIFF's frame; more cannot be said in any but a BigTIFF."""
_MAX_NUMBERS: Final = 1 << 18
"""In one entry; a strip or tile costs Pillow 10 µs, and 65,535 rows in four planes fit."""
_ORDERS: Final = {b"II": "<", b"MM": ">"}
_TIFF_VERSIONS: Final = frozenset({b"\x2a\x00", b"\x00\x2a", b"\x2b\x00", b"\x00\x2b"})
_BYTE_STRINGS: Final = frozenset({1, 2, 7})
"""Types of a TIFF's values that stay bytes; others become a number each."""
_SHORT: Final = 3
_TILE_SIDES: Final = frozenset({322, 323})
_PHOTOMETRIC: Final = 262
_SENSOR: Final = frozenset({32803, 34892})
"""Values of a sensor, before they are colors (TIFF/EP, 2001; "DNG Specification", 1.7)."""
_SUBFILE: Final = 254
_SUBIFDS: Final = 330
_DNG_VERSION: Final = 50706
_RAW: Final = (
    b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM",
    b"II\x1a\0\0\0HEAPCCDR",
)  # fmt: skip
"""How files of cameras begin that are not built as a TIFF is."""
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
_MARKER_IN_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_BARE_MARKERS: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length: restarts, the image's start, and a reserved one."""


@dataclass(frozen=True)
class Structure:
    """What was counted in a file."""

    frames: int | None = None
    """Frames of a TIFF; None for others, whose codecs count."""
    scans: int = 1
    """Scans of a JPEG; with more than one the codec keeps all coefficients."""
    kind: str | None = None
    """`AVIF` or `HEIC` for these two; None for others, which Pillow tells apart."""
    tile_pixels: int = 0
    """Pixels of a TIFF's tile, all of which are decoded, whatever the image's size is."""


def check_structure(content: bytes, max_pixels: int) -> Structure:
    """Return what a file is made of.

    Args:
        content: The file; of other formats than JPEG, TIFF, AVIF and HEIC nothing is looked at.
        max_pixels: Largest image or tile that is decoded.

    Raises:
        ImageDecodeError: It is a camera's raw file, or an AVIF or HEIC that is damaged.
        ImageRefusedError: There is too much of something.
    """
    if content[4:8] == b"ftyp":
        if content[8:12] == b"crx ":
            raise _refuse_raw()
        found = read_container(content, max_pixels)
        check_frames(found.frames)
        return Structure(kind=found.kind)
    if content.startswith(_RAW):
        raise _refuse_raw()
    if content.startswith(b"\xff\xd8\xff"):
        return Structure(scans=_count_scans(content))
    if content[:2] in _ORDERS and content[2:4] in _TIFF_VERSIONS:
        return _read_tiff(content, max_pixels)
    return Structure()


def check_frames(frames: int) -> None:
    """Refuse a file of too many frames.

    Raises:
        ImageRefusedError: It is one.
    """
    if frames > MAX_FRAMES:
        message = f"it has more than {MAX_FRAMES:,} frames"
        raise ImageRefusedError(message)


def check_scans(scans: int, n_pixels: int) -> None:
    """Refuse a JPEG whose codec would pass over its pixels too often.

    Raises:
        ImageRefusedError: It would.
    """
    if scans * n_pixels > _MAX_SCANNED_PIXELS:
        message = f"a JPEG of {scans} scans of {n_pixels} pixels"
        raise ImageRefusedError(message)


def _count_scans(content: bytes) -> int:
    """Return how often a JPEG passes over its pixels; one that is cut short passes as it is."""
    scans = segments = 0
    at = 2
    pattern = _MARKER
    while found := pattern.search(content, at):
        at = found.end()
        marker = content[at - 1]
        if marker == 0xD9:
            break
        segments += 1
        scans += marker == 0xDA
        if scans > _MAX_SCANS or segments > _MAX_SEGMENTS:
            most, what = (_MAX_SCANS, "scans") if scans > _MAX_SCANS else (_MAX_SEGMENTS, "parts")
            message = f"a JPEG of more than {most:,} {what}"
            raise ImageRefusedError(message)
        if marker not in _BARE_MARKERS:
            at += int.from_bytes(content[at : at + 2], "big")
        # Only after a scan's header do pixels follow, with restarts among them.
        pattern = _MARKER_IN_SCAN if marker == 0xDA else _MARKER
    return scans


def _read_tiff(content: bytes, max_pixels: int) -> Structure:
    """Follow a TIFF's chain of frames, and look at what the first one lists."""
    if content[8:10] == b"CR" and content[:2] == b"II":
        raise _refuse_raw()
    order = _ORDERS[content[:2]]
    # Pillow reads no BigTIFF in the other order.
    is_big = content[:3] == b"II\x2b"
    head, link, entry = (
        (struct.Struct(f"{order}{parts}") for parts in ("Q", "Q", "HHQQ"))
        if is_big
        else (struct.Struct(f"{order}{parts}") for parts in ("H", "L", "HHLL"))
    )
    seen: set[int] = set()
    tile_pixels = 0
    try:
        (at,) = link.unpack_from(content, 8 if is_big else 4)
        while at and at not in seen:
            seen.add(at)
            check_frames(len(seen))
            (n_entries,) = head.unpack_from(content, at)
            first = at + head.size
            if len(seen) == 1:
                tile_pixels = _check_entries(content, entry, first, n_entries)
            (at,) = link.unpack_from(content, first + n_entries * entry.size)
    except (struct.error, OverflowError):
        # Cut short; the codec says so, where it concerns the first frame.
        pass
    if tile_pixels > max_pixels:
        what = f"a tile of {tile_pixels} pixels"
        raise refuse_pixels(what, tile_pixels, max_pixels)
    return Structure(frames=max(1, len(seen)), tile_pixels=tile_pixels)


def _check_entries(content: bytes, entry: struct.Struct, first: int, n_entries: int) -> int:
    """Refuse a frame with too long lists, and return the pixels of its tiles, 0 without tiles."""
    if n_entries > _MAX_ENTRIES:
        message = f"a TIFF of more than {_MAX_ENTRIES:,} entries"
        raise ImageRefusedError(message)
    sides = dict.fromkeys(_TILE_SIDES, 0)
    told: dict[int, int] = {}
    for index in range(n_entries):
        tag, kind, count, value = entry.unpack_from(content, first + index * entry.size)
        if kind not in _BYTE_STRINGS and count > _MAX_NUMBERS:
            message = f"a TIFF with a list of more than {_MAX_NUMBERS:,} numbers"
            raise ImageRefusedError(message)
        if tag in sides:
            sides[tag] = max(sides[tag], _read_side(entry, kind, value))
        told[tag] = _read_side(entry, kind, value)
    # Its first frame is a preview of what lies beside, or the sensor's own values.
    is_preview = told.get(_SUBFILE, 0) & 1 and _SUBIFDS in told
    if is_preview or _DNG_VERSION in told or told.get(_PHOTOMETRIC) in _SENSOR:
        raise _refuse_raw()
    return math.prod(sides.values())


def _refuse_raw() -> ImageDecodeError:
    message = "a camera's raw file: develop it to JPEG or PNG first"
    return ImageDecodeError(message)


def _read_side(entry: struct.Struct, kind: int, value: int) -> int:
    """Return a side, which may have two of the bytes of an entry's value, the first two."""
    if kind != _SHORT:
        return value
    return value & 0xFFFF if entry.format.startswith("<") else value >> 16
