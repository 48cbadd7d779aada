"""What `fer predict` shows people: a line for each face, and tables at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.cli._display import print_table
from fercli.names import safe_name

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.results import PredictionRow, TrackTime

__all__ = ["FaceLines", "print_summary", "print_tracks"]

_BAR: Final = 20
_SHOWN_TRACKS: Final = 8
_USUAL_COLUMNS: Final = 80


def print_summary(console: Console, labels: Mapping[str, int]) -> None:
    """Print how many faces there are of each label."""
    from rich.table import Table

    total = sum(labels.values())
    if not total:
        return
    full, empty = _choose_blocks()
    table = Table(title="faces per expression", title_justify="left")
    table.add_column("expression")
    table.add_column("faces", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for label, n_faces in labels.items():
        share, name = n_faces / total, safe_name(label)
        table.add_row(name, f"{n_faces:,}", f"{share:.1%}", _draw_bar(share, full, empty))
    console.print()
    print_table(console, table)


def print_tracks(console: Console, tracks: Sequence[TrackTime]) -> None:
    """Print how long the faces of videos had which expression, those that were seen longest."""
    from rich.table import Table

    longest = sorted(tracks, key=lambda one: -sum(one.seconds.values()))[:_SHOWN_TRACKS]
    if not longest:
        return
    table = Table(title="seconds per expression", title_justify="left")
    is_one = len({one.path for one in longest}) == 1
    if not is_one:
        table.add_column("video")
    table.add_column("track", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("expressions")
    for one in longest:
        parts = sorted(one.seconds.items(), key=lambda item: -item[1])
        said = ", ".join(f"{safe_name(label)} {seconds:.1f}" for label, seconds in parts)
        cells = (str(one.track), f"{sum(one.seconds.values()):.1f}", said)
        table.add_row(*(() if is_one else (safe_name(Path(one.path).name),)), *cells)
    console.print()
    print_table(console, table)
    if len(tracks) > len(longest):
        console.print(f"the {len(longest)} longest of {len(tracks):,} tracks")


class FaceLines:
    """One aligned line per face, the file last, so that nothing has to be known in advance."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        words = [*map(safe_name, labels), "uncertain", "unreadable"]
        self._width = max(map(len, words))
        self._blocks = _choose_blocks()
        # A line of a narrow terminal has no room for a long bar and a file's name.
        narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < _USUAL_COLUMNS
        self._n_blocks = _BAR // 2 if narrow else _BAR

    def write(self, row: PredictionRow) -> None:
        """Print a row at once, so that a reader of the pipe need not wait."""
        name = safe_name(row.path)
        if row.time_s is not None:
            name = f"{name} at {row.time_s:.2f} s"
        if row.probabilities is None:
            line = f"{row.status:<{self._width}}  {name}: {safe_name(row.reason or '')}"
        else:
            # As in rows: the first face is face 0, which goes without saying.
            number = f", face {row.face}" if row.face else ""
            ranked = sorted(row.probabilities.items(), key=lambda item: -item[1])
            second = f"{safe_name(ranked[1][0])} {ranked[1][1]:.0%}" if len(ranked) > 1 else ""
            bar = _draw_bar(row.confidence or 0, *self._blocks, self._n_blocks)
            label = safe_name(row.label or "")
            line = (
                f"{label:<{self._width}}  {bar} {row.confidence:6.1%}  "
                f"{second:<{self._width + 4}}  {name}{number}"
            )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _draw_bar(share: float, full: str, empty: str, length: int = _BAR) -> str:
    filled = round(share * length)
    return full * filled + empty * (length - filled)


def _choose_blocks() -> tuple[str, str]:
    """Return what bars are made of where the output's encoding has it."""
    try:
        "█·".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", "."
    return "█", "·"
