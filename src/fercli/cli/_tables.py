"""Tables that several commands show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fercli.names import safe_name
from fercli.results import Scores

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "build_counts_table",
    "build_scores_table",
    "describe_accuracy",
    "print_pairs",
    "print_table",
]


def print_pairs(console: Console, pairs: Mapping[str, object]) -> None:
    """Print names and values, one pair a line, never folded: digests and paths get copied."""
    from rich.text import Text

    width = max(map(len, pairs))
    for name, value in pairs.items():
        line = Text(f"{name:<{width}}  {safe_name(str(value))}")
        line.stylize("bold", 0, width)
        console.print(line, soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Print a table: with borders on a terminal, as plain aligned text elsewhere."""
    if not console.is_terminal:
        table.box = None
    console.print(table)


def build_counts_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """Return a table of images per label (rows) and split (columns)."""
    from rich.table import Table

    table = Table(title="images per label and split", title_justify="left")
    table.add_column("label")
    for split in counts:
        table.add_column(safe_name(split), justify="right")
    labels = next(iter(counts.values()), {})
    for label in labels:
        table.add_row(safe_name(label), *(f"{counts[split][label]:,}" for split in counts))
    table.add_section()
    table.add_row("all", *(f"{sum(counts[split].values()):,}" for split in counts))
    return table


def build_scores_table(scores: Scores, title: str) -> Table:
    """Return a table of precision, recall, F1 and support per label, with both averages."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("label")
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    for label, each in scores.per_class.items():
        values = (each.precision, each.recall, each.f1)
        table.add_row(safe_name(label), *(f"{value:.1%}" for value in values), f"{each.support:,}")
    table.add_section()
    for name in ("macro", "weighted"):
        values = tuple(
            getattr(scores, f"{name}_{quantity}") for quantity in ("precision", "recall", "f1")
        )
        row = (f"{value:.1%}" for value in values)
        table.add_row(f"{name} average", *row, f"{scores.n_images:,}")
    return table


def describe_accuracy(scores: Scores) -> str:
    """Return the accuracy with its interval and n, for people."""
    low, high = scores.accuracy_ci95
    return f"{scores.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, n = {scores.n_images:,})"
