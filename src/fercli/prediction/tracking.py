"""Which faces of a video's frames are the same, and what smoothing makes of their probabilities.

A track is a box that overlaps the one before it: enough to average over time, and no identity.
Whoever leaves the picture and comes back is a new track. The Hungarian method was considered: with
the few faces of a frame, taking the best overlaps first gives the same pairs and needs no library.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Box", "Sighting", "Tracker", "compute_overlap"]

Box = tuple[int, int, int, int]
"""x, y, width, height."""

_LEAST_OVERLAP: Final = 0.2
"""Of two boxes of one track: a head moves by half its width in a fifth of a second at most."""
_MEMORY_S: Final = 1.0
"""For so long a face may be missed, turned away or covered, and keep its track."""
_MEMORY_FRAMES: Final = 2
"""And for so many sampled frames, where they are far apart."""


@dataclass(frozen=True)
class Sighting:
    """Where a track was seen last."""

    box: Box
    time_s: float
    smoothed: dict[str, float] | None = None
    """The average until then, by label, where there is one."""


@dataclass
class _Track:
    """A face as it was last seen."""

    number: int
    box: Box
    time_s: float
    smoothed: dict[str, float] | None = None


class Tracker:
    """Numbers the faces of one video.

    Args:
        every_s: Time between sampled frames, 0 where every frame is one.
        smooth_s: Time constant of the average, 0 for none: after so long a new expression has
            63 % of the weight.
        seen: The tracks so far, by number, of a video that is gone on with.
    """

    def __init__(
        self,
        *,
        every_s: float,
        smooth_s: float = 0.0,
        seen: Mapping[int, Sighting] | None = None,
    ) -> None:
        self._memory_s = max(_MEMORY_S, _MEMORY_FRAMES * every_s)
        self._smooth_s = smooth_s
        self._tracks = [
            _Track(number, one.box, one.time_s, one.smoothed)
            for number, one in (seen or {}).items()
        ]
        self._n_tracks = 1 + max(seen) if seen else 0

    def update(
        self, time_s: float, boxes: Sequence[Box], probabilities: Sequence[Mapping[str, float]]
    ) -> list[tuple[int, dict[str, float] | None]]:
        """Return the track of each face of a frame, and its smoothed probabilities.

        Args:
            time_s: Of the frame; not before the one of the call before.
            boxes: Of its F faces.
            probabilities: Of each face, by label.

        Returns:
            F tracks, numbered from 0, each with probabilities by label, or None without smoothing.
        """
        live = [one for one in self._tracks if time_s - one.time_s <= self._memory_s]
        matched = _match(live, boxes)
        answers = []
        for index, (box, values) in enumerate(zip(boxes, probabilities, strict=True)):
            track = matched.get(index)
            if track is None:
                track = _Track(self._n_tracks, box, time_s)
                self._n_tracks += 1
                live.append(track)
            smoothed = self._smooth(track, time_s, values) if self._smooth_s else None
            track.box, track.time_s, track.smoothed = box, time_s, smoothed
            answers.append((track.number, smoothed))
        self._tracks = live
        return answers

    def _smooth(
        self, track: _Track, time_s: float, values: Mapping[str, float]
    ) -> dict[str, float]:
        if track.smoothed is None:
            return dict(values)
        weight = 1 - math.exp((track.time_s - time_s) / self._smooth_s)
        before = track.smoothed
        return {
            label: weight * value + (1 - weight) * before[label] for label, value in values.items()
        }


def compute_overlap(first: Box, second: Box) -> float:
    """Return the area that two boxes share over the area that they cover together, 0 to 1."""
    sides = []
    for axis in (0, 1):
        low = max(first[axis], second[axis])
        high = min(first[axis] + first[axis + 2], second[axis] + second[axis + 2])
        sides.append(max(0, high - low))
    shared = sides[0] * sides[1]
    covered = first[2] * first[3] + second[2] * second[3] - shared
    return shared / covered if covered else 0.0


def _match(tracks: Sequence[_Track], boxes: Sequence[Box]) -> dict[int, _Track]:
    """Return the track of each box that overlaps one, by the box's place; best overlaps first."""
    pairs = sorted(
        (
            (-compute_overlap(track.box, box), track.number, index, track)
            for track, (index, box) in itertools.product(tracks, enumerate(boxes))
        ),
        key=lambda pair: pair[:3],
    )
    matched: dict[int, _Track] = {}
    taken: set[int] = set()
    for overlap, number, index, track in pairs:
        if -overlap >= _LEAST_OVERLAP and index not in matched and number not in taken:
            matched[index] = track
            taken.add(number)
    return matched
