"""What commands and library calls return: frozen values that turn into JSON as they are.

Numbers keep full precision; rounding belongs to tables. Fields are named as in the JSON output,
so `to_json` is the identity on names.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CheckResult",
    "ClassScores",
    "DuplicateCounts",
    "EpochReport",
    "EvaluationResult",
    "ExportResult",
    "FerPlusReport",
    "NearCounts",
    "PredictResult",
    "PredictionRow",
    "PrepareResult",
    "Scores",
    "TrainResult",
    "to_json",
]


def to_json(result: object) -> dict[str, Any]:
    """Return a result as plain JSON values, nested results included.

    Raises:
        TypeError: `result` is not a dataclass instance.
    """
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        message = f"not a result: {result!r}"
        raise TypeError(message)
    return dataclasses.asdict(result)


@dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """What `fer data prepare` made."""

    output: str
    """Path of the prepared dataset."""
    n_images: int
    """Images in it."""
    counts: dict[str, dict[str, int]]
    """Images per split and label."""
    sha256: str
    """Digest of its tensors."""
    official: bool
    """Whether the counts are those of the complete FER2013."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Images removed on request, per reason."""
    warnings: list[str] = field(default_factory=list)
    """What a user should know about the source."""


@dataclass(frozen=True, kw_only=True)
class DuplicateCounts:
    """Images that stand in a dataset more than once, pixel for pixel."""

    n_redundant: int
    """Images less distinct images."""
    within: dict[str, int]
    """The same of each split alone."""
    across: dict[str, int]
    """For `a/b`: images of b that stand in a too."""


@dataclass(frozen=True, kw_only=True)
class NearCounts:
    """Different images that show nearly the same."""

    n_pairs: int
    """Pairs of distinct images."""
    n_mirrored: int
    """Pairs of them in which one is like the mirror image of the other."""
    across: dict[str, int]
    """For `a/b`: images of b that are nearly an image of a."""


@dataclass(frozen=True, kw_only=True)
class FerPlusReport:
    """What the voters of FER+ say of a dataset's labels."""

    splits: dict[str, dict[str, int]]
    """For each split: images, images with a majority, of these those whose label is the majority's;
    images with a vote for "not a face", with most votes for it, with most votes for "unknown"."""
    label_noise: dict[str, float | None]
    """For each label the share of its images whose majority says another; None without any."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What `fer data check` found."""

    source: str
    """What was looked at."""
    n_images: int
    """Images in it."""
    counts: dict[str, dict[str, int]]
    """Images per split and label."""
    sha256: str
    """Digest of its tensors."""
    official: bool
    """Whether the counts are those of the complete FER2013."""
    duplicates: DuplicateCounts
    """Exact copies."""
    conflicting_groups: int
    """Groups of the same pixels with more than one label."""
    conflicting_images: int
    """Images in them."""
    constant_images: list[dict[str, int | str]]
    """Images of one grey value: position, row in the source, split, label."""
    near_duplicates: NearCounts | None
    """Pairs of nearly the same; None where they were not looked for."""
    ferplus: FerPlusReport | None
    """What FER+'s votes say; None without them."""
    files: dict[str, str] = field(default_factory=dict)
    """Tables and pictures that were written."""
    warnings: list[str] = field(default_factory=list)
    """What a user should know about the source."""


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """One epoch of a training: one row of metrics.csv, in its order."""

    epoch: int
    """1-based."""
    train_loss: float
    """Mean over the epoch's steps, augmentation and label smoothing included."""
    train_accuracy: float
    """On the augmented images as they were trained on, in [0, 1]."""
    validation_loss: float
    """Mean cross-entropy on the validation split, without smoothing."""
    validation_accuracy: float
    """In [0, 1]."""
    learning_rate: float
    """Of the epoch's last step."""
    images_per_s: float
    """Training images over training time, validation and saving not counted."""
    duration_s: float
    """Training and validation, seconds."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished training."""

    run_directory: str
    """The run folder."""
    model: str
    """Path of `model.safetensors` in it."""
    network: str
    """Name of the network."""
    parameters: int
    """Numbers in it."""
    epochs: int
    """Epochs that were run."""
    best_epoch: int
    """The epoch whose weights were kept, 1-based."""
    validation_accuracy: float
    """Of that epoch, in [0, 1]."""
    validation_split: str
    """The split that chose it."""
    duration_s: float
    """Of all epochs, seconds; an interrupted and resumed run adds up its parts. Members have
    their own."""
    cpu_s: float = 0.0
    """Processor time of this process and all its threads, added up likewise."""
    images_per_s: float
    """Training images over training time."""
    device: str
    """Device it ran on."""
    precision: str
    """Precision it computed in."""
    seed: int
    """Seed of every random choice."""
    members: int = 0
    """Networks trained before it, whose mean taught it."""
    onnx: str | None = None
    """Path of `model.onnx`, or None where it could not be written (see `warnings`)."""
    warnings: list[str] = field(default_factory=list)
    """What went less well than planned."""


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Scores of one label, each in [0, 1]; a ratio without cases is 0."""

    precision: float
    """Right among those predicted as it."""
    recall: float
    """Right among those that are it."""
    f1: float
    """Harmonic mean of the two."""
    support: int
    """Images that are it."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one set of predictions; K labels."""

    n_images: int
    """Images scored."""
    accuracy: float
    """Right among all, in [0, 1]."""
    accuracy_ci95: tuple[float, float]
    """95 % Wilson interval of `accuracy`."""
    macro_f1: float
    """Mean F1 over the labels."""
    macro_precision: float
    """Mean precision over the labels."""
    macro_recall: float
    """Mean recall over the labels."""
    weighted_f1: float
    """F1 weighted by support."""
    weighted_precision: float
    """Precision weighted by support."""
    weighted_recall: float
    """Recall weighted by support; equals `accuracy`."""
    balanced_accuracy: float
    """Mean recall over the labels that occur."""
    nll: float
    """Mean negative log-likelihood, nats."""
    ece: float
    """Expected calibration error with 15 equal bins, in [0, 1]."""
    brier: float
    """Mean squared distance to the one-hot truth, in [0, 2]."""
    per_class: dict[str, ClassScores]
    """Scores per label."""
    confusion_matrix: list[list[int]]
    """[K][K], rows are the truth."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """A model's scores on a split."""

    model: str
    """Path of the model."""
    model_sha256: str
    """Digest of its weights (safetensors) or of its file (ONNX)."""
    split: str
    """Split scored."""
    scores: Scores
    """Plain scores."""
    tta: Scores | None
    """Scores with the mean of image and mirror image, when asked for."""
    deduplicated: dict[str, float] | None
    """`n_images` and `accuracy` without images that also stand in train; None where unknown."""
    labels: list[str]
    """Label names in the order of the matrix."""
    duration_s: float
    """Inference time, seconds, plain."""
    images_per_s: float
    """Images over that time."""
    files: dict[str, str] = field(default_factory=dict)
    """Pictures and tables that were written."""

    def to_json(self) -> dict[str, Any]:
        """Return the flat form: plain scores at the top, `tta` as an object of the same keys."""
        flat = to_json(self)
        return {**flat.pop("scores"), **flat}


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """An exported model."""

    model: str
    """Path of the model that was exported."""
    output: str
    """Path of the ONNX file."""
    format: str
    """Always `onnx`."""
    opset: int
    """Version of the ONNX operator set."""
    size_bytes: int
    """Size of the file."""
    sha256: str
    """Digest of the file."""
    max_abs_difference: float | None
    """Largest difference of a probability between torch and ONNX; None for a copy."""
    label_agreement: float | None
    """Share of images with equal labels; None for a copy."""
    n_checked: int
    """Images compared."""
    parity_images: str | None
    """Where they came from."""
    quantized: str | None
    """`fp16` for weights stored in half precision, else None."""


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
    images_per_s: float
    """Files over the whole time, reading included."""
    output: str | None
    """Where rows were written, if to a file."""
    model: str
    """Path of the model."""
    rows: list[PredictionRow] | None = None
    """The rows, when they were not written to a file."""
