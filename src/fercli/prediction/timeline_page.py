"""The chart of a video as one HTML page: no scripts, its pictures inside, light or dark as asked.

Drawn as SVG by hand, so that no plotting library is needed. Everything that comes from a file or a
model is escaped.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fercli.plots import FaceTrack, choose_shown, split_track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["build_timeline_page"]

_WIDTH: Final = 900
_HEIGHT: Final = 90
"""Of a track's chart, in units of the drawing."""
_TICKS: Final = 8
"""At most on the axis of time."""
_STEPS: Final = (1, 2, 5)
"""Times a power of ten: what lies between two ticks."""
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1c1e; --faint: #5a5f68; --line: #c9ced6; --page: #fff; }
@media (prefers-color-scheme: dark) {
:root { --ink: #ececf0; --faint: #a6abb5; --line: #474b53; --page: #17181b; } }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
margin: 0 auto; max-width: 68rem; padding: 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
.track { display: grid; grid-template-columns: 8rem 1fr; gap: 1rem; align-items: center;
margin: .9rem 0; break-inside: avoid; }
.track p { margin: 0; font-size: .85rem; color: var(--faint); overflow-wrap: anywhere; }
.track img { width: 96px; height: 96px; display: block; border-radius: 4px; }
.chart { overflow-x: auto; min-width: 0; }
svg { width: 100%; min-width: 36rem; height: auto; display: block; }
.frame { fill: none; stroke: var(--line); }
.tick { stroke: var(--line); }
text { fill: var(--faint); font-size: 12px; }
ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
li span { display: inline-block; width: .9rem; height: .9rem; border-radius: 2px;
margin-right: .4rem; vertical-align: -.1rem; border: 1px solid var(--line); }
footer { color: var(--faint); font-size: .9rem; }
@media (max-width: 40rem) { .track { grid-template-columns: 1fr; gap: .3rem; } }
"""


def build_timeline_page(
    tracks: Sequence[FaceTrack],
    colors: Mapping[str, tuple[int, int, int]],
    *,
    gap_s: float,
    title: str,
) -> str:
    """Return a page with each track's probabilities, one chart above the other, over time.

    Args:
        tracks: As `plot_timeline` takes them, and as many are shown.
        colors: Of the K labels, in the order of the probabilities.
        gap_s: Times further apart are not joined.
        title: Above them.
    """
    shown = choose_shown(tracks)
    low = min((track.times_s[0] for track in shown), default=0.0)
    high = max((track.times_s[-1] for track in shown), default=0.0)
    span = low, max(high, low + gap_s)
    charts = "\n".join(_draw_track(track, colors, gap_s, span) for track in shown)
    legend = "".join(
        f'<li><span style="background:{_name_color(color)}"></span>{html.escape(label)}</li>'
        for label, color in colors.items()
    )
    left_out = len(tracks) - len(shown)
    more = f" {left_out:,} shorter tracks are left out." if left_out else ""
    name = html.escape(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{name}</h1>
<ul>{legend}</ul>
{charts or "<p>No face was found.</p>"}
</main>
<footer><p>Probability of each expression over time, in seconds, one chart for each track. A track
follows a face that overlaps the one before; it does not identify a person.{more}</p></footer>
</body>
</html>
"""


def _draw_track(
    track: FaceTrack,
    colors: Mapping[str, tuple[int, int, int]],
    gap_s: float,
    span: tuple[float, float],
) -> str:
    scale = _WIDTH / (span[1] - span[0])
    shapes = []
    for times, values in split_track(track, gap_s):
        x = (times - span[0]) * scale
        below = values[:, 0] * 0
        for (label, color), share in zip(colors.items(), values.T, strict=True):
            # Rounding may take the sum of all past 1.
            above = (below + share).clip(max=1)
            edge = [*zip(x, above, strict=True), *zip(x[::-1], below[::-1], strict=True)]
            points = " ".join(f"{at:.1f},{_HEIGHT * (1 - height):.1f}" for at, height in edge)
            shapes.append(
                f'<polygon fill="{_name_color(color)}" points="{points}">'
                f"<title>{html.escape(label)}</title></polygon>"
            )
            below = above
    seconds = f"{track.times_s[0]:.1f} to {track.times_s[-1]:.1f} s"
    name = html.escape(track.name)
    return (
        f'<section class="track"><div><img alt="" src="{_encode(track.face)}">'
        f"<p>{name}<br>{seconds}</p></div>"
        f'<div class="chart"><svg viewBox="-1 -1 {_WIDTH + 2} {_HEIGHT + 22}" role="img" '
        f'aria-label="{name}">'
        f"{''.join(shapes)}{_draw_ticks(span, scale)}"
        f'<rect class="frame" width="{_WIDTH}" height="{_HEIGHT}"/></svg></div></section>'
    )


def _draw_ticks(span: tuple[float, float], scale: float) -> str:
    """Return the axis of time."""
    step = _choose_step(span[1] - span[0])
    ticks = []
    number = math.ceil(span[0] / step - 1e-9)
    while number * step <= span[1] + 1e-9:
        x = (number * step - span[0]) * scale
        side = "start" if x < 20 else "end" if x > _WIDTH - 20 else "middle"
        ticks.append(
            f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{_HEIGHT}" y2="{_HEIGHT + 4}"/>'
            f'<text x="{x:.1f}" y="{_HEIGHT + 17}" text-anchor="{side}">{number * step:g}</text>'
        )
        number += 1
    return "".join(ticks)


def _choose_step(length_s: float) -> float:
    """Return a round number of seconds by which few ticks fit."""
    power = 10.0 ** math.floor(math.log10(length_s / _TICKS))
    return next(
        (step * power for step in _STEPS if length_s / (step * power) <= _TICKS), 10 * power
    )


def _encode(face: NDArray[np.uint8]) -> str:
    """Return a picture as an address that holds it."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _name_color(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
