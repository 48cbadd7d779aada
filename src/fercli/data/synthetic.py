"""Synthetic faces that show the seven expressions: a dataset that needs no download and no license.

They exist to teach and test the tool. Each face is drawn from a few numbers (how high the brows,
how wide the eyes, how the mouth bends) whose means differ by expression, after the action units
of Ekman and Friesen's Facial Action Coding System (1978); identity, pose, light, occlusion and
noise vary, so that no single pixel tells the expression. Everything is evaluated on whole batches
of coordinate grids: drawing with an image library, one face at a time, was too slow.

Shape legend: B faces in a chunk; grids are [B, 48, 48] float32; u points right and v down in face
coordinates, the face filling about -1 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.data.dataset import Dataset, build_dataset
from fercli.emotions import LABELS
from fercli.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]

__all__ = ["DEFAULT_COUNT", "build_synthetic", "parse_synthetic", "render_synthetic_faces"]

DEFAULT_COUNT: Final = 10_000
_COUNT_RANGE: Final = (100, 1_000_000)
_SEED: Final = 20131
_CHUNK: Final = 250
_SIDE: Final = 48

_TRAITS: Final = ("brow_tilt", "brow_height", "eye", "wrinkle", "curve", "open", "width", "lip")
"""Inner brow down (+) or up, brow raised, eye opening, nose wrinkle, corners of the mouth up,
mouth opening, mouth width, upper lip raised; each about -1 to 1, 0 at rest."""

_EXPRESSIONS: Final = {
    "angry": (1.0, -0.6, -0.3, 0.1, -0.35, 0.0, -0.25, 0.0),
    "disgust": (0.4, -0.4, -0.6, 1.0, -0.5, 0.15, 0.0, 0.9),
    "fear": (-0.9, 0.6, 0.8, 0.0, -0.15, 0.4, 0.45, 0.0),
    "happy": (0.0, 0.1, -0.3, 0.0, 1.0, 0.35, 0.5, 0.0),
    "sad": (-1.0, -0.1, -0.4, 0.0, -0.9, 0.0, -0.15, 0.0),
    "surprise": (0.0, 1.0, 0.9, 0.0, 0.0, 0.9, -0.45, 0.0),
    "neutral": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
}
"""Mean of each trait by expression, at full strength."""


def parse_synthetic(spec: str) -> int | None:
    """Return the N of `synthetic[:N]`, or None when `spec` is something else.

    Raises:
        ConfigError: N is not a number from 100 to 1,000,000.
    """
    name, colon, number = spec.partition(":")
    if name != "synthetic":
        return None
    if not colon:
        return DEFAULT_COUNT
    low, high = _COUNT_RANGE
    digits = number.isascii() and number.isdigit() and len(number) < 10
    if not (digits and low <= int(number) <= high):
        message = f"synthetic:N takes a number of images from {low} to {high}, not {number!r}"
        raise ConfigError(message)
    return int(number)


def build_synthetic(
    n_images: int = DEFAULT_COUNT,
    *,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Dataset:
    """Draw a dataset: 8 of 10 images train, 1 public, 1 private; the same every time.

    Args:
        n_images: How many, at least 100.
        on_progress: Called with the images drawn and `n_images`.
    """
    images = np.empty((n_images, _SIDE, _SIDE), dtype=np.uint8)
    labels = np.empty(n_images, dtype=np.uint8)
    for start in range(0, n_images, _CHUNK):
        stop = min(start + _CHUNK, n_images)
        # One stream a chunk: the first N images are the same for every larger dataset.
        generator = np.random.default_rng([_SEED, start])
        chunk = generator.integers(0, len(LABELS), _CHUNK).astype(np.uint8)
        labels[start:stop] = chunk[: stop - start]
        images[start:stop] = render_synthetic_faces(chunk, generator)[: stop - start]
        if on_progress:
            on_progress(stop, n_images)
    n_held = n_images // 10
    splits = np.zeros(n_images, dtype=np.uint8)
    splits[n_images - 2 * n_held : n_images - n_held] = 1
    splits[n_images - n_held :] = 2
    arrays: dict[str, NDArray[Any]] = {
        "images": images,
        "labels": labels,
        "splits": splits,
        "source_row": np.arange(n_images, dtype=np.int32),
    }
    return build_dataset(
        arrays,
        label_names=LABELS,
        split_names=("train", "public", "private"),
        source=f"synthetic:{n_images}",
    )


def render_synthetic_faces(
    labels: NDArray[np.uint8], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw one face per label.

    Args:
        labels: `[B]`, indices into `emotions.LABELS`.
        generator: Source of identity, pose, light, occlusion and noise.

    Returns:
        `[B, 48, 48]` uint8.
    """
    traits = _sample_traits(labels, generator)
    u, v, canvas = _place(len(labels), generator)
    canvas = _paint_head(canvas, u, v, generator)
    canvas = _paint_brows_and_eyes(canvas, u, v, traits, generator)
    canvas = _paint_nose(canvas, u, v, traits, generator)
    canvas = _paint_mouth(canvas, u, v, traits, generator)
    canvas = _occlude(canvas, generator)
    canvas = _light(canvas, generator)
    pixels: NDArray[np.uint8] = np.clip(np.rint(canvas * 255), 0, 255).astype(np.uint8)
    return pixels


def _sample_traits(labels: NDArray[np.uint8], generator: np.random.Generator) -> dict[str, Floats]:
    """Return [B, 1, 1] per trait: the expression at some strength, and personal deviation."""
    means = np.array([_EXPRESSIONS[name] for name in LABELS], dtype=np.float32)[labels]
    strength = generator.uniform(0.65, 1.15, (len(labels), 1))
    values = means * strength + generator.normal(0, 0.11, means.shape)
    return {
        name: values[:, column, None, None].astype(np.float32)
        for column, name in enumerate(_TRAITS)
    }


def _uniform(generator: np.random.Generator, low: float, high: float, n: int) -> Floats:
    return generator.uniform(low, high, (n, 1, 1)).astype(np.float32)


def _place(n: int, generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return u and v of every pixel under a random pose, and an empty background."""
    axis = (np.arange(_SIDE, dtype=np.float32) + 0.5) / (_SIDE / 2) - 1
    x, y = axis[None, None, :], axis[None, :, None]
    angle = _uniform(generator, -0.35, 0.35, n)
    size = _uniform(generator, 0.68, 1.05, n)
    x = x - _uniform(generator, -0.2, 0.2, n)
    y = y - _uniform(generator, -0.2, 0.2, n)
    u = (np.cos(angle) * x + np.sin(angle) * y) / (size * _uniform(generator, 0.88, 1.08, n))
    v = (np.cos(angle) * y - np.sin(angle) * x) / size
    # A turned head: features slide sideways, and the far half looks narrower.
    turn = _uniform(generator, -0.16, 0.16, n)
    u = u - turn * (1 - 0.5 * u * u)
    background = _uniform(generator, 0.1, 0.9, n) + _uniform(generator, -0.2, 0.2, n) * (x + y)
    coarse = generator.normal(0, 0.12, (n, 6, 6)).astype(np.float32)
    return u, v, background + np.kron(coarse, np.ones((1, 8, 8), dtype=np.float32))


def _blend(canvas: Floats, mask: Floats, tone: Floats | float) -> Floats:
    """Lay a tone over the canvas where the mask (0-1) says."""
    return canvas + mask * (tone - canvas)


def _soft(distance: Floats, sharpness: float = 22.0) -> Floats:
    """Return 1 inside (negative distance) and 0 outside, with a soft edge of about a pixel."""
    weight: Floats = 1 / (1 + np.exp(np.clip(distance * sharpness, -30, 30)))
    return weight


def _paint_head(canvas: Floats, u: Floats, v: Floats, generator: np.random.Generator) -> Floats:
    n = len(canvas)
    skin = _uniform(generator, 0.4, 0.85, n)
    hair = skin * _uniform(generator, 0.15, 1.1, n)
    jaw = _uniform(generator, 0.72, 0.9, n)
    radius = np.sqrt((u / jaw) ** 2 + (v / 1.0) ** 2)
    hairline = _uniform(generator, -0.85, -0.6, n)
    head = np.sqrt((u / (jaw + 0.12)) ** 2 + ((v + 0.15) / 1.02) ** 2)
    canvas = _blend(canvas, _soft(head - 1) * _soft(v - 0.2, 6), hair)
    shaded = skin * (1 - 0.25 * np.clip(radius, 0, 1.2) ** 3)
    return _blend(canvas, _soft(radius - 1) * _soft(hairline - v), shaded)


def _paint_brows_and_eyes(
    canvas: Floats,
    u: Floats,
    v: Floats,
    traits: dict[str, Floats],
    generator: np.random.Generator,
) -> Floats:
    n = len(canvas)
    spread = _uniform(generator, 0.32, 0.42, n)
    level = _uniform(generator, -0.28, -0.18, n)
    brow_tone = _uniform(generator, 0.02, 0.25, n)
    brow_thickness = _uniform(generator, 0.045, 0.08, n)
    opening = 0.105 * (1 + 0.6 * traits["eye"]) * _uniform(generator, 0.85, 1.15, n)
    gaze = _uniform(generator, -0.05, 0.05, n)
    glasses = generator.random((n, 1, 1)) < 0.12
    for side in (-1, 1):
        a = side * u - spread
        height = level - 0.24 - 0.1 * traits["brow_height"]
        # a < 0 is the inner end: a positive tilt brings it down.
        line = v - height + a * (0.45 * traits["brow_tilt"]) + 0.25 * a * a
        brow = _soft(np.abs(line) - brow_thickness) * _soft(np.abs(a) - 0.22)
        canvas = _blend(canvas, brow, brow_tone)
        eye = np.sqrt((a / 0.17) ** 2 + ((v - level) / np.maximum(opening, 0.02)) ** 2)
        inside = _soft((eye - 1) * 0.12)
        canvas = _blend(canvas, _soft((eye - 1.3) * 0.12) * 0.6, 0.12)
        canvas = _blend(canvas, inside, 0.92)
        iris = np.sqrt((a + side * gaze) ** 2 + (v - level) ** 2)
        canvas = _blend(canvas, inside * _soft(iris - 0.085), 0.08)
        ring = np.abs(np.sqrt((a / 0.26) ** 2 + ((v - level) / 0.22) ** 2) - 1) * 0.24
        canvas = _blend(canvas, glasses * _soft(ring - 0.025), 0.1)
    return canvas


def _paint_nose(
    canvas: Floats,
    u: Floats,
    v: Floats,
    traits: dict[str, Floats],
    generator: np.random.Generator,
) -> Floats:
    n = len(canvas)
    tip = _uniform(generator, 0.12, 0.22, n)
    ridge = _soft(np.abs(u + 0.05) - 0.02, 30) * _soft(v - tip) * _soft(-0.15 - v)
    canvas = _blend(canvas, 0.35 * ridge, 0.1)
    nostrils = np.sqrt(((np.abs(u) - 0.09) / 0.05) ** 2 + ((v - tip) / 0.035) ** 2)
    canvas = _blend(canvas, 0.8 * _soft((nostrils - 1) * 0.06), 0.08)
    strength = np.clip(traits["wrinkle"], 0, 1.2)
    for level in (-0.2, -0.08, 0.04):
        crease = _soft(np.abs(v - level + 0.5 * np.abs(u)) - 0.025) * _soft(np.abs(u) - 0.17)
        canvas = _blend(canvas, 0.75 * strength * crease, 0.08)
    fold = np.abs(np.abs(u) - 0.22 - 0.35 * (v - tip)) - 0.02
    side_folds = _soft(fold) * _soft(v - tip - 0.28) * _soft(tip - 0.02 - v)
    return _blend(canvas, 0.5 * strength * side_folds, 0.08)


def _paint_mouth(
    canvas: Floats,
    u: Floats,
    v: Floats,
    traits: dict[str, Floats],
    generator: np.random.Generator,
) -> Floats:
    n = len(canvas)
    width = 0.3 * (1 + 0.4 * traits["width"]) * _uniform(generator, 0.9, 1.1, n)
    level = _uniform(generator, 0.46, 0.56, n) - 0.06 * np.clip(traits["lip"], 0, 1)
    along = np.clip(u / width, -1.3, 1.3)
    center = level - 0.16 * traits["curve"] * (along**2 - 0.4)
    gap = 0.2 * np.clip(traits["open"], 0, 1.2) * np.sqrt(np.clip(1 - along**2, 0, 1))
    upper = center - gap * 0.45 - 0.05 * np.clip(traits["lip"], 0, 1) * (1 - along**2)
    lower = center + gap
    ends = _soft(np.abs(u) - width)
    lips = _uniform(generator, 0.04, 0.06, n)
    tone = _uniform(generator, 0.1, 0.35, n)
    canvas = _blend(canvas, ends * _soft(upper - lips - v) * _soft(v - lower - lips), tone)
    hole = ends * _soft(upper - v) * _soft(v - lower) * np.clip(gap * 12, 0, 1)
    canvas = _blend(canvas, hole, 0.03)
    teeth = (generator.random((n, 1, 1)) < 0.6) * _soft(v - upper - 0.06)
    return _blend(canvas, hole * teeth, 0.85)


def _occlude(canvas: Floats, generator: np.random.Generator) -> Floats:
    """Cover a random rectangle of a third of the faces, as a hand or a strand of hair does."""
    n = len(canvas)
    axis = np.arange(_SIDE, dtype=np.float32)
    left, top = _uniform(generator, 0, 44, n), _uniform(generator, 0, 44, n)
    wide, high = _uniform(generator, 4, 14, n), _uniform(generator, 4, 14, n)
    inside = (np.abs(axis[None, None, :] - left) < wide / 2) & (
        np.abs(axis[None, :, None] - top) < high / 2
    )
    chosen = generator.random((n, 1, 1)) < 0.33
    return _blend(canvas, (inside & chosen).astype(np.float32), _uniform(generator, 0, 1, n))


def _light(canvas: Floats, generator: np.random.Generator) -> Floats:
    """Light from a side, camera contrast and brightness, and sensor noise."""
    n = len(canvas)
    axis = np.linspace(-1, 1, _SIDE, dtype=np.float32)
    direction = _uniform(generator, -np.pi, np.pi, n)
    slope = np.cos(direction) * axis[None, None, :] + np.sin(direction) * axis[None, :, None]
    lit = canvas * (1 + _uniform(generator, 0, 0.5, n) * slope)
    lit = 0.5 + (lit - 0.5) * _uniform(generator, 0.6, 1.15, n)
    lit = lit + _uniform(generator, -0.2, 0.2, n)
    noise = generator.standard_normal(canvas.shape, dtype=np.float32)
    return np.asarray(lit + noise * _uniform(generator, 0.01, 0.045, n), dtype=np.float32)
