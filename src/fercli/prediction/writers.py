"""Rows of predictions as JSON Lines, CSV or Parquet, full precision.

CSV uses the standard library's writer: no data frame is needed to write lines one by one, and
`fer predict` stays light.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final

from fercli.dependencies import explain_missing
from fercli.errors import DataError
from fercli.names import disarm_cell
from fercli.results import PredictionRow
from fercli.storage import wrap_text

if TYPE_CHECKING:
    from types import ModuleType

    from fercli.prediction.clip_rows import ClipReader

__all__ = [
    "ROWS_AT_ONCE",
    "RowLayout",
    "Write",
    "append_rows",
    "are_rows",
    "build_schema",
    "import_pyarrow",
    "is_parquet_of_rows",
    "key_path",
    "open_writer",
    "read_written",
]

_BOX: Final = ("box_x", "box_y", "box_width", "box_height")
_PREFIXES: Final = {"probabilities": "p_", "smooth_probabilities": "s_"}
ROWS_AT_ONCE: Final = 8192
"""Rows in a row group of Parquet, which is what is held of a file."""

_PARQUET: Final = b"PAR1"
_MARK: Final = "\ufeff"
"""At the head of a file it tells spreadsheets that the file is UTF-8."""
_DIGITS: Final = 4
"""Of numbers in a CSV for spreadsheets."""
_SMOOTH: Final = ("smooth_label", "smooth_confidence", "smooth_probabilities")

Write = Callable[[PredictionRow], None]


@dataclass(frozen=True)
class RowLayout:
    """Which columns rows have, in every format."""

    labels: tuple[str, ...]
    """The K labels of the model, one column `p_<label>` each."""
    smooth: bool = False
    """Whether there are smoothed answers, `s_<label>` among them."""
    model: str | None = None
    """What rows call the model; those of another are not gone on with."""
    for_excel: bool = False
    """Whether a CSV is for spreadsheets: marked as UTF-8, numbers rounded."""

    @cached_property
    def columns(self) -> list[str]:
        """The columns of a table of rows."""
        columns: list[str] = []
        for name in self._fields:
            if name == "box":
                columns.extend(_BOX)
            elif name in _PREFIXES:
                columns.extend(f"{_PREFIXES[name]}{label}" for label in self.labels)
            else:
                columns.append(name)
        return columns

    @cached_property
    def _fields(self) -> list[str]:
        every = PredictionRow.__dataclass_fields__
        return [name for name in every if self.smooth or name not in _SMOOTH]

    def flatten(self, row: PredictionRow) -> dict[str, Any]:
        """Return a row as a table has it: a value per column, None where there is none."""
        values = self.select(row)
        values.update(zip(_BOX, values.pop("box") or (None,) * len(_BOX), strict=True))
        for name, prefix in _PREFIXES.items():
            if name in values:
                given = values.pop(name) or {}
                values.update({f"{prefix}{label}": given.get(label) for label in self.labels})
        # A name that is not UTF-8 would end the writing.
        values["path"] = key_path(values["path"])
        return values

    def select(self, row: PredictionRow) -> dict[str, Any]:
        """Return a row's fields by name, those of smoothing where they are wanted."""
        return {name: getattr(row, name) for name in self._fields}


@contextlib.contextmanager
def open_writer(
    kind: str, stream: IO[Any], layout: RowLayout, *, header: bool = True
) -> Iterator[Write]:
    """Yield a function that writes a row to a stream.

    Args:
        kind: `jsonl`, `csv` or `parquet`.
        stream: Text, opened with `newline=""`; binary for `parquet`.
        layout: Which columns there are.
        header: Whether a CSV begins with its header; it is written at once.

    Raises:
        DependencyMissingError: Parquet without pyarrow.
    """
    if kind == "parquet":
        with _open_parquet(stream, layout) as write:
            yield write
    elif kind == "csv":
        yield _start_csv(stream, layout, header=header)
    else:
        # Escapes keep names with line breaks, or bytes that are not UTF-8, on their line.
        yield lambda row: _write_json_line(stream, layout.select(row))


@contextlib.contextmanager
def append_rows(
    kind: str, stream: BinaryIO, layout: RowLayout
) -> Iterator[tuple[Write, Callable[[], None]]]:
    """Yield what writes a row behind what a file holds, and what hands the rows to the file.

    Args:
        kind: `jsonl`, `csv` or `parquet`.
        stream: The file, open at its end; a CSV without anything begins with its header.
        layout: Which columns there are.

    Raises:
        DependencyMissingError: Parquet without pyarrow.
    """
    if kind == "parquet":
        with open_writer(kind, stream, layout) as write:
            yield write, lambda: None
        return
    header = stream.tell() == 0
    with wrap_text(stream) as text, open_writer(kind, text, layout, header=header) as write:
        yield write, text.flush


def are_rows(head: bytes) -> bool:
    """Return whether a file that begins so holds rows that `open_writer` wrote, or nothing yet."""
    starts = (b"path,", _MARK.encode() + b"path,", b'{"path": ')
    return not head or head.startswith(starts)


def is_parquet_of_rows(stream: BinaryIO, head: bytes) -> bool:
    """Return whether a file is Parquet with the columns that `open_writer` writes.

    Args:
        stream: The file.
        head: How it begins.

    Raises:
        OSError: It cannot be read.
    """
    if not head.startswith(_PARQUET):
        return False
    # The footer, which names the columns, ends with its length and the mark again.
    n_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, n_bytes - 8))
    length = int.from_bytes(stream.read(4), "little")
    stream.seek(max(0, n_bytes - 8 - length))
    footer = stream.read(length)
    return all(name in footer for name in (b"status", b"confidence", b"detector", b"box_x"))


def key_path(path: str) -> str:
    """Return a path as every format can hold it: bytes that are not UTF-8 as their codes."""
    return path.encode("utf-8", "backslashreplace").decode()


def read_written(
    path: Path,
    kind: str,
    layout: RowLayout,
    *,
    finished: bool,
    clip: ClipReader | None = None,
) -> tuple[set[str], int]:
    """Return which inputs have all their rows in a file, and how many bytes those rows take.

    Args:
        path: Rows that `open_writer` wrote, of `jsonl` or `csv`; a torn last line is overlooked.
        kind: Which of them.
        layout: Which columns there should be.
        finished: Whether the file was finished; else the last input may have had more faces, and
            its rows do not count.
        clip: Reads how far the last input is, if it is a video: the rows of its frames count
            then, but for the last frame's.

    Returns:
        Paths, as `key_path` gives them, and the position where rows go on.

    Raises:
        DataError: There is something else in the file, or rows of a model with other labels,
            or with other columns.
    """
    read = _read_csv if kind == "csv" else _read_json_lines
    done: set[str] = set()
    latest: str | None = None
    start = end = 0
    with path.open("rb") as stream:
        for name, next_end, values in read(path, stream, layout):
            if name != latest:
                if latest:
                    done.add(latest)
                latest, start = name, end
            if clip is not None and name:
                _follow_clip(path, clip, name, values, end)
            end = next_end
    if finished or not latest:
        start = end
        done.update([latest] if latest else [])
    elif clip is not None and clip.so_far is not None:
        start = clip.end
    return done, start


def _follow_clip(
    path: Path, clip: ClipReader, name: str, values: Mapping[str, Any], start: int
) -> None:
    try:
        clip.add(name, values, start)
    except (ValueError, TypeError, KeyError) as reason:
        raise _refuse(path, 1 + _count_lines(path, start)) from reason


def _count_lines(path: Path, end: int) -> int:
    with path.open("rb") as stream:
        return stream.read(end).count(b"\n")


def import_pyarrow() -> ModuleType:
    """Return pyarrow.

    Raises:
        DependencyMissingError: It is not there.
    """
    try:
        import pyarrow  # noqa: ICN001  # under its own name, here alone
        import pyarrow.parquet
    except ImportError as reason:
        title = "pyarrow, which reads and writes Parquet,"
        missing = explain_missing("pyarrow", reason, title=title)
        raise missing from reason
    module: ModuleType = pyarrow
    return module


def build_schema(layout: RowLayout) -> Any:  # noqa: ANN401  # untyped library
    """Return the `pyarrow.Schema` of rows.

    Raises:
        DependencyMissingError: There is no pyarrow.
    """
    arrow = import_pyarrow()
    whole = ("face", "frames", "frame", "track", *_BOX, "image_width", "image_height")
    types = dict.fromkeys(whole, arrow.int32())
    real = [f"{prefix}{label}" for prefix in _PREFIXES.values() for label in layout.labels]
    types |= dict.fromkeys(("confidence", "smooth_confidence", "time_s", *real), arrow.float64())
    return arrow.schema([(name, types.get(name, arrow.string())) for name in layout.columns])


def _write_json_line(stream: IO[str], values: dict[str, Any]) -> None:
    stream.write(json.dumps(values, ensure_ascii=True) + "\n")


def _start_csv(stream: IO[str], layout: RowLayout, *, header: bool) -> Write:
    writer = csv.DictWriter(stream, layout.columns, lineterminator="\n")
    adapt = _round_cells if layout.for_excel else dict[str, Any]
    if header:
        stream.write(_MARK if layout.for_excel else "")
        writer.writeheader()
    # The library quotes a lone carriage return from Python 3.13 on only.
    quoting = csv.DictWriter(stream, layout.columns, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(row: PredictionRow) -> None:
        (quoting if "\r" in row.path else writer).writerow(
            _disarm_cells(adapt(layout.flatten(row)))
        )

    return write


def _round_cells(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as a spreadsheet shows them."""
    return {
        name: round(value, _DIGITS) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _disarm_cells(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: disarm_cell(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


@contextlib.contextmanager
def _open_parquet(stream: IO[Any], layout: RowLayout) -> Iterator[Write]:
    arrow = import_pyarrow()
    schema = build_schema(layout)
    held: list[dict[str, Any]] = []
    with arrow.parquet.ParquetWriter(stream, schema) as writer:

        def write(row: PredictionRow) -> None:
            held.append(layout.flatten(row))
            if len(held) >= ROWS_AT_ONCE:
                flush()

        def flush() -> None:
            writer.write_table(arrow.Table.from_pylist(held, schema=schema))
            held.clear()

        yield write
        if held:
            flush()


def _read_json_lines(
    path: Path, stream: IO[bytes], layout: RowLayout
) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield the path of each row, where the row ends, and its fields."""
    end = 0
    for number, line in enumerate(_whole_lines(stream), start=1):
        try:
            row = json.loads(line)
            name, probabilities = row["path"], row["probabilities"]
            known = probabilities is None or list(probabilities) == list(layout.labels)
            known = known and ("smooth_label" in row) == layout.smooth
            model = row["model"]
        except (ValueError, KeyError, TypeError, RecursionError) as reason:
            raise _refuse(path, number) from reason
        if not known or not isinstance(name, str):
            raise _refuse(path, number)
        _check_model(path, model, layout)
        end += len(line)
        yield key_path(name), end, row


def _read_csv(
    path: Path, stream: IO[bytes], layout: RowLayout
) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield the path of each record, where the record ends, and its columns."""
    columns = [(_MARK if layout.for_excel else "") + layout.columns[0], *layout.columns[1:]]
    end = 0

    def decode() -> Iterator[str]:
        nonlocal end
        for line in _whole_lines(stream):
            end += len(line)
            yield line.decode("utf-8", "replace")

    records = csv.reader(decode(), strict=True)
    number = 0
    try:
        for number, record in enumerate(records):
            if len(record) != len(columns) or (number == 0 and record != columns):
                raise _refuse(path, number + 1)
            values = dict(zip(layout.columns, record, strict=True))
            yield _find_key(path, record, layout) if number else "", end, values
    except csv.Error as reason:
        # A name may hold a line break: the last record can be torn although its line is whole.
        if next(decode(), None) is not None:
            raise _refuse(path, number + 2) from reason


def _find_key(path: Path, record: list[str], layout: RowLayout) -> str:
    """Return which input a record is of; one of another model's is refused."""
    name, model = (record[at].removeprefix("'") for at in (0, -1))
    _check_model(path, model or None, layout)
    return name


def _check_model(path: Path, model: object, layout: RowLayout) -> None:
    """Refuse rows of another model: a file of both would look like one."""
    if model != layout.model:
        message = f"{path} holds rows of the model {model}, not of {layout.model}"
        hint = "resume with the same --model, or start over: --force without --resume"
        raise DataError(message, hint=hint)


def _whole_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines, but for a last one that was never finished."""
    return (line for line in stream if line.endswith(b"\n"))


def _refuse(path: Path, number: int) -> DataError:
    message = (
        f"line {number} of {path} is not a row of a model with these labels, or has other columns"
    )
    return DataError(message, hint="start over: --force without --resume")
