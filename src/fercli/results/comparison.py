"""What comparing models on the same images came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fercli.results.evaluation import Scores

__all__ = ["ComparedModel", "ComparisonResult", "PairedDifference", "RepeatedScores"]


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One of the models."""

    name: str
    """What it is called in the comparison."""
    model: str
    """Path of it, or a bundled model's name."""
    model_sha256: str
    """Digest of its weights (safetensors) or of its file (ONNX)."""
    protocol: str
    """`held-out`, `selection`, `training`, or `unknown` for a model that fercli did not train."""
    scores: Scores
    """Plain scores."""
    parameters: int | None
    """Numbers in it; None where it does not say."""
    size_bytes: int
    """Size of the file."""
    images_per_s: float
    """Best of several rounds, taken in turns with the other models."""
    images_per_s_range: tuple[float, float]
    """Slowest and fastest of those rounds."""
    device: str
    """Where it ran."""
    labels: list[str]
    """Its label names, in the order of its confusion matrix."""
    ignored_labels: list[str] = field(default_factory=list)
    """Labels that it knows and the dataset does not; their probability is shared out."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Two of the models on the same images."""

    first: str
    """Name of the one."""
    second: str
    """Name of the other."""
    difference: float
    """Accuracy of the second less that of the first."""
    difference_ci95: tuple[float, float]
    """95 % bootstrap interval of it."""
    n_only_first: int
    """Images that only the first has right."""
    n_only_second: int
    """Images that only the second has right."""
    p_value: float
    """Of McNemar's exact test."""
    p_adjusted: float
    """The same, adjusted for the number of pairs (Holm)."""
    significant: bool
    """Whether `p_adjusted` is below 0.05."""


@dataclass(frozen=True, kw_only=True)
class RepeatedScores:
    """Models of the same training, repeated."""

    name: str
    """The folder of the runs."""
    models: list[str]
    """Names of the models."""
    mean: float
    """Mean accuracy, in [0, 1]."""
    standard_deviation: float
    """Of the accuracies, with N - 1."""
    mean_ci95: tuple[float, float]
    """95 % interval of the mean, by Student's t."""


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """Several models on the same images."""

    dataset: dict[str, str]
    """`source` and `sha256` of the dataset, and whose its labels are: `labeling` is `source`, or
    `ferplus` where ten voters gave them."""
    split: str
    """Split scored."""
    n_images: int
    """Images in it."""
    models: list[ComparedModel]
    """In the order given."""
    pairs: list[PairedDifference]
    """Every two of them."""
    n_disagreements: int
    """Images on which not all say the same."""
    settings: dict[str, dict[str, Any]]
    """Settings in which the runs among them differ: value by name of the model."""
    repeats: list[RepeatedScores] = field(default_factory=list)
    """Of trainings that were repeated, over two runs or more."""
    files: dict[str, str] = field(default_factory=dict)
    """Pictures and tables that were written."""
