"""`fer merge`: the parts of a sharded prediction, put together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._display import print_pairs, watch_images
from fercli.cli._options import ForceOption
from fercli.cli._output import Outcome, Output
from fercli.names import count
from fercli.results import to_json

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.results import MergeResult

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "merge")(merge_command)


def merge_command(
    output: Output,
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The folder of the parts of `fer predict --shard`."),
    ],
    *,
    target: Annotated[
        Path,
        typer.Option(
            "--output", metavar="FILE", help="The file for all rows, with the parts' ending."
        ),
    ],
    force: ForceOption = False,
) -> Outcome:
    """Put the parts of a sharded prediction together, as one file.

    All parts must be present and complete, and have the same list of inputs, model, labels, options
    and versions. If something differs, the error names it and nothing is written. The file is byte
    for byte what a single process would write.

    Exit status: 0 done, 2 bad options or the file is there already, 3 parts are missing, damaged or
    do not agree, 5 pyarrow, needed for Parquet, is missing.

    Examples:
      fer merge parts --output rows.jsonl
      fer merge parts --output rows.jsonl --force --json
    """
    from fercli.prediction.merge import merge_parts

    with watch_images(output, "merging") as report:
        result = merge_parts(folder, target, overwrite=force, on_progress=report)
    return Outcome(to_json(result), lambda console: _show(console, result))


def _show(console: Console, result: MergeResult) -> None:
    pairs = {
        "rows": f"{result.n_rows:,} of {count(result.n_inputs, 'file')}, "
        f"from {count(result.n_parts, 'part')}",
        "faces": f"{result.n_faces:,}, {result.n_no_face:,} without a face, "
        f"{result.n_skipped:,} skipped",
        "model": result.model,
        "written to": result.output,
    }
    print_pairs(console, pairs)
