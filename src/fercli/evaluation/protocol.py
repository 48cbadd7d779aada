"""What a score is worth: whether its images chose the model, and which the model learned from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.data.dataset import FERPLUS, FROM_SOURCE, is_synthetic_source
from fercli.data.duplicates import digest_images
from fercli.data.synthetic import parse_synthetic
from fercli.errors import DatasetNotFoundError, ModelFileError
from fercli.model_files import list_selection_splits, load_train_digests
from fercli.results import Deduplicated
from fercli.runs import read_run_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fercli.data import Dataset
    from fercli.inference import Runtime
    from fercli.metadata import ModelMetadata
    from fercli.model_files import ModelFile

__all__ = [
    "HELD_OUT",
    "SELECTION",
    "TRAINING",
    "UNKNOWN",
    "check_labeling",
    "choose_split",
    "find_own_data",
    "find_train_duplicates",
    "judge_split",
    "score_deduplicated",
]

HELD_OUT: Final = "held-out"
SELECTION: Final = "selection"
TRAINING: Final = "training"
UNKNOWN: Final = "unknown"
_BY_PREFERENCE: Final = ("private", "test", "public", "validation")
_HALVES: Final = {"test": ("public", "private")}
"""FER2013's test images are those of two splits together, whatever a copy calls them."""


def choose_split(dataset: Dataset, split: str | None) -> str:
    """Return the split to score: the one named, else private, test, public or validation.

    Raises:
        DatasetNotFoundError: The dataset has none of them, or not the one named.
    """
    names = (split,) if split else _BY_PREFERENCE
    for name in names:
        if dataset.find_split(name) is not None:
            return name
    has = [name for name in dataset.split_names if dataset.find_split(name) is not None]
    wanted = f"no complete {split} split" if split else "no split to score on"
    message = f"the dataset {dataset.source} has {wanted}; it has {', '.join(has) or 'no images'}"
    raise DatasetNotFoundError(message, hint="choose one of these with --split")


def find_own_data(models: Iterable[ModelFile]) -> str | None:
    """Return the data that the runs among some models learned from, as it was named.

    None stands for the prepared default: where no run says otherwise, where two runs say different
    things, and where the data is no longer there.

    Raises:
        ModelFileError: A run's record is damaged.
    """
    runs = [one.run for one in models if one.run is not None]
    named = {read_run_record(run).dataset.data for run in runs}
    data = named.pop() if len(named) == 1 else None
    if data is None or not (parse_synthetic(data) or Path(data).exists()):
        return None
    return data


def judge_split(
    metadata: ModelMetadata,
    dataset: Dataset,
    split: str,
    seen: tuple[NDArray[np.bool_], str] | None = None,
) -> str:
    """Return `held-out`, `selection` or `training`, or `unknown` for a model of somebody else.

    Splits are compared by name: whoever drops images from a dataset, adds some or compresses them
    anew still has the split that chose, and no digest would say so. Where a split of other data has
    the name, the judgement is too strict; it is never too kind. A teacher's choice is passed on to
    whoever learns from it or is fine-tuned from it. Synthetic faces and real ones are told apart,
    but for a fine-tuned model, which may have met both.

    Args:
        metadata: The model's.
        dataset: What it is scored on.
        split: The split.
        seen: What `find_train_duplicates` says; a split that was learned from altogether is
            `training` under whatever name.
    """
    if metadata.dataset is None:
        return UNKNOWN
    if seen is not None and seen[0].all():
        return TRAINING
    if metadata.init is None and is_synthetic_source(metadata.source) != dataset.is_synthetic:
        return HELD_OUT
    if split == "train":
        return TRAINING
    parts = {split, *_HALVES.get(split, ())}
    return SELECTION if parts & set(list_selection_splits(metadata)) else HELD_OUT


def check_labeling(runtime: Runtime, dataset: Dataset) -> None:
    """Refuse to score a model of one task by the labels of the other; their names are alike.

    Raises:
        ModelFileError: One has FER+'s labels, the other those of its source.
    """
    own = runtime.metadata.dataset
    if own is None:
        # Somebody else's model: which labels it learned is for whoever scores it to know.
        return
    learned = own.labeling
    if learned != dataset.labeling:
        said = {FERPLUS: "the votes of FER+", FROM_SOURCE: "the labels of its source"}
        message = (
            f"the model was trained on {said.get(learned, learned)}, but {dataset.source} has "
            f"{said.get(dataset.labeling, dataset.labeling)}: the score would be meaningless"
        )
        hint = "give a dataset with the same labels: --data"
        raise ModelFileError(message, hint=hint)


def find_train_duplicates(
    model: ModelFile, metadata: ModelMetadata, dataset: Dataset, split: str
) -> tuple[NDArray[np.bool_], str] | None:
    """Return which images of a split were learned from, pixel for pixel.

    Args:
        model: Beside its file may lie which images it learned from.
        metadata: Its metadata.
        dataset: Its train split counts as learned from, where it has one.
        split: The split.

    Returns:
        `[N]`, and who says so: the `dataset`, the `model`, or `dataset and model`; None where
        neither knows.

    Raises:
        ModelFileError: The file beside the model is damaged.
    """
    known = {}
    positions = dataset.find_split("train")
    if positions is not None and split != "train":
        known["dataset"] = digest_images(dataset.images[positions])
    learned = load_train_digests(model, metadata)
    if learned is not None:
        known["model"] = learned
    if not known:
        return None
    digests = digest_images(dataset.select(split).images)
    return np.isin(digests, np.concatenate(list(known.values()))), " and ".join(known)


def score_deduplicated(
    seen: tuple[NDArray[np.bool_], str] | None, right: NDArray[np.bool_]
) -> Deduplicated | None:
    """Return the score of the images that were not learned from.

    Args:
        seen: What `find_train_duplicates` says.
        right: `[N]`, which answers are right.
    """
    if seen is None:
        return None
    known, source = seen
    return Deduplicated(
        n_images=int((~known).sum()),
        accuracy=None if known.all() else float(right[~known].mean()),
        n_seen=int(known.sum()),
        source=source,
    )
