"""`fer predict`: expressions of faces in image files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._exit import ExitStatus
from fercli.cli._options import DeviceOption, ForceOption, choose_device_name
from fercli.cli._output import Outcome, Output
from fercli.cli._progress import watch_images
from fercli.cli._tables import print_table
from fercli.config import MAX_PIXELS
from fercli.errors import ConfigError
from fercli.names import safe_name
from fercli.ranges import find_below, find_outside, find_unknown_choice
from fercli.results import PredictionRow, PredictResult, to_json
from fercli.storage import check_output, open_text_stream

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]

_PIXELS_PILLOW_TAKES = 178_956_970
_FORMATS = ("table", "jsonl", "csv")


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "predict")(predict_command)


def predict_command(
    output: Output,
    *,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Files, folders (searched), patterns, or - for paths on stdin."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A run folder, .safetensors, .onnx or bundled model. Default: the newest finished "
            "run under ./runs, else base.",
        ),
    ] = None,
    row_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(_FORMATS),
            help="How to write rows. Default: table, or what --output's name ends in.",
        ),
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write rows to a file.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Faces per call of the model.")] = 64,
    min_confidence: Annotated[
        float, typer.Option(help="Below it the label is `uncertain`; probabilities stay.")
    ] = 0.0,
    max_pixels: Annotated[int, typer.Option(help="Largest image to decode.")] = MAX_PIXELS,
    device: DeviceOption = None,
    force: ForceOption = False,
) -> Outcome:
    """Tell the expression of every face crop in files and folders.

    Each image is taken as one face and gives one row, in order, with all probabilities. A file
    that cannot be read is a row with its reason. An ONNX model runs without torch.

    Exit status: 0 done, 2 bad options, 3 a path is missing or nothing was found, 4 model missing
    or refused, 5 no such device, 7 some files could not be read.

    Examples:
      fer predict faces/
      fer predict faces/ photo.jpg --model runs/fast --format csv > rows.csv
      ls *.png | fer predict - --model model.onnx --output rows.jsonl
    """
    from fercli.inference import find_images
    from fercli.models import find_model, open_runtime

    kind = _choose_format(output, row_format, target)
    _check_numbers(batch_size, min_confidence, max_pixels)
    files = find_images(paths, _read_stdin() if "-" in paths else ())
    if target is not None:
        check_output(target, force=force)
    where = choose_device_name(device)
    found = find_model(model, prefer_onnx=where in {"auto", "cpu"})
    if found.assumed:
        output.note(f"model: {found.origin}")
    runtime = open_runtime(found, device=where)

    from fercli.inference import predict_files

    started = perf_counter()
    keep = kind == "table"
    kept: list[PredictionRow] = []
    counts = dict.fromkeys(("ok", "no_face", "unreadable", "refused"), 0)
    with (
        _open_sink(kind, target, runtime.labels) as write,
        watch_images(output, "predicting") as on_progress,
    ):
        rows = predict_files(
            runtime,
            files,
            batch_size=batch_size,
            min_confidence=min_confidence,
            max_pixels=max_pixels,
        )
        for number, row in enumerate(rows, start=1):
            counts[row.status] += 1
            write(row)
            if keep:
                kept.append(row)
            on_progress(number, len(files))
    result = PredictResult(
        n_inputs=len(files),
        n_faces=counts["ok"],
        n_no_face=counts["no_face"],
        n_skipped=counts["unreadable"] + counts["refused"],
        images_per_s=len(files) / (perf_counter() - started),
        output=str(target) if target else None,
        model=found.title,
        rows=kept if keep else None,
    )
    return _conclude(output, result, kind)


def _conclude(output: Output, result: PredictResult, kind: str) -> Outcome:
    output.note(
        f"{result.n_inputs:,} files: {result.n_faces:,} faces, {result.n_skipped:,} skipped, "
        f"{result.images_per_s:,.0f} files/s"
    )
    errors = []
    if result.n_skipped:
        message = f"{result.n_skipped} of {result.n_inputs} files could not be read"
        hint = "each has its row with the reason"
        output.warn(f"{message}; {hint}")
        errors = [{"code": "skipped", "message": message, "hint": hint}]
    data = to_json(result)
    if result.rows is None:
        del data["rows"]

    def show(console: Console) -> None:
        if kind == "table":
            _print_table(console, result.rows or [])
        elif result.output:
            console.print(f"rows written to {safe_name(result.output)}")

    status = ExitStatus.PARTIAL if result.n_skipped else ExitStatus.DONE
    return Outcome(data, show, status, errors)


def _choose_format(output: Output, row_format: str | None, target: Path | None) -> str:
    """Return the format asked for, or the one that the output's name says."""
    problems = find_unknown_choice("format", row_format or "table", _FORMATS)
    kind = row_format or "table"
    if target is not None and row_format is None:
        kind = target.suffix.lstrip(".").lower()
        if kind not in _FORMATS[1:]:
            problems.append(f"--output {target} does not end in .jsonl or .csv: give --format")
    if target is not None and row_format == "table":
        problems.append("a table cannot be written to a file: give --format jsonl or csv")
    if output.json and row_format in _FORMATS[1:] and target is None:
        problems.append("--json with --format needs --output: both would write to stdout")
    if problems:
        raise ConfigError(*problems)
    return kind


def _check_numbers(batch_size: int, min_confidence: float, max_pixels: int) -> None:
    problems = [
        *find_below("batch_size", batch_size, 1),
        *find_outside("min_confidence", min_confidence, 0, 1),
        *find_outside("max_pixels", max_pixels, 1, _PIXELS_PILLOW_TAKES),
    ]
    if problems:
        raise ConfigError(*problems)


def _read_stdin() -> Iterator[str]:
    # Bytes that are not UTF-8 come through as they are in file names.
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _open_sink(
    kind: str, target: Path | None, labels: tuple[str, ...]
) -> Iterator[Callable[[PredictionRow], None]]:
    """Yield where rows go: nowhere yet (a table is shown at the end), stdout or a file."""
    if kind == "table":
        yield lambda _row: None
        return
    from fercli.inference import open_writer

    if target is None:
        yield open_writer(kind, sys.stdout, labels)
        sys.stdout.flush()
        return
    with open_text_stream(target) as stream:
        yield open_writer(kind, stream, labels)


def _print_table(console: Console, rows: list[PredictionRow]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("file", overflow="fold")
    table.add_column("expression")
    table.add_column("confidence", justify="right")
    table.add_column("also likely")
    for row in rows:
        name = Text(safe_name(row.path))
        if row.probabilities is None:
            table.add_row(name, Text(row.status), "", Text(safe_name(row.reason or "")))
            continue
        ranked = sorted(row.probabilities.items(), key=lambda item: -item[1])
        likely = ", ".join(f"{label} {share:.0%}" for label, share in ranked[1:3])
        table.add_row(name, Text(row.label or ""), f"{row.confidence:.1%}", Text(likely))
    print_table(console, table)
