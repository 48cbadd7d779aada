"""What predicting came to, and each of its rows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PredictResult", "PredictionRow"]


@dataclass(frozen=True, kw_only=True)
class PredictionRow:
    """One face, or one file that gave none; the columns of the CSV and keys of the JSONL."""

    path: str
    """As given or found."""
    status: str
    """`ok`, `no_face`, `unreadable` or `refused`."""
    reason: str | None = None
    """Why not `ok`."""
    face: int | None = None
    """Number of the face in its image, from 0."""
    box: tuple[int, int, int, int] | None = None
    """x, y, width, height of the face in pixels of the upright image."""
    confidence: float | None = None
    """Highest probability."""
    label: str | None = None
    """Name with the highest probability, or `uncertain`."""
    probabilities: dict[str, float] | None = None
    """Probability per label."""
    image_width: int | None = None
    """Pixels of the upright image."""
    image_height: int | None = None
    """Pixels of the upright image."""
    detector: str | None = None
    """How the face was found; `whole` takes the image as one face."""
    frames: int | None = None
    """Frames in the file; the first is used."""


@dataclass(frozen=True, kw_only=True)
class PredictResult:
    """A finished prediction."""

    n_inputs: int
    """Files looked at."""
    n_faces: int
    """Faces with probabilities."""
    n_no_face: int
    """Files without a face."""
    n_skipped: int
    """Files that could not be used."""
    n_resumed: int = 0
    """Files that had their rows already, beside those looked at."""
    images_per_s: float
    """Files over the whole time, reading included."""
    output: str | None
    """Where rows were written, if to a file."""
    model: str
    """Path of the model."""
    labels: dict[str, int]
    """Faces per label, `uncertain` among them."""
    rows: list[PredictionRow] | None = None
    """The rows, when they were not written to a file."""
