"""How far a video is whose rows an interrupted command left, and what goes on from there.

Rows hold what a tracker knows: where each track was seen last, when, and the average until then.
So nothing is searched twice, and what follows is to the last digit what would have followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fercli.prediction.tracking import Sighting

__all__ = ["ClipReader", "ClipSoFar"]


@dataclass(frozen=True)
class ClipSoFar:
    """A video with rows of all faces of its frames up to one."""

    path: str
    """As `key_path` gives it."""
    index: int
    """The number of that frame."""
    tracks: dict[int, Sighting]
    """By their numbers."""


@dataclass
class ClipReader:
    """Reads the rows of one input after the other; of a video it knows how far it is.

    The last frame does not count: it may have had more faces.
    """

    labels: tuple[str, ...]
    """The K labels of the model."""
    end: int = 0
    """Where the rows of the frames that count end."""
    so_far: ClipSoFar | None = None
    """None where no frame counts, and for images."""
    _name: str = ""
    _frame: int | None = None
    _waiting: list[Mapping[str, Any]] = field(default_factory=list)
    _tracks: dict[int, Sighting] = field(default_factory=dict)

    def add(self, name: str, row: Mapping[str, Any], start: int) -> None:
        """Take a row; with one of another input what was read before is forgotten.

        Args:
            name: The input.
            row: Its fields, or columns of text, by name; None or empty where there is nothing.
            start: Where it begins in the file.
        """
        if name != self._name:
            self.so_far, self._name, self._frame = None, name, None
            self._waiting, self._tracks = [], {}
        frame = _read_whole(row.get("frame"))
        if frame == self._frame and frame is not None:
            self._waiting.append(row)
            return
        if self._frame is not None:
            for one in self._waiting:
                self._see(one)
            self.so_far = ClipSoFar(self._name, self._frame, dict(self._tracks))
            self.end = start
        self._frame, self._waiting = frame, [row]

    def _see(self, row: Mapping[str, Any]) -> None:
        track = _read_whole(row.get("track"))
        if track is None:
            return
        if "box" in row:
            box = row["box"]
            smoothed = row.get("smooth_probabilities")
        else:
            box = [row[f"box_{part}"] for part in ("x", "y", "width", "height")]
            smoothed = None
            if row.get(f"s_{self.labels[0]}"):
                smoothed = {label: row[f"s_{label}"] for label in self.labels}
        x, y, width, height = map(int, box)
        values = {label: float(value) for label, value in smoothed.items()} if smoothed else None
        self._tracks[track] = Sighting((x, y, width, height), float(row["time_s"]), values)


def _read_whole(value: object) -> int | None:
    return None if value in (None, "") else int(str(value))
