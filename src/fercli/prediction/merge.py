"""The parts of a sharded prediction, checked and put together in the order of one process.

Everything is looked at before the first row is written: which parts there are, what their side
files say, the digest of every part. Rows are then copied as they stand, never parsed and written
anew, so that the file is byte for byte what one process writes. Of each part a block is held, and
no file stays open: memory and open files do not grow with the rows.
"""

from __future__ import annotations

import contextlib
import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from fercli.errors import ConfigError, DataError, InputNotFoundError
from fercli.prediction.parts import (
    Part,
    PartRecord,
    find_parts,
    read_lines,
    read_order,
    read_record,
)
from fercli.prediction.shards import Shard
from fercli.prediction.writers import ROWS_AT_ONCE, import_pyarrow
from fercli.results import MergeResult
from fercli.storage import check_apart, check_output, digest_file, name_partial, open_partial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

__all__ = ["merge_parts"]

_SHOWN: Final = 5
"""Problems of a kind that are named one by one."""
_AGAIN: Final = "predict that shard again, with --force"


def merge_parts(
    folder: str | PathLike[str],
    output: str | PathLike[str],
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], object] | None = None,
) -> MergeResult:
    """Write the rows of all parts into one file, as one process would have written it.

    >>> import fercli
    >>> model = fercli.load("model.onnx")
    >>> for k in range(2):
    ...     rows = model.predict_files("face.png", shard=(k, 2))
    ...     _ = rows.save_part("parts", overwrite=True)
    >>> fercli.merge_parts("parts", "merged.jsonl", overwrite=True).n_rows
    1

    Args:
        folder: Where `fer predict --shard`, or `RowStream.save_part`, left the parts.
        output: The file; its ending is that of the parts.
        overwrite: Replace a file that is there.
        on_progress: Called with how many inputs are done, and how many there are.

    Raises:
        InputNotFoundError: There are no parts, or some are missing.
        DataError: Parts are torn, overlap, or are of other inputs, models, options or versions than
            the first; every difference is named.
        ConfigError: The output has another ending, or is one of the parts.
        OutputExistsError: It is there, and `overwrite` is not set.
        OutputBusyError: Another process writes it.
        DependencyMissingError: Parquet without pyarrow.
    """
    source, target = Path(folder), Path(output)
    parts = _open_parts(source)
    kind = parts[0].part.kind
    if target.suffix.lower() != f".{kind}":
        message = f"the parts are {kind}, and {target} does not end in .{kind}"
        raise ConfigError(message, hint=f"--output {target.with_suffix(f'.{kind}').name}")
    check_output(target, force=overwrite)
    files = [path for one in parts for path in (one.part.path, one.part.side)]
    check_apart([target, name_partial(target)], files)
    _check_agreement(parts)
    _check_bytes(parts)
    total = parts[0].record.n_listed

    def on_done(done: int) -> None:
        if on_progress is not None:
            on_progress(done, total)

    with open_partial(target) as stream, contextlib.ExitStack() as unless_whole:
        stream.truncate(0)
        # Half a merge is nothing that anybody would go on with.
        unless_whole.callback(stream.truncate, 0)
        n_rows = _copy_rows(parts, kind, stream, on_done)
        # Another process may have written it meanwhile.
        check_output(target, force=overwrite)
        unless_whole.pop_all()
    counts = {
        name: sum(one.record.counts.get(name, 0) for one in parts)
        for name in ("n_inputs", "n_frames", "n_faces", "n_no_face", "n_skipped")
    }
    origin = parts[0].record.origin
    return MergeResult(
        output=str(target), n_parts=len(parts), n_rows=n_rows, **counts,
        size_bytes=target.stat().st_size, model=origin.model, model_sha256=origin.model_sha256,
        labels=list(origin.labels), fercli=origin.versions.get("fercli", "-"),
    )  # fmt: skip


@dataclass(frozen=True)
class _Opened:
    """A part and what its side file says."""

    part: Part
    record: PartRecord

    @property
    def name(self) -> str:
        return self.part.path.name


def _open_parts(folder: Path) -> list[_Opened]:
    """Return every part of a folder, in order.

    Raises:
        InputNotFoundError: There is none, or some are missing or not finished.
        DataError: There are parts of two predictions, or a side file is damaged.
    """
    if not folder.is_dir():
        message = f"there is no folder {folder}"
        raise InputNotFoundError(message)
    found = find_parts(folder)
    if not found:
        message = f"there are no parts in {folder}"
        hint = "fer predict … --shard K/N --output DIR makes them"
        raise InputNotFoundError(message, hint=hint)
    first, shard, kind = found[0]
    for name, other, its_kind in found:
        if (other.count, its_kind) != (shard.count, kind):
            message = f"{folder} holds {first} and {name}, which do not belong together"
            raise DataError(message, hint="keep each prediction's parts in a separate folder")
    expected = [
        Part(folder=folder, shard=Shard(index, shard.count), kind=kind)
        for index in range(shard.count)
    ]
    there = {name for name, _, _ in found}
    problems = [
        f"shard {part.shard} is missing"
        if part.path.name not in there
        else f"{part.path.name} has no {part.side.name}: its shard is not finished"
        for part in expected
        if part.path.name not in there or not part.side.is_file()
    ]
    if problems:
        message = _join(problems)
        raise InputNotFoundError(message, hint="predict those shards, with --resume")
    return [_Opened(part, read_record(part.side)) for part in expected]


def _check_agreement(parts: Sequence[_Opened]) -> None:
    """Refuse parts that are not of one prediction.

    Raises:
        DataError: They are not.
    """
    problems: list[str] = []
    usual = _find_usual(parts)
    for one in parts:
        record, wanted = one.record, usual.record
        if (record.shard, record.kind) != (one.part.shard, one.part.kind):
            problems.append(f"{one.name} is shard {record.shard} in its side file: they overlap")
            continue
        differences = record.origin.list_differences(wanted.origin)
        if record.n_listed != wanted.n_listed:
            differences.append(f"a list of {record.n_listed:,} inputs, not {wanted.n_listed:,}")
        elif record.list_sha256 != wanted.list_sha256:
            differences.append(f"a list of {record.n_listed:,} inputs, with others among them")
        if differences:
            problems.append(f"{one.name} differs from {usual.name}: {'; '.join(differences)}")
    if problems:
        hint = "predict the shards that differ again; --resume keeps those that are right"
        raise DataError(_join(problems), hint=hint)
    n_own, n_listed = sum(one.record.n_own for one in parts), usual.record.n_listed
    if n_own != n_listed:
        message = f"the parts cover {n_own:,} inputs, but the list has {n_listed:,}"
        raise DataError(message, hint="predict all shards again")


def _find_usual(parts: Sequence[_Opened]) -> _Opened:
    """Return a part that most are like: what differs from it is likelier wrong than it."""
    keys = [
        json.dumps([asdict(one.record.origin), one.record.n_listed, one.record.list_sha256])
        for one in parts
    ]
    return parts[keys.index(Counter(keys).most_common(1)[0][0])]


def _check_bytes(parts: Sequence[_Opened]) -> None:
    """Refuse parts that are not what their side files say.

    Raises:
        DataError: One is cut off, or its bytes are others.
    """
    for one in parts:
        size = one.part.path.stat().st_size
        if size != one.record.n_bytes:
            message = f"{one.part.path} has {size:,} bytes, but was written with "
            message += f"{one.record.n_bytes:,}"
            raise DataError(message, hint=_AGAIN)
        if digest_file(one.part.path) != one.record.sha256:
            message = f"{one.part.path} is damaged: its bytes do not match their digest"
            raise DataError(message, hint=_AGAIN)
        for _ in read_order(one.part.side, one.record):
            pass


def _copy_rows(
    parts: Sequence[_Opened], kind: str, stream: BinaryIO, on_done: Callable[[int], object]
) -> int:
    """Write all rows in the order of the list; return how many there are."""
    orders = [_read_places(index, one) for index, one in enumerate(parts)]
    copier = _TableCopier if kind == "parquet" else _TextCopier
    latest, total = -1, 0
    with contextlib.closing(copier([one.part.path for one in parts], kind, stream)) as rows:
        for position, index, n_rows in heapq.merge(*orders):
            if position <= latest:
                message = f"{parts[index].name} overlaps with another part"
                raise DataError(message, hint="predict all shards again")
            latest = position
            rows.copy(index, n_rows)
            total += n_rows
            if position % 1000 == 0:
                on_done(position)
        rows.check_end()
        rows.flush()
    on_done(parts[0].record.n_listed)
    return total


def _read_places(index: int, one: _Opened) -> Iterator[tuple[int, int, int]]:
    """Yield position, part and number of rows of each input of a part."""
    for position, n_rows in read_order(one.part.side, one.record):
        yield position, index, n_rows


class _TextCopier:
    """Copies records of JSON Lines or CSV; one header stays.

    Args:
        paths: The parts.
        kind: `jsonl` or `csv`.
        stream: Where to.

    Raises:
        DataError: Headers differ.
    """

    def __init__(self, paths: list[Path], kind: str, stream: BinaryIO) -> None:
        self._stream = stream
        self._paths = paths
        self._records = [_read_records(path, is_csv=kind == "csv") for path in paths]
        if kind == "csv":
            headers = [next(records, b"") for records in self._records]
            for path, header in zip(paths, headers, strict=True):
                if header != headers[0]:
                    message = f"{path} has other columns than {paths[0]}"
                    raise DataError(message, hint=_AGAIN)
            stream.write(headers[0])

    def copy(self, index: int, n_rows: int) -> None:
        """Copy the next rows of a part."""
        for _ in range(n_rows):
            record = next(self._records[index], None)
            if record is None:
                raise _refuse_count(self._paths[index])
            self._stream.write(record)

    def check_end(self) -> None:
        """Refuse rows that nobody counted."""
        for path, records in zip(self._paths, self._records, strict=True):
            if next(records, None) is not None:
                raise _refuse_count(path)

    def flush(self) -> None:
        """Do nothing; every row was written."""

    def close(self) -> None:
        """Do nothing; no file is open."""


class _TableCopier:
    """Copies rows of Parquet files, in row groups as `open_writer` makes them.

    Args:
        paths: The parts.
        kind: `parquet`.
        stream: Where to.

    Raises:
        DependencyMissingError: There is no pyarrow.
        DataError: A part is no such file, or has other columns.
    """

    def __init__(self, paths: list[Path], kind: str, stream: BinaryIO) -> None:  # noqa: ARG002  # as the other copier
        self._arrow = import_pyarrow()
        self._paths = paths
        schema = self._read_schema(paths[0])
        for path in paths:
            if not self._read_schema(path).equals(schema):
                message = f"{path} has other columns than {paths[0]}"
                raise DataError(message, hint=_AGAIN)
        self._tables = [self._read_groups(path) for path in paths]
        self._current: list[Any] = [None] * len(paths)
        self._at = [0] * len(paths)
        self._held: list[Any] = []
        self._n_held = 0
        self._writer = self._arrow.parquet.ParquetWriter(stream, schema)

    def copy(self, index: int, n_rows: int) -> None:
        """Copy the next rows of a part."""
        while n_rows:
            table, at = self._current[index], self._at[index]
            if table is None or at == table.num_rows:
                self._current[index], self._at[index] = next(self._tables[index], None), 0
                if self._current[index] is None:
                    raise _refuse_count(self._paths[index])
                continue
            taken = min(n_rows, table.num_rows - at, ROWS_AT_ONCE - self._n_held)
            self._held.append(table.slice(at, taken))
            self._at[index] += taken
            self._n_held += taken
            n_rows -= taken
            if self._n_held == ROWS_AT_ONCE:
                self.flush()

    def check_end(self) -> None:
        """Refuse rows that nobody counted."""
        for index, path in enumerate(self._paths):
            table = self._current[index]
            is_left = table is not None and self._at[index] < table.num_rows
            if is_left or next(self._tables[index], None) is not None:
                raise _refuse_count(path)

    def flush(self) -> None:
        """Write what is held as a row group."""
        if self._held:
            table = self._arrow.concat_tables(self._held).combine_chunks()
            self._writer.write_table(table)
        self._held, self._n_held = [], 0

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()

    def _read_schema(self, path: Path) -> Any:  # noqa: ANN401  # untyped library
        with self._explain(path):
            return self._arrow.parquet.read_schema(path)

    @contextlib.contextmanager
    def _explain(self, path: Path) -> Iterator[None]:
        """Turn what pyarrow says of a damaged file into our error; the system's errors pass."""
        try:
            yield
        except (self._arrow.ArrowException, OSError, ValueError) as reason:
            # Of the last kind are names of columns that are no UTF-8.
            if getattr(reason, "errno", None) is not None:
                raise
            message = f"{path} is not a readable Parquet file"
            raise DataError(message, hint=_AGAIN) from reason

    def _read_groups(self, path: Path) -> Iterator[Any]:
        """Yield a file's row groups; it is open only while one is read."""
        index, count = 0, 1
        while index < count:
            with self._explain(path), self._arrow.parquet.ParquetFile(path) as file:
                count = file.num_row_groups
                table = file.read_row_group(index) if count else None
            if table is not None:
                yield table
            index += 1


def _read_records(path: Path, *, is_csv: bool) -> Iterator[bytes]:
    """Yield records with their ends; one of a CSV goes on over lines within quotes."""
    if not is_csv:
        yield from read_lines(path)
        return
    waiting = b""
    for line in read_lines(path):
        waiting += line
        if waiting.count(b'"') % 2 == 0:
            yield waiting
            waiting = b""


def _refuse_count(path: Path) -> DataError:
    message = f"{path} does not have as many rows as its side file says"
    return DataError(message, hint=_AGAIN)


def _join(problems: list[str]) -> str:
    more = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")
