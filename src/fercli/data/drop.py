"""Leave out of a dataset what its audit found; only ever on request.

Images are left out of every split, so scores on what remains are not those of the whole FER2013:
the counts, and the warning about them, say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.data.dataset import Dataset, take_images
from fercli.data.duplicates import group_duplicates
from fercli.errors import ConfigError
from fercli.ranges import find_unknown_choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DROPS", "drop_images", "find_conflicts", "find_constants", "parse_drops"]

DROPS: Final = ("constant", "conflicts", "leaks", "duplicates")
"""What can be left out, in the order in which it is: an image counts for the first that it is."""


def parse_drops(text: str) -> list[str]:
    """Return the reasons in a list separated by commas.

    Raises:
        ConfigError: Some are unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    problems = [problem for name in names for problem in find_unknown_choice("drop", name, DROPS)]
    if problems or not names:
        raise ConfigError(*(problems or [f"--drop needs some of {', '.join(DROPS)}"]))
    return names


def drop_images(dataset: Dataset, reasons: Sequence[str]) -> Dataset:
    """Return a dataset without some of its images, and with their number per reason.

    Args:
        dataset: Any.
        reasons: Of `DROPS`. `constant`: all pixels are the same. `conflicts`: the same pixels also
            stand there with another label. `leaks`: of train, and the same pixels stand in another
            split too. `duplicates`: copies within a split but the first.
    """
    groups = group_duplicates(np.asarray(dataset.images))
    found = {
        "constant": find_constants(dataset.images),
        "conflicts": find_conflicts(groups, dataset.labels),
        "leaks": _find_leaks(dataset, groups),
    }
    kept = np.ones(dataset.n_images, dtype=bool)
    dropped = dict(dataset.dropped)
    for reason in [name for name in DROPS if name in reasons]:
        # Which copy is the first depends on what is left.
        hit = _find_copies(dataset, groups, kept) if reason == "duplicates" else found[reason]
        dropped[reason] = dropped.get(reason, 0) + int((kept & hit).sum())
        kept &= ~hit
    return take_images(dataset, kept, dropped=dropped)


def find_constants(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return `[N]` bool: whether all pixels of an image are the same."""
    flat = np.asarray(images).reshape(len(images), int(np.prod(images.shape[1:])))
    constant: NDArray[np.bool_] = (flat == flat[:, :1]).all(axis=1)
    return constant


def find_conflicts(groups: NDArray[np.intp], labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return `[N]` bool: whether a group of duplicates has more than one label."""
    lowest = np.full(len(groups), 255, dtype=np.uint8)
    highest = np.zeros(len(groups), dtype=np.uint8)
    np.minimum.at(lowest, groups, labels)
    np.maximum.at(highest, groups, labels)
    conflicting: NDArray[np.bool_] = (lowest != highest)[groups]
    return conflicting


def _find_leaks(dataset: Dataset, groups: NDArray[np.intp]) -> NDArray[np.bool_]:
    if "train" not in dataset.split_names:
        return np.zeros(len(groups), dtype=bool)
    in_train = dataset.splits == dataset.split_names.index("train")
    leaks: NDArray[np.bool_] = in_train & np.isin(groups, groups[~in_train])
    return leaks


def _find_copies(
    dataset: Dataset, groups: NDArray[np.intp], kept: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return `[N]` bool: whether a kept image of the same split and pixels comes before."""
    positions = np.flatnonzero(kept)
    keys = np.stack([dataset.splits[positions].astype(np.intp), groups[positions]])
    _, first = np.unique(keys, axis=1, return_index=True)
    copies = kept.copy()
    copies[positions[first]] = False
    return copies
