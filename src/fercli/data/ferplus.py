"""FER+: ten people's votes on each image of FER2013, read, joined and turned into labels.

The votes (`fer2013new.csv`) have no pixels, only the order of FER2013's own table, so they are
joined by row number, and refused when the splits do not agree row by row. Labels made of them are
another task than FER2013's: about a third differ.

Source:
    Barsoum, Zhang, Canton Ferrer and Zhang, "Training Deep Networks for Facial Expression
    Recognition with Crowd-Sourced Label Distribution", 2016, arXiv 1608.01041; that one vote alone
    counts as a slip, and that a majority is more than half of what remains, is from there.

Shape legend: R rows of the votes' table, N images, K labels.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.data.dataset import FERPLUS, take_images
from fercli.emotions import FERPLUS_LABELS
from fercli.errors import DatasetLayoutError, DatasetNotFoundError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data.dataset import Dataset

__all__ = [
    "NOT_A_FACE",
    "UNKNOWN",
    "Votes",
    "find_majority",
    "join_votes",
    "read_votes",
    "relabel",
    "share",
]

_COLUMNS: Final = (
    "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt",
    "unknown", "NF",
)  # fmt: skip
"""The table's columns in the order of `FERPLUS_LABELS`, then the two that are no emotions."""
_USAGES: Final = {"Training": "train", "PublicTest": "public", "PrivateTest": "private"}
_MOST_VOTES: Final = 100
_LEAST_AGREEMENT: Final = 0.4
"""Of FER2013's labels two thirds agree; of images in another order no more than a fifth."""
UNKNOWN: Final = len(FERPLUS_LABELS)
"""Column of votes for "cannot be told"."""
NOT_A_FACE: Final = len(FERPLUS_LABELS) + 1
"""Column of votes for "no face"."""


@dataclass(frozen=True)
class Votes:
    """What people said of images."""

    counts: NDArray[np.int16]
    """[R, 10], votes for each of `FERPLUS_LABELS`, for unknown and for not a face."""
    splits: tuple[str, ...]
    """[R], the split each row belongs to."""
    name: str
    """The file's name."""


def read_votes(path: Path) -> Votes:
    """Read `fer2013new.csv`.

    Raises:
        DatasetNotFoundError: There is no such file.
        DatasetLayoutError: A row is not what the file's rows are.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            missing = [name for name in ("Usage", *_COLUMNS) if name not in (rows.fieldnames or ())]
            if missing:
                message = f"{path} is not the table of FER+ votes: it has no {', '.join(missing)}"
                raise DatasetLayoutError(message, hint="FER+'s file is fer2013new.csv")
            parsed = [_parse_row(path, number, row) for number, row in enumerate(rows, start=2)]
    except FileNotFoundError:
        message = f"there is nothing at {path}"
        raise DatasetNotFoundError(message, hint="FER+'s file is fer2013new.csv") from None
    except (OSError, UnicodeDecodeError, csv.Error) as reason:
        message = f"{path} cannot be read ({reason})"
        raise DatasetLayoutError(message) from reason
    if not parsed:
        message = f"{path} has a header but no rows"
        raise DatasetLayoutError(message)
    counts = np.array([votes for _, votes in parsed], dtype=np.int16)
    return Votes(counts, tuple(split for split, _ in parsed), path.name)


def join_votes(votes: Votes, dataset: Dataset) -> NDArray[np.int16]:
    """Return the votes on each image, `[N, 10]`.

    Raises:
        DatasetLayoutError: The dataset's images do not come in the order of FER2013's table, as
            splits or labels show.
    """
    rows = np.asarray(dataset.source_row)
    hint = "votes fit fer2013.csv or icml_face_data.csv, or a dataset prepared from one of them"
    if rows.max(initial=-1) >= len(votes.splits):
        message = f"{votes.name} has {len(votes.splits):,} rows, {dataset.source} has more"
        raise DatasetLayoutError(message, hint=hint)
    named = np.array(dataset.split_names)[dataset.splits]
    differs = np.array(votes.splits)[rows] != named
    if differs.any():
        row = int(rows[np.argmax(differs)])
        message = (
            f"{votes.name} does not match {dataset.source}: image {row} is in "
            f"{named[np.argmax(differs)]} in the dataset but in {votes.splits[row]} in the votes"
        )
        raise DatasetLayoutError(message, hint=hint)
    joined: NDArray[np.int16] = votes.counts[rows]
    agreement = _measure_agreement(joined, dataset)
    if agreement is not None and agreement < _LEAST_AGREEMENT:
        message = (
            f"{votes.name} does not match {dataset.source}: only {agreement:.0%} of the majority "
            "votes agree with the labels, as if they were for other images"
        )
        raise DatasetLayoutError(message, hint=hint)
    return joined


def _measure_agreement(counts: NDArray[np.int16], dataset: Dataset) -> float | None:
    """Return for how many images with a majority it is the label; None where none can be."""
    majority = find_majority(counts, len(FERPLUS_LABELS))
    known = np.array([*FERPLUS_LABELS, ""])[majority]
    judged = (majority >= 0) & np.isin(known, dataset.label_names)
    if not judged.any():
        return None
    named = np.array(dataset.label_names)[dataset.labels]
    return float((known == named)[judged].mean())


def find_majority(counts: NDArray[np.int16], n_labels: int) -> NDArray[np.intp]:
    """Return the label of each image, `[N]`; -1 where there is none.

    A single vote is left out as a slip; a label needs more than half of what remains, and votes
    for "unknown", for "no face" and for emotions after the first `n_labels` count against it.

    Args:
        counts: `[N, 10]`.
        n_labels: 7, or 8 with contempt.
    """
    firm = _drop_slips(counts)
    top = firm.argmax(axis=1)
    clear = firm.max(axis=1) * 2 > firm.sum(axis=1)
    return np.where(clear & (top < n_labels), top, -1)


def share(counts: NDArray[np.int16], n_labels: int) -> NDArray[np.float32]:
    """Return how the votes for emotions are distributed, `[N, K]` float32; rows sum to 1.

    Single votes are left out as slips; a row without any other vote for an emotion is all 0.

    Args:
        counts: `[N, 10]`.
        n_labels: K, 7 or 8.
    """
    firm = _drop_slips(counts)[:, :n_labels].astype(np.float32)
    shares: NDArray[np.float32] = firm / np.maximum(firm.sum(axis=1, keepdims=True), 1)
    return shares


def _drop_slips(counts: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.where(counts > 1, counts, 0).astype(np.int16)


def _parse_row(path: Path, number: int, row: dict[str, str]) -> tuple[str, list[int]]:
    split = _USAGES.get((row["Usage"] or "").strip())
    fields = [(row[name] or "").strip() for name in _COLUMNS]
    if split is None or not all(
        field.isascii() and field.isdigit() and len(field) < 4 for field in fields
    ):
        message = f"{path.name}, row {number}: expected a split and ten vote counts"
        raise DatasetLayoutError(message, hint="nothing was written")
    votes = [int(field) for field in fields]
    if max(votes) > _MOST_VOTES:
        message = f"{path.name}, row {number}: {max(votes)} votes for one label"
        raise DatasetLayoutError(message, hint="nothing was written")
    return split, votes


def relabel(dataset: Dataset, votes: Votes, n_labels: int, *, soft: bool) -> Dataset:
    """Return a dataset whose labels are what FER+'s voters said.

    Images are left out where there is no majority for one of the labels; with `soft`, only where
    no more than half of the firm votes are for the labels. Their number stands in `dropped`.

    Args:
        dataset: In the order of FER2013's table.
        votes: Of `read_votes`.
        n_labels: 7, or 8 with contempt.
        soft: Keep how the votes are distributed, to learn from.

    Raises:
        DatasetLayoutError: The votes do not go with the dataset.
    """
    counts = join_votes(votes, dataset)
    labels, shares = find_majority(counts, n_labels), None
    if soft:
        firm = _drop_slips(counts)
        clear = firm[:, :n_labels].sum(axis=1) * 2 > firm.sum(axis=1)
        shares = share(counts, n_labels)
        labels = np.where(clear, shares.argmax(axis=1), -1)
    kept = labels >= 0
    return take_images(
        dataset,
        kept,
        labels=labels[kept].astype(np.uint8),
        targets=None if shares is None else shares[kept],
        label_names=FERPLUS_LABELS[:n_labels],
        labeling=FERPLUS,
        dropped={**dataset.dropped, "no_majority": int((~kept).sum())},
    )
