"""What every command that prepares a dataset writes and shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fercli.cli._output import Output
from fercli.cli._tables import build_counts_table, print_pairs, print_table
from fercli.errors import DatasetLayoutError
from fercli.results import PrepareResult

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.data import Dataset

__all__ = ["show_prepared", "write_prepared"]


def write_prepared(output: Output, dataset: Dataset, notes: list[str], path: Path) -> PrepareResult:
    """Write a dataset, and say what a user should know about it.

    Raises:
        DatasetLayoutError: There is no image in it.
    """
    from fercli.data import find_warnings, save_dataset

    if not dataset.n_images:
        message = f"of {dataset.source} no image is left"
        raise DatasetLayoutError(message, hint="nothing was written; leave less out")
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


def show_prepared(console: Console, result: PrepareResult) -> None:
    """Show the counts of a dataset, what was left out, and where it is."""
    print_table(console, build_counts_table(result.counts))
    pairs = {
        "images": f"{result.n_images:,}",
        **{f"left out: {name}": f"{number:,}" for name, number in result.dropped.items()},
        "complete FER2013": "yes" if result.official else "no",
        "sha256": result.sha256,
        "written to": result.output,
    }
    print_pairs(console, pairs)
