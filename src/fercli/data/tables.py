"""Read FER2013's tables: `fer2013.csv`, `icml_face_data.csv`, `train.csv`.

Strict on purpose. The usual loaders let 256 wrap to 0, take -1, NaN and 1.5 and unknown labels;
here a row that is not 2304 whole numbers from 0 to 255 ends the reading with its number, and
nothing is kept.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final, TextIO

import numpy as np

from fercli.emotions import LABELS
from fercli.errors import DatasetLayoutError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SPLITS", "TABLE_NAMES", "read_table"]

TABLE_NAMES: Final = ("fer2013.csv", "icml_face_data.csv", "train.csv")
"""Names of tables in archives and folders; the first that is there is read."""
SPLITS: Final = ("train", "public", "private")
"""Splits of a table, in the order of `_USAGES`."""

MAX_ROWS: Final = 1_000_000
"""A table with more is refused before it fills the memory: archives can promise anything."""

_USAGES: Final = {"Training": 0, "PublicTest": 1, "PrivateTest": 2}
_N_PIXELS: Final = 48 * 48
_MAX_LINE: Final = 100_000
"""Characters; a row of FER2013 has at most 9,300."""
_DIGITS_AND_BLANKS: Final = bytes(range(ord("0"), ord("9") + 1)) + b" "


def read_table(
    stream: IO[bytes], name: str, on_row: Callable[[int], None]
) -> dict[str, NDArray[Any]]:
    """Read a table into arrays.

    Args:
        stream: The file's bytes, uncompressed: UTF-8 with or without a byte order mark, LF or
            CRLF. It is closed at the end.
        name: The file's name, for messages.
        on_row: Called with the number of rows read, now and then.

    Returns:
        `images` uint8 `[N, 48, 48]`, `labels` uint8 `[N]` (indices into `emotions.LABELS`),
        `splits` uint8 `[N]` (indices into `SPLITS`), `source_row` int32 `[N]`.

    Raises:
        DatasetLayoutError: A row is malformed; the message has the file, the row (the header is
            row 1) and the reason.
    """
    images: list[NDArray[np.uint8]] = []
    labels = bytearray()
    splits = bytearray()
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        rows = enumerate(_read_rows(text, name), start=1)
        columns = _find_columns(next(rows, (1, None))[1], name)
        for number, row in rows:
            try:
                label, split, pixels = _parse_row(row, columns)
            except _RowError as reason:
                message = f"{name}, row {number}: {reason}"
                hint = "nothing was written; fix or remove the row"
                raise DatasetLayoutError(message, hint=hint) from None
            if len(labels) >= MAX_ROWS:
                message = f"{name} has more than {MAX_ROWS:,} rows"
                raise DatasetLayoutError(message, hint="nothing was written")
            labels.append(label)
            splits.append(split)
            images.append(pixels)
            if len(labels) % 500 == 0:
                on_row(len(labels))
        on_row(len(labels))
    if not images:
        message = f"{name} has a header but no rows"
        raise DatasetLayoutError(message)
    return {
        "images": np.stack(images).reshape(-1, 48, 48),
        "labels": np.frombuffer(bytes(labels), dtype=np.uint8),
        "splits": np.frombuffer(bytes(splits), dtype=np.uint8),
        "source_row": np.arange(len(labels), dtype=np.int32),
    }


class _RowError(Exception):
    """Why a row is refused."""


def _read_rows(text: TextIO, name: str) -> Iterator[list[str]]:
    """Yield the fields of every row, reading problems turned into ours."""
    reader = csv.reader(_read_lines(text), strict=True)
    try:
        yield from reader
    except (csv.Error, UnicodeDecodeError, EOFError, OSError) as reason:
        message = f"{name}, row {max(1, reader.line_num)}: cannot be read ({reason})"
        raise DatasetLayoutError(message, hint="nothing was written") from reason


def _read_lines(text: TextIO) -> Iterator[str]:
    """Yield lines; one that does not end is refused before it fills the memory."""
    while line := text.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            message = f"a line is longer than {_MAX_LINE:,} characters"
            raise csv.Error(message)
        yield line


def _find_columns(header: list[str] | None, name: str) -> tuple[int, int, int | None]:
    """Return the positions of emotion, pixels and Usage (None when there is none)."""
    # icml_face_data.csv has them in another order, two with a leading blank.
    names = [column.strip().lower() for column in header or []]
    missing = [column for column in ("emotion", "pixels") if names.count(column) != 1]
    if missing or names.count("usage") > 1:
        found = ", ".join(repr(column.strip()[:40]) for column in (header or [])[:5]) or "nothing"
        what = " and ".join(missing) or "one Usage"
        message = f"{name}: the first row must name the columns, including {what}; it has {found}"
        raise DatasetLayoutError(message, hint="FER2013's columns are emotion, pixels, Usage")
    usage = names.index("usage") if "usage" in names else None
    return names.index("emotion"), names.index("pixels"), usage


def _parse_row(
    row: list[str], columns: tuple[int, int, int | None]
) -> tuple[int, int, NDArray[np.uint8]]:
    emotion, pixels, usage = columns
    if len(row) <= max(emotion, pixels, usage or 0):
        message = f"it has {len(row)} fields"
        raise _RowError(message)
    label = row[emotion].strip()
    if not (label.isascii() and label.isdigit() and len(label) < 4 and int(label) < len(LABELS)):
        message = f"unknown label {row[emotion][:20]!r}; labels are 0 to {len(LABELS) - 1}"
        raise _RowError(message)
    split = _USAGES.get(row[usage].strip()) if usage is not None else 0
    if split is None:
        known = ", ".join(_USAGES)
        message = f"unknown Usage {row[usage or 0][:20]!r}; it must be one of {known}"
        raise _RowError(message)
    return int(label), split, _parse_pixels(row[pixels])


def _parse_pixels(text: str) -> NDArray[np.uint8]:
    """Return [2304] from numbers separated by blanks."""
    stray = text.encode("utf-8", "replace").translate(None, _DIGITS_AND_BLANKS)
    if stray:
        shown = stray[:10].decode("utf-8", "replace")
        message = f"pixels must be whole numbers from 0 to 255, found {shown!r}"
        raise _RowError(message)
    # A ninth of the time that floats take. Numbers beyond int64 become its largest, here as on
    # every system that has C's `strtoll`, and none can be negative.
    values = np.fromstring(text, dtype=np.int64, sep=" ") if text.strip() else np.empty(0, np.int64)
    if len(values) != _N_PIXELS:
        message = f"{len(values)} pixels instead of {_N_PIXELS}"
        raise _RowError(message)
    if values.max() > 255:
        largest = max(map(float, text.split()))
        message = f"the pixel value {largest:g} is outside 0-255"
        raise _RowError(message)
    return values.astype(np.uint8)
