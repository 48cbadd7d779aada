"""What scoring a model came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fercli.results.plain import to_json

__all__ = [
    "Calibration",
    "ClassScores",
    "Confusion",
    "CoveragePoint",
    "Deduplicated",
    "EvaluationResult",
    "RobustnessRow",
    "Scores",
]


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
class CoveragePoint:
    """Coverage and accuracy at a confidence threshold."""

    min_confidence: float
    """Answers below it are `uncertain`."""
    coverage: float
    """Share of the images that are answered, in [0, 1]."""
    accuracy: float | None
    """Right among those, in [0, 1]; None where nothing is answered."""


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
class Calibration:
    """What the model's temperature does on the images scored."""

    temperature: float
    """Divides the logits; 1 leaves them as they were trained."""
    fitted_on: str | None
    """The split that it was fitted on, of which dataset where synthetic faces stand against real
    ones; None where it was not."""
    ece_before: float
    """Expected calibration error at temperature 1."""
    nll_before: float
    """Mean negative log-likelihood at temperature 1, nats."""
    ece: float
    """The same as the model stands."""
    nll: float
    """The same as the model stands."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A label that is taken for another."""

    true: str
    """What the images are."""
    predicted: str
    """What the model says."""
    n_images: int
    """How many of them."""
    share: float
    """Of all images of the true label, in (0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Deduplicated:
    """The score without images that the model learned from, pixel for pixel."""

    n_images: int
    """Images that it did not learn from."""
    accuracy: float | None
    """On those, in [0, 1]; None where there is none."""
    n_seen: int
    """Images left out."""
    source: str
    """Where the training images are known from: `dataset`, `model`, or `dataset and model`."""


@dataclass(frozen=True, kw_only=True)
class RobustnessRow:
    """Plain scores on corrupted images."""

    corruption: str
    """What was done to them, and in which unit."""
    strength: int
    """1 mild, 2, 3 strong."""
    amount: float
    """How much, in that unit."""
    accuracy: float
    """In [0, 1]."""
    macro_f1: float
    """Mean F1 over the labels."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """A model's scores on a split."""

    model: str
    """Path of the model."""
    model_sha256: str
    """Digest of its weights (safetensors) or of its file (ONNX)."""
    dataset: dict[str, str]
    """`source` and `sha256` of the dataset, and whose its labels are: `labeling` is `source`, or
    `ferplus` where ten voters gave them."""
    split: str
    """Split scored."""
    protocol: str
    """`held-out`; `selection` where the split chose the model, so that the score flatters it;
    `training` where the model learned from it; `unknown` of somebody else's model."""
    scores: Scores
    """Plain scores."""
    confusions: list[Confusion]
    """The most frequent confusions, plain, most first."""
    calibration: Calibration
    """What the model's temperature does, plain."""
    coverage: list[CoveragePoint]
    """Coverage and accuracy at each confidence threshold, plain."""
    tta: Scores | None
    """Scores with the mean of image and mirror image, when asked for."""
    deduplicated: Deduplicated | None
    """Plain, without images that were learned from; None where those are unknown."""
    labels: list[str]
    """Label names in the order of the matrix."""
    duration_s: float
    """Inference time, seconds, plain."""
    images_per_s: float
    """Images over that time."""
    robustness: list[RobustnessRow] = field(default_factory=list)
    """Scores on corrupted images, when asked for."""
    files: dict[str, str] = field(default_factory=dict)
    """Pictures and tables that were written."""

    def to_json(self) -> dict[str, Any]:
        """Return the flat form: plain scores at the top, `tta` as an object of the same keys."""
        flat = to_json(self)
        return {**flat.pop("scores"), **flat}
