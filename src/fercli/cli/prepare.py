"""`fer data prepare`: one prepared dataset out of any copy of FER2013."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._display import (
    build_counts_table,
    describe_completeness,
    print_pairs,
    print_table,
    watch_images,
)
from fercli.cli._options import ForceOption
from fercli.cli._output import Outcome, Output
from fercli.errors import ConfigError, DatasetLayoutError
from fercli.ranges import find_unknown_choice
from fercli.results import PrepareResult, to_json

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.data import Dataset
    from fercli.data.ferplus import Votes

__all__ = ["add_to", "show_prepared", "write_prepared"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "prepare", group="data")(prepare_command)


def prepare_command(
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
    drop: Annotated[
        str | None,
        typer.Option(
            metavar="REASON,…",
            help="Leave out images: constant, conflicts, leaks (train images that another split "
            "has, too), duplicates. Default: none.",
        ),
    ] = None,
    labels: Annotated[
        str, typer.Option(metavar="source|ferplus", help="Whose labels: the source's or FER+'s.")
    ] = "source",
    ferplus: Annotated[
        Path | None, typer.Option(metavar="FILE", help="FER+'s votes, fer2013new.csv.")
    ] = None,
    classes: Annotated[
        int, typer.Option(metavar="7|8", help="FER+'s labels: 7 without contempt, 8 with it.")
    ] = 8,
    soft: Annotated[
        bool, typer.Option("--soft", help="Keep the shares of FER+'s votes as soft labels.")
    ] = False,
    label_names: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER=LABEL,…",
            help="Map folder names to labels, e.g. 1=surprise,2=fear.",
        ),
    ] = None,
    force: ForceOption = False,
) -> Outcome:
    """Make one prepared dataset from any copy of FER2013.

    Reads fer2013.csv, icml_face_data.csv and train.csv (plain, gzip or zip) and image folders
    (train/<emotion>/..., test/<emotion>/..., as a folder or a zip). Labels are mapped by name. If a
    row or image is malformed, the error names it and nothing is written. Without --output, the
    dataset becomes the default of every other command.

    FER+'s labels are a different task from FER2013's. A dataset prepared with them says so, and a
    model trained on one is never scored on the other.

    Exit status: 0 done, 2 the output is already there, 3 the source is missing or refused.

    Examples:
      fer data prepare fer2013.csv.gz
      fer data prepare archive.zip --output faces.safetensors
      fer data prepare fer2013.csv --drop leaks,duplicates --output clean.safetensors
      fer data prepare fer2013.csv --labels ferplus --ferplus fer2013new.csv --soft
      fer data prepare synthetic:1000 --output synthetic.safetensors --json
    """
    from fercli.data import check_source, list_source_files, load_source
    from fercli.data.drop import drop_images, parse_drops
    from fercli.data.ferplus import relabel
    from fercli.paths import find_default_dataset
    from fercli.storage import check_apart, check_output

    path = target or find_default_dataset()
    reasons = parse_drops(drop) if drop is not None else []
    renames = _parse_renames(label_names or "")
    votes = _read_votes(labels, ferplus, classes, soft=soft)
    check_source(source)
    check_apart([path], itertools.chain([ferplus] if ferplus else [], list_source_files(source)))
    check_output(path, force=force)
    with watch_images(output, f"reading {Path(source).name}") as on_progress:
        loaded = load_source(source, on_progress, renames)
    dataset = loaded.dataset
    if votes is not None:
        dataset = relabel(dataset, votes, classes, soft=soft)
    if reasons:
        dataset = drop_images(dataset, reasons)
    result = write_prepared(output, dataset, loaded.notes, path)
    return Outcome(to_json(result), lambda console: show_prepared(console, result, dataset.source))


def _parse_renames(text: str) -> dict[str, str]:
    """Return `{"1": "surprise"}` for `1=surprise`."""
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    wrong = [f"{a}={c}" for a, b, c in pairs if not (b and a.strip() and c.strip())]
    if wrong:
        message = f"--label-names takes FOLDER=LABEL,..., not {text!r}"
        raise ConfigError(message)
    return {folder.strip(): label.strip() for folder, _, label in pairs}


def _read_votes(labels: str, ferplus: Path | None, classes: int, *, soft: bool) -> Votes | None:
    """Return the votes that the options ask for; None where the source's labels stay."""
    from fercli.data.ferplus import read_votes

    problems = find_unknown_choice("--labels", labels, ("source", "ferplus"))
    if labels == "ferplus" and ferplus is None:
        problems.append("--labels ferplus needs the votes: give --ferplus fer2013new.csv")
    if labels == "source" and (ferplus is not None or soft or classes != 8):
        problems.append("--ferplus, --classes and --soft need --labels ferplus")
    if classes not in {7, 8}:
        problems.append(f"--classes is 7 or 8, not {classes}")
    if problems:
        raise ConfigError(*problems)
    return None if ferplus is None else read_votes(ferplus)


def write_prepared(output: Output, dataset: Dataset, notes: list[str], path: Path) -> PrepareResult:
    """Write a dataset, and say what a user should know about it.

    Raises:
        DatasetLayoutError: There is no image in it.
    """
    from fercli.data import find_warnings, save_dataset

    if not dataset.n_images:
        message = f"no image of {dataset.source} is left"
        raise DatasetLayoutError(message, hint="nothing was written; leave fewer images out")
    save_dataset(path, dataset)
    result = PrepareResult(
        output=str(path),
        n_images=dataset.n_images,
        counts=dataset.count(),
        sha256=dataset.sha256,
        official=dataset.is_official,
        dropped=dict(dataset.dropped),
        warnings=[*notes, *find_warnings(dataset)],
    )
    for warning in result.warnings:
        output.warn(warning)
    return result


def show_prepared(console: Console, result: PrepareResult, source: str) -> None:
    """Show the counts of a dataset, what was left out, and where it is."""
    print_table(console, build_counts_table(result.counts))
    pairs = {
        "images": f"{result.n_images:,}",
        **{f"left out: {name}": f"{number:,}" for name, number in result.dropped.items()},
        **describe_completeness(result, source),
        "sha256": result.sha256,
        "written to": result.output,
    }
    print_pairs(console, pairs)
