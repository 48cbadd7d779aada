"""Images in a column of Parquet, as data sets for machine learning keep them.

A column of bytes, or one of structures that hold them as `bytes`, which is how Hugging Face writes
images. Read are a few mebibytes of rows at a time, in their order, however long a row group is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from fercli.names import safe_name
from fercli.prediction.writers import import_pyarrow

__all__ = ["ColumnError", "ColumnImage", "read_column"]

_BATCH_BYTES: Final = 8 << 20
"""Of a column that are held at a time, by the average of its row group."""
_MOST_ROWS: Final = 1024
_BUFFER_BYTES: Final = 1 << 20
"""Of a column that are read from the file at a time."""
_MOST_EXPANSION: Final = 1000
_FREE_BYTES: Final = 64 << 20
"""As in an archive: what a row group may unpack to, whatever its size."""
_CHILD: Final = "bytes"
_SHOWN: Final = 20


class ColumnError(Exception):
    """A file of Parquet has no column of images, or more than one."""


@dataclass(frozen=True)
class ColumnImage:
    """A row's image."""

    number: int
    """Of the row in its file, from 0."""
    content: bytes | None
    """The image; None where the row has none."""
    reason: str = ""
    """Why it has none."""


def read_column(stream: IO[bytes], column: str | None) -> Iterator[ColumnImage]:
    """Yield the images of a file of Parquet, row by row.

    Args:
        stream: The file; it is sought in.
        column: Which column; None for the only one that holds bytes.

    Raises:
        ColumnError: There is no such column, there are several, or it unpacks to far too much.
        DependencyMissingError: There is no pyarrow.
        ValueError: As `OSError` and `RuntimeError`: the file is damaged.
    """
    arrow = import_pyarrow()
    with arrow.parquet.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        name, is_struct = _choose_column(arrow, file.schema_arrow, column)
        at = 0
        for group in range(file.num_row_groups):
            n_rows = _count_rows(file.metadata.row_group(group), name)
            batches = file.iter_batches(
                batch_size=n_rows, row_groups=[group], columns=[name], use_threads=False
            )
            for batch in batches:
                yield from _read_batch(batch.column(0), at, is_struct=is_struct)
                at += batch.num_rows


def _choose_column(
    arrow: Any,  # noqa: ANN401  # untyped library
    schema: Any,  # noqa: ANN401  # as above
    column: str | None,
) -> tuple[str, bool]:
    """Return the column of images, and whether it is one of structures."""
    found = {one.name: _hold_bytes(arrow, one.type) for one in schema}
    fitting = [name for name, fits in found.items() if fits]
    shown = ", ".join(map(safe_name, list(found)[:_SHOWN]))
    if column is not None:
        if column in fitting and schema.names.count(column) == 1:
            return column, bool(arrow.types.is_struct(schema.field(column).type))
        what = "holds no bytes" if column in found else "is not among its columns"
        message = f"{column!r} {what}: {shown}"
        raise ColumnError(message)
    if not fitting:
        message = f"it has no column of bytes; its columns: {shown}"
        raise ColumnError(message)
    if len(fitting) > 1:
        several = ", ".join(map(safe_name, fitting[:_SHOWN]))
        message = f"several columns hold bytes: {several}; --image-column chooses one"
        raise ColumnError(message)
    return fitting[0], bool(arrow.types.is_struct(schema.field(fitting[0]).type))


def _hold_bytes(arrow: Any, kind: Any) -> bool:  # noqa: ANN401  # untyped library
    types = arrow.types
    if types.is_struct(kind):
        index = kind.get_field_index(_CHILD)
        return index >= 0 and _hold_bytes(arrow, kind.field(index).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _count_rows(group: Any, name: str) -> int:  # noqa: ANN401  # untyped library
    """Return how many rows of a group are read at a time.

    Raises:
        ColumnError: Its column says that it unpacks to far too much.
    """
    every = [group.column(index) for index in range(group.num_columns)]
    parts = [one for one in every if f"{one.path_in_schema}.".startswith(f"{name}.")]
    n_bytes: int = sum(one.total_uncompressed_size for one in parts)
    if n_bytes > max(
        _FREE_BYTES, _MOST_EXPANSION * sum(one.total_compressed_size for one in parts)
    ):
        message = "it unpacks to far more than such a file should"
        raise ColumnError(message)
    average: int = n_bytes // max(1, group.num_rows)
    return max(1, min(_MOST_ROWS, _BATCH_BYTES // max(1, average)))


def _read_batch(
    images: Any,  # noqa: ANN401  # untyped library
    at: int,
    *,
    is_struct: bool,
) -> Iterator[ColumnImage]:
    for number, image in enumerate(images, start=at):
        content = image[_CHILD] if is_struct and image.is_valid else image
        if image.is_valid and content.is_valid:
            yield ColumnImage(number, content.as_buffer().to_pybytes())
            continue
        reason = "the row has no image: null"
        if is_struct and image.is_valid and isinstance(path := image.as_py().get("path"), str):
            reason = f"the row has no image, only its path {path[:200]!r}"
        yield ColumnImage(number, None, reason)
