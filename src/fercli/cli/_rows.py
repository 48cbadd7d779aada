"""Where the rows of `fer predict` go: lines on the terminal, stdout, or a file."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from fercli.cli._display import print_table
from fercli.errors import ConfigError, OutputExistsError, RunFailedError
from fercli.names import safe_name
from fercli.ranges import find_unknown_choice
from fercli.results import PredictionRow
from fercli.storage import check_output, name_partial, open_partial

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.prediction.writers import RowLayout

__all__ = ["FORMATS", "Rows", "Target", "choose_target", "open_rows", "print_summary"]

FORMATS: Final = ("table", "jsonl", "csv", "parquet")
_BAR: Final = 20

Write = Callable[[PredictionRow], None]


@dataclass(frozen=True)
class Target:
    """Where rows go."""

    kind: str
    """One of `FORMATS`."""
    path: Path | None
    """The file; None for stdout."""
    resume: bool = False
    """Whether to go on behind the rows that the file holds."""
    force: bool = False
    """Whether to write over what is there."""

    def check(self) -> None:
        """Refuse to write over rows, finished or not.

        Raises:
            OutputExistsError: They are there, and neither `force` nor `resume` is set.
        """
        if self.path is None:
            return
        check_output(self.path, force=self.force or self.resume)
        if not (self.force or self.resume) and self.kind != "parquet":
            _check_partial(name_partial(self.path))


@dataclass
class Rows:
    """An open target."""

    write: Write
    """Takes a row."""
    flush: Callable[[], None] = lambda: None
    """Hands what was taken to the file, so that nothing else is written before it."""
    done: set[str] = field(default_factory=set)
    """Inputs that have their rows already, as `key_path` gives them."""


def choose_target(
    row_format: str | None, path: Path | None, *, json: bool, resume: bool, force: bool
) -> Target:
    """Return where rows go: the format is the one asked for, or what the file's name says.

    Raises:
        ConfigError: The options contradict each other; all that is wrong is said at once.
        OutputExistsError: The file, or an interrupted command's part of it, is there and is neither
            to be gone on with nor overwritten.
    """
    kind = row_format or ("table" if path is None else path.suffix.lstrip(".").lower())
    problems = (
        _find_stdout_problems(kind, json=json, resume=resume)
        if path is None
        else _find_file_problems(path, kind, row_format, resume=resume)
    )
    if problems:
        raise ConfigError(*problems)
    target = Target(kind, path, resume, force)
    target.check()
    return target


def _check_partial(partial: Path) -> None:
    """Refuse to begin again where an interrupted command left hours of rows, perhaps."""
    if partial.is_file() and partial.stat().st_size:
        message = f"{partial} holds the rows of an interrupted command"
        hint = "go on with them: --resume; or begin again: --force"
        raise OutputExistsError(message, hint=hint)


def _find_stdout_problems(kind: str, *, json: bool, resume: bool) -> list[str]:
    problems = find_unknown_choice("format", kind, FORMATS)
    if resume:
        problems.append("--resume needs the file of rows to go on with: --output")
    if kind == "parquet":
        problems.append("parquet is no text: give --output FILE.parquet")
    elif json and kind in FORMATS[1:]:
        problems.append("--json with --format needs --output: both would write to stdout")
    return problems


def _find_file_problems(
    path: Path, kind: str, row_format: str | None, *, resume: bool
) -> list[str]:
    if row_format == "table":
        return ["a table cannot be written to a file: give --format jsonl or csv"]
    if row_format is None and kind not in FORMATS[1:]:
        return [f"--output {path} does not end in .jsonl, .csv or .parquet: give --format"]
    if resume and kind == "parquet":
        return ["a torn parquet file cannot be gone on with: use jsonl or csv"]
    return find_unknown_choice("format", kind, FORMATS)


@contextlib.contextmanager
def open_rows(target: Target, layout: RowLayout, *, shown: bool) -> Iterator[Rows]:
    """Open a target for rows.

    Args:
        target: Where to.
        layout: Which columns rows have.
        shown: Whether a table's rows are printed as they come; else somebody else keeps them.

    Raises:
        DependencyMissingError: Parquet without pyarrow.
        DataError: What is to be gone on with is no file of rows of such a model.
        OutputBusyError: Another process writes the file.
        OutputExistsError: Another process has written it since.
    """
    if target.kind == "table":
        yield Rows(_Lines(layout.labels).write if shown else lambda _row: None)
        return
    from fercli.prediction.writers import append_rows, import_pyarrow, open_writer

    if target.path is None:
        with open_writer(target.kind, sys.stdout, layout) as write:
            yield Rows(_flush_each(write))
    else:
        if target.kind == "parquet":
            import_pyarrow()
        with _name_kept_rows(name_partial(target.path)), open_partial(target.path) as stream:
            # Another command may have written it since the options were looked at.
            target.check()
            done = _find_written(target, stream, layout) if target.resume else set()
            if not target.resume:
                stream.truncate(0)
            kept = stream.tell()
            with contextlib.ExitStack() as unless_rows:
                # A header without a row is nothing that anybody would go on with.
                unless_rows.callback(stream.truncate, kept)
                with append_rows(target.kind, stream, layout) as (write, flush):
                    yield Rows(_call_first(unless_rows.pop_all, write), flush, done)
                unless_rows.pop_all()


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
        hint = "the same command with --resume goes on with it"
        raise RunFailedError(message, hint=hint) from reason


def print_summary(console: Console, labels: Mapping[str, int]) -> None:
    """Print how many faces there are of each label."""
    from rich.table import Table

    total = sum(labels.values())
    if not total:
        return
    full, empty = _choose_blocks()
    table = Table(title="faces per expression", title_justify="left")
    table.add_column("expression")
    table.add_column("faces", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for label, count in labels.items():
        share = count / total
        table.add_row(safe_name(label), f"{count:,}", f"{share:.1%}", _draw_bar(share, full, empty))
    console.print()
    print_table(console, table)


class _Lines:
    """One aligned line per face, the file last, so that nothing has to be known in advance."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        words = [*map(safe_name, labels), "uncertain", "unreadable"]
        self._width = max(map(len, words))
        self._blocks = _choose_blocks()

    def write(self, row: PredictionRow) -> None:
        """Print a row at once, so that a reader of the pipe need not wait."""
        name = safe_name(row.path)
        if row.time_s is not None:
            name = f"{name} at {row.time_s:.2f} s"
        if row.probabilities is None:
            line = f"{row.status:<{self._width}}  {name}: {safe_name(row.reason or '')}"
        else:
            number = f", face {row.face + 1}" if row.face else ""
            ranked = sorted(row.probabilities.items(), key=lambda item: -item[1])
            second = f"{safe_name(ranked[1][0])} {ranked[1][1]:.0%}" if len(ranked) > 1 else ""
            bar = _draw_bar(row.confidence or 0, *self._blocks)
            label = safe_name(row.label or "")
            line = (
                f"{label:<{self._width}}  {bar} {row.confidence:6.1%}  "
                f"{second:<{self._width + 4}}  {name}{number}"
            )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _draw_bar(share: float, full: str, empty: str) -> str:
    filled = round(share * _BAR)
    return full * filled + empty * (_BAR - filled)


def _choose_blocks() -> tuple[str, str]:
    """Return what bars are made of where the output's encoding has it."""
    try:
        "█·".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", "."
    return "█", "·"


def _flush_each(write: Write) -> Write:
    """Return a function that writes a row to stdout where its reader sees it at once."""

    def write_and_flush(row: PredictionRow) -> None:
        write(row)
        sys.stdout.flush()

    return write_and_flush


def _find_written(target: Target, stream: BinaryIO, layout: RowLayout) -> set[str]:
    """Return which inputs have their rows, and put the stream where the next rows go."""
    from fercli.prediction.writers import read_written

    path = target.path or Path()
    partial = name_partial(path)
    finished = path.exists() and not partial.stat().st_size
    if finished:
        # The file stays whole until its longer form is.
        with path.open("rb") as source:
            shutil.copyfileobj(source, stream)
        stream.flush()
    done, end = read_written(partial, target.kind, layout, finished=finished)
    stream.truncate(end)
    stream.seek(end)
    return done
