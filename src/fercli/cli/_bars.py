"""Progress bars; a module of its own, because Rich is imported only where one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task

__all__ = ["build_bars"]


class _ClockColumn(ProgressColumn):
    """The time that is left, or where nobody knows the time that has passed."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Return the text for one bar."""
        seconds, word = task.time_remaining, "left"
        if task.total is None:
            seconds, word = task.elapsed, "so far"
        if seconds is None:
            return Text("")
        minutes, rest = divmod(int(seconds), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02}:{rest:02} {word}")


class _CountColumn(ProgressColumn):
    """What is done of how much; nothing where nothing is counted."""

    def __init__(self, unit: str, table_column: Column) -> None:
        self._unit = unit
        super().__init__(table_column)

    def render(self, task: Task) -> Text:
        """Return the text for one bar."""
        done, total = int(task.completed), task.total
        if total is None:
            return Text(f"{done:,} {self._unit}" if done else "")
        of = f"{int(total):,}"
        return Text(f"{done:>{len(of)},}/{of} {self._unit}")


def build_bars(console: Console, unit: str) -> Progress:
    """Return bars that vanish at the end; in a narrow terminal only the bar itself shrinks."""

    def whole() -> Column:
        return Column(no_wrap=True)

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _CountColumn(unit, table_column=whole()),
        TextColumn("{task.fields[detail]}", markup=False),
        _ClockColumn(table_column=whole()),
        console=console,
        transient=True,
        # The default forgets what a slow model answered half a minute ago, and then knows no speed.
        speed_estimate_period=300,
    )
