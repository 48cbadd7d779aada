"""A chart of the faces of videos: what is said of each track over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.plots import FaceTrack, plot_timeline, save_figure
from fercli.prediction.annotate import choose_color
from fercli.prediction.timeline_page import build_timeline_page
from fercli.storage import check_apart, open_atomically

if TYPE_CHECKING:
    from fercli.prediction.answers import FilePrediction

__all__ = ["Timeline"]

_LEAST_GAP_S: Final = 1.0
"""A face that was away for less is joined; as long as a track remembers it."""


class Timeline:
    """Draws the probabilities of every track, smoothed ones where there are some.

    Args:
        path: A `.png`, or an `.html`, which is a page without scripts.
        labels: The K labels of the model.
        every_s: Time between the frames of videos.
    """

    def __init__(self, path: Path, labels: tuple[str, ...], *, every_s: float) -> None:
        self._path = path
        self._labels = labels
        self._every_s = every_s
        self._gap_s = max(_LEAST_GAP_S, 2 * every_s)
        self._tracks: dict[tuple[Path, int], FaceTrack] = {}
        self._files: set[Path] = set()

    def add(self, prediction: FilePrediction) -> None:
        """Take the faces of one frame; images have no time, and are left out.

        Raises:
            ConfigError: The chart would be written over that file.
        """
        check_apart([self._path], [prediction.path])
        if prediction.frame is None:
            return
        self._files.add(prediction.path)
        step_s = prediction.frame.choose_step_s(self._every_s)
        self._gap_s = max(self._gap_s, 2 * step_s)
        for row, crop in zip(prediction.rows, prediction.crops, strict=False):
            if row.track is None or row.time_s is None or row.probabilities is None:
                continue
            key = (prediction.path, row.track)
            if key not in self._tracks:
                self._tracks[key] = FaceTrack(f"track {row.track}", crop)
            track = self._tracks[key]
            values = row.smooth_probabilities or row.probabilities
            track.times_s.append(row.time_s)
            track.probabilities.append([values[label] for label in self._labels])

    def close(self) -> None:
        """Write the chart."""
        if len(self._files) > 1:
            for (path, _), track in self._tracks.items():
                track.name = f"{path.name[:16]}, {track.name}"
        title = ", ".join(sorted(path.name for path in self._files)) or "no video"
        colors = {label: choose_color(label, self._labels) for label in self._labels}
        tracks, name = list(self._tracks.values()), title[:100]
        if self._path.suffix.lower() == ".html":
            page = build_timeline_page(tracks, colors, gap_s=self._gap_s, title=name)
            with open_atomically(self._path) as stream:
                # A name may have letters that no encoding has.
                stream.write(page.encode("utf-8", "replace"))
            return
        figure = plot_timeline(tracks, colors, gap_s=self._gap_s, title=name)
        save_figure(figure, self._path)

    def describe(self) -> str:
        """Return what was made."""
        count = len(self._tracks)
        return f"{count:,} track{'s' * (count != 1)} written to {self._path}"
