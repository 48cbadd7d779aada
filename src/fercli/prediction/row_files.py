"""A file that rows are written to: new, over another, or behind the rows that it holds.

It has its name once it is whole; until then it is `FILE.partial`, which one process at a time
writes, and with which an interrupted command is gone on.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fercli.errors import OutputExistsError, RunFailedError
from fercli.prediction.clip_rows import ClipReader, ClipSoFar
from fercli.prediction.writers import (
    RowLayout,
    Write,
    append_rows,
    import_pyarrow,
    read_written,
)
from fercli.storage import check_output, name_partial, open_partial

if TYPE_CHECKING:
    from fercli.results import PredictionRow

__all__ = ["RowFile", "Rows"]


@dataclass
class Rows:
    """An open target of rows."""

    write: Write
    """Takes a row."""
    flush: Callable[[], None] = lambda: None
    """Hands what was taken to the file, so that nothing else is written before it."""
    done: set[str] = field(default_factory=set)
    """Inputs that have their rows already, as `key_path` gives them."""
    so_far: ClipSoFar | None = None
    """The video that is gone on with, where the rows end within one."""


@dataclass(frozen=True, kw_only=True)
class RowFile:
    """Where rows are kept."""

    path: Path
    """The file."""
    kind: str
    """One of `config.ROW_FILE_FORMATS`; a torn `parquet` cannot be gone on with."""
    resume: bool = False
    """Whether to go on behind the rows that the file holds."""
    overwrite: bool = False
    """Whether to write over what is there, an interrupted command's rows included."""
    within_clips: bool = False
    """Whether to go on within a video, too; else one that has not all its rows is begun anew."""

    def check(self) -> None:
        """Refuse to write over rows, finished or not.

        Raises:
            OutputExistsError: They are there, and neither `overwrite` nor `resume` is set.
        """
        check_output(self.path, force=self.overwrite or self.resume)
        partial = name_partial(self.path)
        if self.overwrite or self.resume or self.kind == "parquet" or not partial.is_file():
            return
        if partial.stat().st_size:
            message = f"{partial} holds the rows of an interrupted command"
            hint = "give --resume to continue it, or --force to start over"
            raise OutputExistsError(message, hint=hint)

    @contextlib.contextmanager
    def open(self, layout: RowLayout) -> Iterator[Rows]:
        """Open the file for rows; it gets its name at the end of the block.

        Raises:
            DependencyMissingError: Parquet without pyarrow.
            DataError: What is to be gone on with is no file of such rows.
            OutputBusyError: Another process writes the file.
            OutputExistsError: Another process has written it since.
            RunFailedError: It cannot be written any more; the rows so far are kept.
        """
        if self.kind == "parquet":
            import_pyarrow()
        with _name_kept_rows(name_partial(self.path)), open_partial(self.path) as stream:
            # Another command may have written it since it was looked at.
            self.check()
            # Numbers that were rounded for a spreadsheet are not those that were averaged.
            is_exact = self.within_clips and not layout.for_excel
            clip = ClipReader(layout.labels) if is_exact else None
            done = self._find_written(stream, layout, clip) if self.resume else set()
            so_far = clip.so_far if clip is not None else None
            if not self.resume:
                stream.truncate(0)
            kept = stream.tell()
            with contextlib.ExitStack() as unless_rows:
                # A header without a row is nothing that anybody would go on with.
                unless_rows.callback(stream.truncate, kept)
                with append_rows(self.kind, stream, layout) as (write, flush):
                    yield Rows(_call_first(unless_rows.pop_all, write), flush, done, so_far)
                unless_rows.pop_all()

    def _find_written(
        self, stream: BinaryIO, layout: RowLayout, clip: ClipReader | None
    ) -> set[str]:
        """Return which inputs have their rows, and put the stream where the next rows go."""
        partial = name_partial(self.path)
        finished = self.path.exists() and not partial.stat().st_size
        if finished:
            # The file stays whole until its longer form is.
            with self.path.open("rb") as source:
                shutil.copyfileobj(source, stream)
            stream.flush()
        done, end = read_written(partial, self.kind, layout, finished=finished, clip=clip)
        stream.truncate(end)
        stream.seek(end)
        return done


def _call_first(settle: Callable[[], object], write: Write) -> Write:
    """Return a function that writes a row, and calls `settle` before it does."""

    def settle_and_write(row: PredictionRow) -> None:
        settle()
        write(row)

    return settle_and_write


@contextlib.contextmanager
def _name_kept_rows(partial: Path) -> Iterator[None]:
    """Say where the rows are when writing fails, on a full disk for instance."""
    try:
        yield
    except OSError as reason:
        if not partial.exists():
            raise
        message = f"{partial}: {reason.strerror or reason}; it keeps the rows so far"
        hint = "run the same command with --resume to continue"
        raise RunFailedError(message, hint=hint) from reason
