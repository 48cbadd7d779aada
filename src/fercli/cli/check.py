"""`fer data check`: the audit of a dataset."""

from __future__ import annotations

import dataclasses
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
from fercli.names import safe_name
from fercli.results import CheckResult, to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "check", group="data")(check_command)


def check_command(
    output: Output,
    *,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]", help="A prepared dataset or any source. Default: the prepared one."
        ),
    ] = None,
    near: Annotated[
        bool,
        typer.Option("--near/--no-near", help="Look for images that are nearly the same, too."),
    ] = True,
    ferplus: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="FER+'s votes, fer2013new.csv, to check the labels."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Write every finding (CSV) and pictures (PNG) there."
        ),
    ] = None,
    force: ForceOption = False,
) -> Outcome:
    """Audit a dataset: counts, copies, leaks, contradictions.

    Copies are compared pixel by pixel; near copies by their correlation at 16 x 16 pixels, both as
    they are and mirrored, so brightness does not matter. Leaks are copies in two splits. The exit
    status is 0 whatever is found; fer data prepare --drop leaves images out.

    Exit status: 0 done, 2 the output is already there, 3 the source is missing or refused.

    Examples:
      fer data check
      fer data check fer2013.csv.gz --no-near --json
      fer data check fer2013.csv --ferplus fer2013new.csv --output audit
    """
    from fercli.audit import check_dataset, find_findings, summarize, write_findings
    from fercli.data import find_warnings, list_source_files, load_data
    from fercli.data.ferplus import read_votes
    from fercli.dependencies import check_installed
    from fercli.storage import check_apart, check_output

    if folder is not None:
        inputs = itertools.chain([ferplus] if ferplus else [], list_source_files(source))
        check_apart(find_findings(folder), inputs)
        check_output(folder / "findings.csv", force=force)
        check_installed("matplotlib", consequence="pictures cannot be drawn")
    votes = None if ferplus is None else read_votes(ferplus)
    with watch_images(output, "reading the dataset") as on_progress:
        dataset = load_data(source, on_progress, output.warn)
    with watch_images(output, "comparing every pair of images") as on_progress:
        audit = check_dataset(dataset, near=near, votes=votes, on_progress=on_progress)
    result = summarize(audit, find_warnings(dataset))
    if folder is not None:
        result = dataclasses.replace(result, files=write_findings(audit, folder))
    for warning in result.warnings:
        output.warn(warning)
    return Outcome(to_json(result), lambda console: _show(console, result))


def _show(console: Console, result: CheckResult) -> None:
    print_table(console, build_counts_table(result.counts))
    found = result.duplicates
    pairs: dict[str, object] = {
        "dataset": result.source,
        "images": f"{result.n_images:,}",
        **describe_completeness(result, result.source),
        "redundant copies": f"{found.n_redundant:,}",
        **{f"  within {split}": f"{number:,}" for split, number in found.within.items()},
        **_describe_across(found.across, "also in"),
        "groups with several labels": f"{result.conflicting_groups:,} "
        f"({result.conflicting_images:,} images)",
        "images of one gray value": f"{len(result.constant_images):,}",
    }
    if near := result.near_duplicates:
        pairs["near-duplicate pairs"] = f"{near.n_pairs:,}, {near.n_mirrored:,} mirrored"
        pairs |= _describe_across(near.across, "near duplicates of")
    if result.ferplus:
        rows = result.ferplus.splits.items()
        pairs |= {f"FER+, {split}": _describe_votes(row) for split, row in rows}
    pairs["sha256"] = result.sha256
    if result.files:
        pairs["findings"] = result.files["findings"]
        pairs["pictures"] = f"{len(result.files) - 1} in the same folder"
    print_pairs(console, pairs)
    if result.ferplus:
        print_table(console, _build_noise_table(result.ferplus.label_noise))


def _describe_across(across: dict[str, int], relation: str) -> dict[str, str]:
    """Return one pair for each two splits, the second's images looked up in the first."""
    described = {}
    for name, number in across.items():
        a, _, b = name.partition("/")
        described[f"  of {b}, {relation} {a}"] = f"{number:,}"
    return described


def _describe_votes(row: dict[str, int]) -> str:
    judged = row["n_with_majority"]
    agreeing = row["n_agreeing"] / judged if judged else 0.0
    return (
        f"{agreeing:.1%} of {judged:,} images with a majority agree; "
        f"{row['n_not_a_face']:,} not a face, {row['n_not_a_face_votes']:,} with a vote for that, "
        f"{row['n_unknown']:,} unknown"
    )


def _build_noise_table(noise: dict[str, float | None]) -> Table:
    from rich.table import Table

    table = Table(title="labels that FER+ contradicts", title_justify="left")
    table.add_column("label")
    table.add_column("share of images with a majority", justify="right")
    for label, share in noise.items():
        table.add_row(safe_name(label), "" if share is None else f"{share:.1%}")
    return table
