"""Where `fer predict` puts rows: on the terminal, on stdout or into a file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.cli._predict_display import FaceLines
from fercli.config import ROW_FILE_FORMATS
from fercli.errors import ConfigError
from fercli.ranges import find_unknown_choice

if TYPE_CHECKING:
    from fercli.prediction.parts import Part
    from fercli.prediction.row_files import RowFile, Rows
    from fercli.prediction.writers import RowLayout, Write
    from fercli.results import PredictionRow

__all__ = [
    "FORMATS",
    "Target",
    "choose_part",
    "choose_target",
    "open_rows",
    "split_endings",
]

FORMATS: Final = ("table", *ROW_FILE_FORMATS)


@dataclass(frozen=True)
class Target:
    """Where rows go."""

    kind: str
    """One of `FORMATS`."""
    file: RowFile | None
    """None for stdout."""


def choose_target(
    row_format: str | None,
    path: Path | None,
    *,
    json: bool,
    resume: bool,
    force: bool,
    for_excel: bool = False,
    within_clips: bool = False,
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
    if for_excel and kind != "csv":
        problems.append("--excel writes CSV only: give --output FILE.csv or --format csv with it")
    if problems:
        raise ConfigError(*problems)
    if path is None:
        return Target(kind, None)
    from fercli.prediction.row_files import RowFile

    file = RowFile(path=path, kind=kind, resume=resume, overwrite=force, within_clips=within_clips)
    file.check()
    return Target(kind, file)


def choose_part(
    shard: str,
    folder: Path | None,
    row_format: str | None,
    *,
    resume: bool,
    force: bool,
    for_excel: bool,
    alone: Sequence[str],
) -> Part:
    """Return the part that a shard's rows go to; `jsonl` where no format was asked for.

    The default does not depend on what is installed: parts of several machines go together.

    Args:
        shard: What was typed, `K/N`.
        folder: Of the parts.
        row_format: What was typed.
        resume: As `Part`.
        force: As `Part.overwrite`.
        for_excel: Whether a CSV is for spreadsheets.
        alone: Options that were typed and are of one process with all rows.

    Raises:
        ConfigError: There is no such shard, or the options contradict each other.
        OutputExistsError: The part is there already, or does not go with others that are.
    """
    from fercli.prediction.parts import Part
    from fercli.prediction.shards import parse_shard

    chosen = parse_shard(shard)
    kind = row_format or "jsonl"
    problems = find_unknown_choice("format", kind, ROW_FILE_FORMATS)
    if folder is None:
        problems.append("--shard writes its part into a folder: give --output DIR with it")
    if for_excel and kind != "csv":
        problems.append("--excel writes CSV only: give --format csv with it")
    problems += [f"{flag} needs all rows in one process: leave it out with --shard"
                 for flag in alone]  # fmt: skip
    if problems or folder is None:
        raise ConfigError(*problems)
    part = Part(folder=folder, shard=chosen, kind=kind, resume=resume, overwrite=force)
    part.check()
    return part


def split_endings(words: list[str]) -> frozenset[str]:
    """Return the endings that were typed, `jpg,.PNG` or one at a time, without their dots.

    Raises:
        ConfigError: One is none.
    """
    parts = [part.strip().lower().removeprefix(".") for word in words for part in word.split(",")]
    if words and not all(parts):
        message = f"--ext takes endings of files, such as jpg,png, not {','.join(words)!r}"
        raise ConfigError(message)
    return frozenset(parts)


def _find_stdout_problems(kind: str, *, json: bool, resume: bool) -> list[str]:
    problems = find_unknown_choice("format", kind, FORMATS)
    if resume:
        problems.append("--resume needs the file to continue: give --output FILE")
    if kind == "parquet":
        problems.append("parquet cannot be written to stdout: give --output FILE.parquet")
    elif json and kind in ROW_FILE_FORMATS:
        problems.append("--json with --format needs --output: both would write to stdout")
    return problems


def _find_file_problems(
    path: Path, kind: str, row_format: str | None, *, resume: bool
) -> list[str]:
    if row_format == "table":
        return ["a table cannot be written to a file: give --format jsonl or csv"]
    if row_format is None and kind not in ROW_FILE_FORMATS:
        way = "write a .csv with --excel" if kind in {"xls", "xlsx"} else "give --format"
        return [f"--output {path} does not end in .jsonl, .csv or .parquet: {way}"]
    if resume and kind == "parquet":
        return ["an interrupted parquet file cannot be resumed: use jsonl or csv"]
    return find_unknown_choice("format", kind, FORMATS)


@contextlib.contextmanager
def open_rows(target: Target, layout: RowLayout, *, shown: bool) -> Iterator[Rows]:
    """Open a target for rows.

    Args:
        target: Where to.
        layout: Which columns rows have.
        shown: Whether a table's rows are printed as they come; else somebody else keeps them.

    Raises:
        FercliError: As `RowFile.open`.
    """
    from fercli.prediction.row_files import Rows
    from fercli.prediction.writers import open_writer

    if target.kind == "table":
        yield Rows(FaceLines(layout.labels).write if shown else lambda _row: None)
    elif target.file is None:
        with open_writer(target.kind, sys.stdout, layout) as write:
            yield Rows(_flush_each(write))
    else:
        with target.file.open(layout) as rows:
            yield rows


def _flush_each(write: Write) -> Write:
    """Return a function that writes a row to stdout where its reader sees it at once."""

    def write_and_flush(row: PredictionRow) -> None:
        write(row)
        sys.stdout.flush()

    return write_and_flush
