"""Progress on stderr: bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from fercli.cli._output import Output
from fercli.names import safe_name

if TYPE_CHECKING:
    from fercli.results import EpochReport
    from fercli.training import StepReport

__all__ = ["Report", "watch_bytes", "watch_images", "watch_training"]

_LINE_EVERY_S: Final = 15.0


Report = Callable[[int, int | None], None]


def watch_images(output: Output, description: str) -> contextlib.AbstractContextManager[Report]:
    """Yield a function to call with images done and, where known, images in all."""
    return _watch(output, description, "images", 1)


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
