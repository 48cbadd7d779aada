"""Who is told about a training: callbacks, a log for people, a table for programs."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from dataclasses import dataclass

from fercli.dependencies import is_there
from fercli.results import EpochReport, to_json
from fercli.runs import RunFolder, utc_now
from fercli.storage import write_text
from fercli.training.events import EventFile

__all__ = ["Callbacks", "RunLog", "StepReport"]


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """A look at a running epoch."""

    epoch: int
    """1-based."""
    step: int
    """1-based."""
    n_steps: int
    """Of this epoch."""
    loss: float
    """Mean of the epoch so far."""
    images_per_s: float
    """Of the epoch so far."""


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """Who is told about a training, and may stop it."""

    on_step: Callable[[StepReport], None] = lambda _report: None
    """Called now and then within an epoch."""
    on_epoch: Callable[[EpochReport], None] = lambda _report: None
    """Called after every epoch."""
    on_note: Callable[[str], None] = lambda _text: None
    """Called with a sentence for the user."""
    should_stop: Callable[[], int] = lambda: 0
    """Asked after every step; a signal's number stops the run, its state saved."""
    tensorboard: bool = False
    """Whether curves are logged for TensorBoard; a run that has such a log goes on with it."""


class RunLog:
    """Tells the callbacks, and writes `log.txt`, `metrics.csv` and TensorBoard's events.

    Args:
        run: Where the files go.
        callbacks: Who else is told.
        writes: Whether this process does; of a group, one does.
    """

    def __init__(self, run: RunFolder, callbacks: Callbacks, *, writes: bool = True) -> None:
        self.callbacks = callbacks
        self._run = run
        self._writes = writes
        logs = callbacks.tensorboard or (run.events.exists() and is_there("tensorboard"))
        self._events = EventFile(run.events) if logs else None

    def note(self, text: str) -> None:
        """Say and log a sentence."""
        self.log(text)
        self.callbacks.on_note(text)

    def log(self, text: str) -> None:
        """Log a sentence."""
        if not self._writes:
            return
        with self._run.log.open("a", encoding="utf-8") as stream:
            stream.write(f"{utc_now()} {text}\n")

    def write_metrics(self, history: list[EpochReport]) -> None:
        """Write one row per epoch."""
        if not self._writes:
            return
        text = io.StringIO(newline="")
        names = [item.name for item in dataclasses.fields(EpochReport)]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(to_json(report) for report in history)
        write_text(self._run.metrics, text.getvalue())
        if self._events is not None:
            self._events.write(history)

    def close(self) -> None:
        """End what is kept open between epochs."""
        if self._events is not None:
            self._events.close()
