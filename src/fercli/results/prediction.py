"""What predicting came to, and each of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["MergeResult", "PredictResult", "PredictionRow", "TrackTime"]


@dataclass(frozen=True, kw_only=True)
class PredictionRow:
    """One face, or one file that gave none; the columns of the CSV and keys of the JSONL."""

    path: str
    """As given or found; an address without its name and password."""
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
    """Frames in an image file; the first is used."""
    frame: int | None = None
    """Of a video: the number of the frame in the file, from 0; live, of those that were sent."""
    time_s: float | None = None
    """Of a video: when the frame is shown, by the container; live, since the first frame."""
    track: int | None = None
    """Of a video: the same number while a face overlaps the one before; not who it is."""
    smooth_label: str | None = None
    """With smoothing: as `label`, of the smoothed probabilities."""
    smooth_confidence: float | None = None
    """With smoothing: the highest smoothed probability."""
    smooth_probabilities: dict[str, float] | None = None
    """With smoothing: the average over the track up to this frame, per label."""
    model: str | None = None
    """Which model was asked: its path, or the name of a bundled one."""


@dataclass(frozen=True, kw_only=True)
class TrackTime:
    """How long a face of a video had which expression."""

    path: str
    """The video."""
    track: int
    """The face's number in it."""
    seconds: dict[str, float]
    """Per label, `uncertain` among them: each frame counts until the next one looked at. Smoothed
    labels where there are some."""


@dataclass(frozen=True, kw_only=True)
class PredictResult:
    """A finished prediction."""

    n_inputs: int
    """Files looked at."""
    n_frames: int = 0
    """Frames of videos among them that were looked at."""
    n_dropped: int = 0
    """Of a live source: frames that were due while the one before still took its time."""
    n_faces: int
    """Faces with probabilities, each frame's of its own."""
    n_no_face: int
    """Images and frames without a face."""
    n_skipped: int
    """Files that could not be used."""
    n_resumed: int = 0
    """Files that had their rows already, beside those looked at."""
    n_other: int = 0
    """Files passed over in folders and archives: neither images nor videos, or not of `--ext`."""
    images_per_s: float
    """Images and frames over the whole time, reading included."""
    output: str | None
    """Where rows were written, if to a file."""
    model: str
    """Path of the model."""
    labels: dict[str, int]
    """Faces per label, `uncertain` among them."""
    tracks: list[TrackTime] = field(default_factory=list)
    """Faces of videos, of those looked at now; in the order in which they were seen."""
    shard: str | None = None
    """`K/N` where only a shard of the inputs was asked for; `output` is its part."""
    rows: list[PredictionRow] | None = None
    """The rows, when they were not written to a file."""


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """The parts of a sharded prediction in one file."""

    output: str
    """The file."""
    n_parts: int
    """Parts, one per shard."""
    n_inputs: int
    """Files looked at."""
    n_rows: int
    """Rows in the file."""
    n_frames: int
    """Frames of videos that were looked at."""
    n_faces: int
    """Faces with probabilities, each frame's of its own."""
    n_no_face: int
    """Images and frames without a face."""
    n_skipped: int
    """Files that could not be used."""
    size_bytes: int
    """Of the file."""
    model: str
    """What rows call the model."""
    model_sha256: str
    """Of its file, or stored with its weights."""
    labels: list[str]
    """The labels of the rows, in the order of the probabilities."""
    fercli: str
    """The version that predicted."""
