"""Which images are learned from, and which choose the best epoch.

The private split is never opened here: whatever looks at it while training makes its score
worthless.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.data.duplicates import digest_images, group_duplicates
from fercli.data.splitting import sample_folds
from fercli.errors import ConfigError, DatasetNotFoundError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.data import Dataset, Subset

__all__ = ["TrainingSplits", "assign_folds", "choose_splits", "hold_fold_out"]

_HELD_OUT: Final = ("private", "test")
_LARGEST_FRACTION: Final = 0.5
_DEFAULT_FRACTION: Final = "0.1"


@dataclass(frozen=True)
class TrainingSplits:
    """The images of a training."""

    train: Subset
    """Learned from."""
    validation: Subset
    """Choose the best epoch."""
    validation_name: str
    """A split's name, or a fraction of train."""


def choose_splits(dataset: Dataset, config: TrainConfig) -> TrainingSplits:
    """Return the images of a training.

    Args:
        dataset: Has a train split.
        config: `validation`, `split_seed`, and what it says of folds.

    Raises:
        DatasetNotFoundError: The dataset has no such split.
        ConfigError: The split is held out, the fraction is not one, or nothing is left to learn
            from.
    """
    train = dataset.select("train")
    if config.cv_fold:
        train, _ = hold_fold_out(train, config)
    splits = _split(dataset, train, config.validation, config.split_seed)
    fold = config.distillation.fold
    if not fold:
        return splits
    learned = assign_folds(splits.train.images, config.distillation.folds) != fold
    if not learned.any():
        message = "without its fold, no training images are left: there are too few images"
        raise ConfigError(message, hint="give fewer --members, or more images")
    return dataclasses.replace(splits, train=splits.train.take(learned))


def hold_fold_out(train: Subset, config: TrainConfig) -> tuple[Subset, Subset]:
    """Return the train split of a dataset without the fold of a cross-validation, and that fold.

    Args:
        train: The whole split.
        config: `cv_folds`, `cv_fold` and `split_seed` are used.

    Raises:
        ConfigError: One of the two is empty.
    """
    folds = sample_folds(train.images, train.labels, config.cv_folds, config.split_seed)
    held = folds == config.cv_fold
    if held.all() or not held.any():
        message = f"{len(held)} training images are too few for {config.cv_folds} folds"
        raise ConfigError(message)
    return train.take(~held), train.take(held)


def assign_folds(images: NDArray[np.uint8], folds: int) -> NDArray[np.int64]:
    """Return which of some parts each image belongs to, `[N]`, from 1.

    The pixels alone decide: copies share a part, and an image keeps its own whatever else is in the
    dataset.

    Args:
        images: `[N, H, W]`.
        folds: How many parts, at least 1.
    """
    parts: NDArray[np.int64] = (digest_images(images) % np.uint64(folds)).astype(np.int64) + 1
    return parts


def _split(dataset: Dataset, train: Subset, validation: str, split_seed: int) -> TrainingSplits:
    """Return the images of a training.

    Args:
        dataset: Has the other splits.
        train: What may be learned from.
        validation: A split's name, a fraction of train in (0, 0.5], or `auto`: `public`, else
            `validation`, else a tenth of train.
        split_seed: Chooses the images of a fraction.

    Raises:
        DatasetNotFoundError: The dataset has no such split.
        ConfigError: The split is held out, or the fraction is not one.
    """
    if validation == "auto":
        named = (name for name in ("public", "validation") if dataset.find_split(name) is not None)
        validation = next(named, _DEFAULT_FRACTION)
    if validation in _HELD_OUT:
        message = f"the {validation} split is for the final score, training must not look at it"
        raise ConfigError(message, hint="leave --validation out, or give public or a fraction")
    if validation == "train":
        message = "the train split cannot choose its own best epoch"
        raise ConfigError(message, hint="leave --validation out, or give a fraction like 0.1")
    if dataset.find_split(validation) is not None:
        return TrainingSplits(train, dataset.select(validation), validation)
    held = _sample_stratified(train, _parse_fraction(validation, dataset), split_seed)
    return TrainingSplits(
        train.take(~held),
        train.take(held),
        validation,
    )


def _parse_fraction(text: str, dataset: Dataset) -> float:
    try:
        fraction = float(text)
    except ValueError:
        known = ", ".join(dataset.split_names)
        message = f"the dataset {dataset.source} has no {text} split; it has {known}"
        raise DatasetNotFoundError(message, hint="give a split or a fraction of train") from None
    if not 0 < fraction <= _LARGEST_FRACTION:
        message = f"a validation fraction must be above 0 and at most 0.5, not {text}"
        raise ConfigError(message)
    return fraction


def _sample_stratified(train: Subset, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return `[N]` bool with that part of every label's images set, at least one of each.

    Images of the same pixels stay together, or what was learned would choose; such a group counts
    for the label of its first image.
    """
    generator = np.random.default_rng(seed)
    groups = group_duplicates(train.images)
    held = np.zeros(len(groups), dtype=bool)
    firsts = np.flatnonzero(groups == np.arange(len(groups)))
    for label in np.unique(train.labels[firsts]):
        own = generator.permutation(firsts[train.labels[firsts] == label])
        held[own[: max(1, round(fraction * len(own)))]] = True
    return held[groups]
