"""What the same training came to, several times."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RepeatedRun", "RepeatsResult"]


@dataclass(frozen=True, kw_only=True)
class RepeatedRun:
    """One of them."""

    name: str
    """Of its folder: `seed-0`, or `fold-1`."""
    run_directory: str
    """The run folder."""
    seed: int
    """Its seed."""
    fold: int = 0
    """The fold that it was scored on and did not learn from, from 1; 0 without folds."""
    epochs: int
    """Epochs that were run."""
    best_epoch: int
    """The epoch whose weights were kept, 1-based."""
    validation_accuracy: float
    """Of that epoch, on the split that chose it, in [0, 1]."""
    accuracy: float | None = None
    """On the fold, in [0, 1]; None without folds."""
    macro_f1: float | None = None
    """Likewise."""
    n_images: int | None = None
    """Images of the fold; None without folds."""
    duration_s: float
    """Of its epochs, seconds."""


@dataclass(frozen=True, kw_only=True)
class RepeatsResult:
    """Several trainings: what `data` is with `--seeds` or `--folds`."""

    run_directory: str
    """The folder that holds the runs."""
    kind: str
    """`seeds` or `folds`."""
    validation_split: str
    """The split that chose the epochs."""
    runs: list[RepeatedRun]
    """In order."""
    score: str
    """What is averaged: `accuracy` on the folds, else `validation_accuracy`."""
    mean: float
    """Mean of it, in [0, 1]."""
    standard_deviation: float
    """Of the runs, with N - 1."""
    mean_ci95: tuple[float, float]
    """95 % interval of the mean, by Student's t."""
    pooled_accuracy: float | None = None
    """Over all images of all folds, each predicted by the run that did not learn from it; None
    without folds."""
    pooled_ci95: tuple[float, float] | None = None
    """95 % Wilson interval of it."""
    n_images: int | None = None
    """Images of all folds."""
    duration_s: float
    """Of all epochs, seconds."""
