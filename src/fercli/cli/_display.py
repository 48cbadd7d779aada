"""What several commands show: tables on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fercli.cli._output import Output, fold
from fercli.emotions import LABELS
from fercli.names import safe_name
from fercli.results import CheckResult, PrepareResult, Scores

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fercli.results import EpochReport
    from fercli.training import StepReport

__all__ = [
    "Report",
    "build_counts_table",
    "build_scores_table",
    "describe_accuracy",
    "describe_completeness",
    "describe_dataset",
    "describe_labels",
    "print_line",
    "print_pairs",
    "print_table",
    "say_value",
    "watch_bytes",
    "watch_images",
    "watch_seconds",
    "watch_training",
    "watch_work",
]

_UNBOUND: Final = 10_000
"""Columns that no table has."""


def print_pairs(console: Console, pairs: Mapping[str, object], *, indent: int = 0) -> None:
    """Print names and values; what gets copied (digests, paths, commands) is never folded.

    Args:
        console: Where to; only a terminal has an edge to fold at.
        pairs: What to print.
        indent: Spaces before each name.
    """
    from rich.text import Text

    width = max(map(len, pairs))
    for name, value in pairs.items():
        text = safe_name(str(value))
        lines = [text]
        if console.is_terminal and not text.startswith("fer "):
            lines = fold(text, console.width - indent - width - 2)
        label = Text(f"{' ' * indent}{name:<{width}}  ", style="bold")
        for line in lines:
            console.print(label + Text(line), soft_wrap=True)
            label = Text(" " * len(label))


def print_line(console: Console, text: str) -> None:
    """Print a sentence; a terminal gets it folded between words."""
    text = safe_name(text)
    for line in fold(text, console.width) if console.is_terminal else [text]:
        console.print(line, soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Print a table: with borders on a terminal, as plain aligned text elsewhere.

    In a terminal that is too narrow for it, rows become columns; where that is too wide still,
    every row is a paragraph of names and values.
    """
    if not console.is_terminal:
        table.box = None
        # Nothing is cut off: `width=` alone would still be held to the console's, COLUMNS for one.
        console.width = max(_measure(console, table), console.width)
        console.print(table)
        return
    turned = table
    if _measure(console, table) > console.width:
        turned = _transpose(table)
    if _measure(console, turned) <= console.width:
        console.print(turned)
        return
    if table.title:
        print_line(console, str(table.title))
    names, *rows = _list_cells(table)
    for first, *values in rows:
        console.print(first, style="bold", soft_wrap=True)
        print_pairs(console, dict(zip(names[1:], values, strict=True)), indent=2)


def _measure(console: Console, table: Table) -> int:
    """Return the columns that a table takes where there is no edge."""
    return console.measure(table, options=console.options.update(max_width=_UNBOUND)).maximum


def _list_cells(table: Table) -> list[list[str]]:
    """Return the header and the rows."""
    columns = [(column.header, *column.cells) for column in table.columns]
    return [list(map(str, row)) for row in zip(*columns, strict=True)]


def _transpose(table: Table) -> Table:
    """Return a table with a row per column."""
    from rich.table import Table

    turned = Table(title=table.title, title_justify="left")
    (corner, *names), *rows = zip(*_list_cells(table), strict=True)
    turned.add_column(corner)
    for name in names:
        turned.add_column(name, justify="right")
    for row in rows:
        turned.add_row(*row)
    return turned


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


def describe_completeness(result: PrepareResult | CheckResult, source: str) -> dict[str, str]:
    """Return whether FER2013 is whole; of other data there is nothing to say."""
    from fercli.data.dataset import is_synthetic_source

    splits = {"train", "public", "private"}
    if result.official or not set(result.counts) <= splits or is_synthetic_source(source):
        return {"complete FER2013": "yes"} if result.official else {}
    labels = set(next(iter(result.counts.values()), {}))
    return {"complete FER2013": "no"} if labels == set(LABELS) else {}


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


def describe_dataset(dataset: Mapping[str, str]) -> str:
    """Return a dataset's source with the head of its digest, as results name it."""
    return f"{dataset['source']}, sha256 {dataset['sha256'][:12]}"


def describe_labels(labels: Sequence[str], dataset: Mapping[str, str]) -> str:
    """Return the labels that scores are of, and that FER+'s voters gave them where they did."""
    from fercli.data.dataset import FERPLUS

    whose = " of FER+'s voters" if dataset["labeling"] == FERPLUS else ""
    return f"{len(labels)}{whose}: {', '.join(labels)}"


def say_value(value: object) -> str:
    """Return a setting's value as `--set` takes it, or `none` where there is nothing."""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or "none"


_LINE_EVERY_S: Final = 15.0


Report = Callable[[int, int | None], None]


def watch_images(output: Output, description: str) -> contextlib.AbstractContextManager[Report]:
    """Yield a function to call with images done and, where known, images in all."""
    return _watch(output, description, "images", 1)


def watch_work(output: Output, description: str) -> contextlib.AbstractContextManager[Report]:
    """Show that work goes on of which nothing is counted; a terminal alone shows it."""
    return _watch(output, description, "", 1)


def watch_seconds(output: Output, description: str) -> contextlib.AbstractContextManager[Report]:
    """Yield a function to call with seconds done and, where known, seconds in all."""
    return _watch(output, description, "seconds of video", 1)


def watch_bytes(output: Output, description: str) -> contextlib.AbstractContextManager[Report]:
    """Yield a function to call with bytes done and, where known, bytes in all."""
    return _watch(output, description, "MiB", 2**20)


@contextlib.contextmanager
def _watch(output: Output, description: str, unit: str, size: int) -> Iterator[Report]:
    said_at = time.monotonic()
    description = safe_name(description)
    with output.progress(unit=unit) as bars:
        task = bars.add_task(description, total=None, detail="") if bars else None

        def report(done: int, total: int | None) -> None:
            nonlocal said_at
            done, total = done // size, None if total is None else -(-total // size)
            if bars and task is not None:
                bars.update(task, completed=done, total=total)
            elif done != total and time.monotonic() - said_at > _LINE_EVERY_S:
                said_at = time.monotonic()
                output.note(f"{description}: {done:,} of about {total or done:,} {unit}")

        yield report


@contextlib.contextmanager
def watch_training(
    output: Output, n_epochs: int
) -> Iterator[tuple[Callable[[StepReport], None], Callable[[EpochReport], None]]]:
    """Yield two functions to call with every step's and every epoch's report."""
    with output.progress(unit="steps") as bars:
        task = bars.add_task("epoch", total=None, detail="") if bars else None
        latest = 0

        def on_step(report: StepReport) -> None:
            nonlocal latest
            if bars and task is not None:
                if report.epoch < latest:
                    # The next member of an ensemble: time and estimate begin anew.
                    bars.reset(task)
                latest = report.epoch
                done = (report.epoch - 1) * report.n_steps + report.step
                speed = f"  {report.images_per_s:,.0f} images/s"
                bars.update(
                    task,
                    description=f"epoch {report.epoch}/{n_epochs}",
                    completed=done,
                    total=n_epochs * report.n_steps,
                    detail=f"loss {report.loss:.3f}" + (speed if bars.console.width >= 80 else ""),
                )

        def on_epoch(report: EpochReport) -> None:
            if bars:
                text = _describe_epoch(report, n_epochs, bars.console.width)
                bars.console.print(text, soft_wrap=True)
            else:
                output.note(_describe_epoch(report, n_epochs))

        yield on_step, on_epoch


def _describe_epoch(report: EpochReport, n_epochs: int, width: int | None = None) -> str:
    """Return the line of an epoch; in a narrow terminal it has fewer words, then fewer figures."""
    epoch = f"epoch {report.epoch:>{len(str(n_epochs))}}/{n_epochs}"
    speed = f"  {report.images_per_s:,.0f} images/s  {report.duration_s:.1f} s"
    scores = [
        (name, f"{loss:.3f}", f"{accuracy:.1%}")
        for name, loss, accuracy in (
            ("train", report.train_loss, report.train_accuracy),
            ("validation", report.validation_loss, report.validation_accuracy),
        )
    ]
    long = epoch + "".join(f"  {name} loss {one} accuracy {two}" for name, one, two in scores)
    short = epoch + "".join(f"  {name} {one} {two}" for name, one, two in scores)
    candidates = [long + speed, short + speed, short]
    return next((one for one in candidates if width is None or len(one) <= width), short)
