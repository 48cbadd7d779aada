"""Probabilities of the faces of a video over its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.plots.figures import build_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["FaceTrack", "choose_shown", "plot_timeline", "split_track"]

_MOST_TRACKS: Final = 8
"""In a figure; those that are seen longest."""


@dataclass
class FaceTrack:
    """One face over the frames of a video."""

    name: str
    """What stands beside it."""
    face: NDArray[np.uint8]
    """[48, 48], a picture of it."""
    times_s: list[float] = field(default_factory=list)
    """[T], of its frames."""
    probabilities: list[list[float]] = field(default_factory=list)
    """[T, K]."""


def plot_timeline(
    tracks: Sequence[FaceTrack],
    colors: Mapping[str, tuple[int, int, int]],
    *,
    gap_s: float,
    title: str,
) -> Figure:
    """Plot each track's probabilities, one above the other, over time.

    Args:
        tracks: At most eight are shown, those with the most frames.
        colors: Of the K labels, in the order of the probabilities; red, green, blue, 0 to 255.
        gap_s: Times further apart are not joined: the face was not there.
        title: One line above them.

    Raises:
        DependencyMissingError: matplotlib cannot be imported.
    """
    shown = choose_shown(tracks)
    figure = build_figure(10, 1.2 + 1.1 * max(1, len(shown)))
    figure.suptitle(title, fontsize=11)
    fills = [tuple(value / 255 for value in color) for color in colors.values()]
    if not shown:
        figure.text(0.5, 0.5, "no face was found", ha="center")
        return figure
    grid = figure.subplots(len(shown), 2, squeeze=False, width_ratios=[1, 11])
    low = min(track.times_s[0] for track in shown)
    high = max(track.times_s[-1] for track in shown)
    for (picture, axes), track in zip(grid, shown, strict=True):
        picture.imshow(track.face, cmap="gray", vmin=0, vmax=255)
        picture.set_axis_off()
        picture.set_title(track.name, fontsize=8)
        for times, values in split_track(track, gap_s):
            axes.stackplot(times, values.T, colors=fills, linewidth=0)
        axes.set_xlim(low, max(high, low + gap_s))
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1])
        axes.tick_params(labelsize=8)
        axes.label_outer()
        axes.tick_params(axis="y", labelleft=True)
    grid[-1][1].set_xlabel("time, s", fontsize=9)
    for label, fill in zip(colors, fills, strict=True):
        grid[0][1].fill_between([], [], color=fill, label=label)
    figure.legend(loc="outside lower center", ncols=len(fills), fontsize=8, frameon=False)
    return figure


def choose_shown(tracks: Sequence[FaceTrack]) -> list[FaceTrack]:
    """Return the eight tracks with the most frames, in the order in which they begin."""
    shown = sorted(tracks, key=lambda track: -len(track.times_s))[:_MOST_TRACKS]
    return sorted(shown, key=lambda track: track.times_s[0])


def split_track(
    track: FaceTrack, gap_s: float
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the parts of a track between its gaps: times `[P]` and probabilities `[P, K]`.

    A part of one frame, which has no width, is drawn half a gap wide.
    """
    times, values = np.array(track.times_s), np.array(track.probabilities)
    parts = []
    cuts = np.flatnonzero(np.diff(times) > gap_s) + 1
    for rows in np.split(np.arange(len(times)), cuts):
        part, heights = times[rows], values[rows]
        if len(rows) == 1:
            part = np.array([part[0], part[0] + gap_s / 2])
            heights = np.repeat(heights, 2, axis=0)
        parts.append((part, heights))
    return parts
