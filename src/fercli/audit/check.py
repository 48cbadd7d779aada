"""The audit of a dataset: copies, leaks, contradictions, empty images, what others said of them.

Nothing here changes a dataset; `fer data prepare --drop` acts on what is found.

Shape legend: N images, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from fercli.audit.near_duplicates import NearDuplicates, find_near_duplicates
from fercli.data.drop import find_conflicts, find_constants
from fercli.data.duplicates import group_duplicates
from fercli.data.ferplus import NOT_A_FACE, UNKNOWN, find_majority, join_votes
from fercli.emotions import FERPLUS_LABELS
from fercli.results import CheckResult, DuplicateCounts, FerPlusReport, NearCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data import Dataset
    from fercli.data.ferplus import Votes

__all__ = ["Audit", "check_dataset", "summarize"]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found, by positions of images."""

    dataset: Dataset
    """What was looked at."""
    groups: NDArray[np.intp]
    """[N], the first image with the same pixels."""
    conflicting: NDArray[np.bool_]
    """[N], whether an image with the same pixels has another label."""
    constant: NDArray[np.bool_]
    """[N], whether all pixels of an image are the same."""
    near: NearDuplicates | None
    """Pairs of different images that show nearly the same, if they were looked for."""
    votes: NDArray[np.int16] | None
    """[N, 10], the columns of FER+, if its votes were given."""


def check_dataset(
    dataset: Dataset,
    *,
    near: bool,
    votes: Votes | None = None,
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> Audit:
    """Look at every image of a dataset.

    Args:
        dataset: Any.
        near: Whether to look for images that are nearly the same.
        votes: FER+'s, to compare the labels with.
        on_progress: Called with images compared, and how many there are, in that search.

    Raises:
        DatasetLayoutError: The votes do not go with the dataset.
    """
    joined = None if votes is None else join_votes(votes, dataset)
    images = np.asarray(dataset.images)
    groups = group_duplicates(images)
    return Audit(
        dataset=dataset,
        groups=groups,
        conflicting=find_conflicts(groups, dataset.labels),
        constant=find_constants(images),
        near=_find_near(images, groups, on_progress) if near else None,
        votes=joined,
    )


def summarize(audit: Audit, warnings: list[str]) -> CheckResult:
    """Return an audit as numbers."""
    dataset = audit.dataset
    return CheckResult(
        source=dataset.source,
        n_images=dataset.n_images,
        counts=dataset.count(),
        sha256=dataset.sha256,
        official=dataset.is_official,
        duplicates=_count_duplicates(dataset, audit.groups),
        conflicting_groups=len(np.unique(audit.groups[audit.conflicting])),
        conflicting_images=int(audit.conflicting.sum()),
        constant_images=[
            {"image": int(position), **describe_image(dataset, int(position))}
            for position in np.flatnonzero(audit.constant)
        ],
        near_duplicates=(
            None if audit.near is None else _count_near(dataset, audit.groups, audit.near)
        ),
        ferplus=None if audit.votes is None else _compare(dataset, audit.votes),
        warnings=warnings,
    )


def describe_image(dataset: Dataset, position: int) -> dict[str, int | str]:
    """Return where an image comes from: row, split, label."""
    return {
        "source_row": int(dataset.source_row[position]),
        "split": dataset.split_names[dataset.splits[position]],
        "label": dataset.label_names[dataset.labels[position]],
    }


def _find_near(
    images: NDArray[np.uint8],
    groups: NDArray[np.intp],
    on_progress: Callable[[int, int | None], None],
) -> NearDuplicates:
    """Compare images that differ; one of each group stands for all."""
    distinct = np.flatnonzero(groups == np.arange(len(groups)))
    found = find_near_duplicates(images[distinct], on_progress)
    return NearDuplicates(
        distinct[found.first], distinct[found.second], found.correlation, found.mirrored
    )


def _count_duplicates(dataset: Dataset, groups: NDArray[np.intp]) -> DuplicateCounts:
    by_split = {
        name: groups[dataset.splits == number] for number, name in enumerate(dataset.split_names)
    }
    return DuplicateCounts(
        n_redundant=len(groups) - len(np.unique(groups)),
        within={name: len(own) - len(np.unique(own)) for name, own in by_split.items()},
        across={
            f"{a}/{b}": int(np.isin(by_split[b], by_split[a]).sum())
            for a, b in permutations(by_split, 2)
        },
    )


def _count_near(dataset: Dataset, groups: NDArray[np.intp], near: NearDuplicates) -> NearCounts:
    """Count pairs, and images of b with one in a; exact copies of either count with it."""
    left = np.concatenate([near.first, near.second])
    right = np.concatenate([near.second, near.first])
    by_split = {
        name: groups[dataset.splits == number] for number, name in enumerate(dataset.split_names)
    }
    across = {}
    for a, b in permutations(by_split, 2):
        like_a = right[np.isin(left, by_split[a])]
        across[f"{a}/{b}"] = int(np.isin(by_split[b], like_a).sum())
    return NearCounts(n_pairs=len(near.first), n_mirrored=int(near.mirrored.sum()), across=across)


def _compare(dataset: Dataset, votes: NDArray[np.int16]) -> FerPlusReport:
    """Compare labels with what most people said."""
    majority = find_majority(votes, len(FERPLUS_LABELS))
    names = np.array([*FERPLUS_LABELS, ""])
    judged = majority >= 0
    agrees = names[majority] == np.array(dataset.label_names)[dataset.labels]
    top = votes.argmax(axis=1)
    per_split = {}
    for number, name in enumerate(dataset.split_names):
        here = dataset.splits == number
        per_split[name] = {
            "n_images": int(here.sum()),
            "n_with_majority": int((here & judged).sum()),
            "n_agreeing": int((here & judged & agrees).sum()),
            "n_not_a_face_votes": int((here & (votes[:, NOT_A_FACE] > 0)).sum()),
            "n_not_a_face": int((here & (top == NOT_A_FACE)).sum()),
            "n_unknown": int((here & (top == UNKNOWN)).sum()),
        }
    noise = {}
    for number, name in enumerate(dataset.label_names):
        here = (dataset.labels == number) & judged
        noise[name] = 1 - float(agrees[here].mean()) if here.any() else None
    return FerPlusReport(splits=per_split, label_noise=noise)
