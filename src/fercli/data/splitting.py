"""Splits and folds: drawn, seeded, of every label alike, copies of an image together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.data.duplicates import group_duplicates

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAMPLED_SPLITS", "sample_folds", "sample_splits"]

SAMPLED_SPLITS: Final = ("train", "validation", "test")
_SHARE: Final = 0.1
"""Of each of the two small splits."""
_SEED: Final = 0


def sample_splits(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return for each image the split it is drawn for, `[N]`, indices into `SAMPLED_SPLITS`.

    Images of the same pixels are kept together, or a test would hold what was learned. A label
    with fewer than three different images has none in the later splits.

    Args:
        images: `[N, H, W]`.
        labels: `[N]`; images of the same pixels go where the first of them is drawn.
    """
    generator = np.random.default_rng(_SEED)
    groups = group_duplicates(images)
    drawn = np.zeros(len(images), dtype=np.uint8)
    firsts = np.flatnonzero(groups == np.arange(len(groups)))
    for label in np.unique(labels):
        own = generator.permutation(firsts[labels[firsts] == label])
        n_each = max(1, round(_SHARE * len(own))) if len(own) >= len(SAMPLED_SPLITS) else 0
        drawn[own[:n_each]] = SAMPLED_SPLITS.index("test")
        drawn[own[n_each : 2 * n_each]] = SAMPLED_SPLITS.index("validation")
    return drawn[groups]


def sample_folds(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], n_folds: int, seed: int
) -> NDArray[np.int64]:
    """Return for each image the fold it is in, `[N]`, from 1.

    Images of the same pixels share a fold, whatever their labels. Each label is dealt out evenly,
    largest groups of copies first.

    Args:
        images: `[N, H, W]`.
        labels: `[N]`; a group of copies counts for the label of its first image.
        n_folds: How many folds, at least 2.
        seed: Of the order in which images are dealt out.
    """
    generator = np.random.default_rng(seed)
    groups = group_duplicates(images)
    firsts, sizes = np.unique(groups, return_counts=True)
    folds = np.zeros(len(images), dtype=np.int64)
    in_all = np.zeros(n_folds, dtype=np.int64)
    for label in np.unique(labels):
        own = generator.permutation(np.flatnonzero(labels[firsts] == label))
        of_label = np.zeros(n_folds, dtype=np.int64)
        for group in own[np.argsort(-sizes[own], kind="stable")]:
            fold = int(np.lexsort((in_all, of_label))[0])
            folds[firsts[group]] = fold + 1
            of_label[fold] += sizes[group]
            in_all[fold] += sizes[group]
    return folds[groups]
