"""`fer data`: make a prepared dataset out of any copy of FER2013."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._options import ForceOption
from fercli.cli._output import Outcome, Output
from fercli.cli._progress import watch_images
from fercli.cli._tables import build_counts_table, print_pairs, print_table
from fercli.results import PrepareResult, to_json

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app"]

app = typer.Typer(
    help="Prepare datasets.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)


@register(app, "prepare", group="data")
def prepare(
    output: Output,
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder, zip, csv or csv.gz of FER2013, or synthetic[:N]."
        ),
    ],
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="The dataset to write. Default: fer2013.safetensors in the data home.",
        ),
    ] = None,
    force: ForceOption = False,
) -> Outcome:
    """Make one prepared dataset from any copy of FER2013.

    Reads fer2013.csv, icml_face_data.csv and train.csv (plain, gzip or zip) and image folders
    (train/<emotion>/..., test/<emotion>/..., as a folder or a zip). Labels are mapped by name. A
    malformed row or image is refused with its place, and nothing is written. Without --output
    the dataset becomes the default of every other command.

    Exit status: 0 done, 2 the output is already there, 3 the source is missing or refused.

    Examples:
      fer data prepare fer2013.csv.gz
      fer data prepare archive.zip --output faces.safetensors
      fer data prepare synthetic:1000 --output drawn.safetensors --json
    """
    from fercli.data import check_source, find_warnings, load_source, save_dataset
    from fercli.paths import find_default_dataset
    from fercli.storage import check_output

    path = target or find_default_dataset()
    check_source(source)
    check_output(path, force=force)
    with watch_images(output, f"reading {Path(source).name}") as on_progress:
        loaded = load_source(source, on_progress)
    save_dataset(path, loaded.dataset)
    result = PrepareResult(
        output=str(path),
        n_images=loaded.dataset.n_images,
        counts=loaded.dataset.count(),
        sha256=loaded.dataset.sha256,
        official=loaded.dataset.is_official,
        warnings=[*loaded.notes, *find_warnings(loaded.dataset)],
    )
    for warning in result.warnings:
        output.warn(warning)

    def show(console: Console) -> None:
        print_table(console, build_counts_table(result.counts))
        complete = "yes" if result.official else "no"
        pairs = {
            "images": f"{result.n_images:,}",
            "complete FER2013": complete,
            "sha256": result.sha256,
            "written to": path,
        }
        print_pairs(console, pairs)

    return Outcome(to_json(result), show)
