"""What several commands show: tables on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fercli.cli._output import Output
from fercli.names import safe_name
from fercli.results import Scores

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fercli.results import EpochReport
    from fercli.training import StepReport

__all__ = [
    "Report",
    "build_counts_table",
    "build_scores_table",
    "count",
    "describe_accuracy",
    "describe_labels",
    "print_pairs",
    "print_table",
    "watch_bytes",
    "watch_images",
    "watch_seconds",
    "watch_training",
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


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `1,000 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def describe_accuracy(scores: Scores) -> str:
    """Return the accuracy with its interval and n, for people."""
    low, high = scores.accuracy_ci95
    return f"{scores.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, n = {scores.n_images:,})"


def describe_labels(labels: Sequence[str], dataset: Mapping[str, str]) -> str:
    """Return the labels that scores are of, and that FER+'s voters gave them where they did."""
    from fercli.data.dataset import FERPLUS

    whose = " of FER+'s voters" if dataset["labeling"] == FERPLUS else ""
    return f"{len(labels)}{whose}: {', '.join(labels)}"


_LINE_EVERY_S: Final = 15.0


Report = Callable[[int, int | None], None]


def watch_images(output: Output, description: str) -> contextlib.AbstractContextManager[Report]:
    """Yield a function to call with images done and, where known, images in all."""
    return _watch(output, description, "images", 1)


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
            elif time.monotonic() - said_at > _LINE_EVERY_S:
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
                bars.update(
                    task,
                    description=f"epoch {report.epoch}/{n_epochs}",
                    completed=done,
                    total=n_epochs * report.n_steps,
                    detail=f"loss {report.loss:.3f}  {report.images_per_s:,.0f} images/s",
                )

        def on_epoch(report: EpochReport) -> None:
            text = (
                f"epoch {report.epoch:>3}/{n_epochs}  "
                f"train loss {report.train_loss:.3f} accuracy {report.train_accuracy:.1%}  "
                f"validation loss {report.validation_loss:.3f} "
                f"accuracy {report.validation_accuracy:.1%}  "
                f"{report.images_per_s:,.0f} images/s  {report.duration_s:.1f} s"
            )
            if bars:
                bars.console.print(text)
            else:
                output.note(text)

        yield on_step, on_epoch
