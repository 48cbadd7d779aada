"""`compare`: several models on the same images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fercli.dependencies import check_installed
from fercli.model.arguments import to_dataset
from fercli.model.models import Model
from fercli.model_files import find_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from fercli.evaluation import Comparison
    from fercli.model.arguments import Source

__all__ = ["compare"]


def compare(
    models: Sequence[Model | str | PathLike[str]],
    data: Source = None,
    *,
    split: str | None = None,
    device: str = "auto",
    labels: Mapping[str, str | Sequence[str]] | None = None,
    scaling: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare models on the same images: scores, significance of differences, cost.

    Args:
        models: Two or more: models, runs, paths or bundled names; a folder of repeated trainings
            stands for its runs.
        data: As `Model.evaluate`.
        split: As `Model.evaluate`.
        device: Where models that are not opened yet run.
        labels: For ONNX files that fercli did not export, by path: what their outputs mean, as
            names in order or as `fer2013`, `ferplus` or `folders`.
        scaling: How such files want their pixels, by path: `0-1` (the default), `0-255`, `-1-1` or
            `imagenet`.

    Raises:
        ConfigError: There are fewer than two models.
        DatasetNotFoundError: There is no such dataset or split.
        ModelFileError: A model is damaged, has other labels than the dataset, or is of somebody
            else and `labels` does not say what its outputs mean.
        DependencyMissingError: scikit-learn or scipy is not installed.
    """
    check_installed("sklearn", "scipy")
    from fercli.evaluation import (
        Candidate,
        check_names,
        choose_split,
        find_own_data,
        list_runs,
        open_candidate,
    )
    from fercli.evaluation import compare as compare_candidates

    models = [
        one
        for given in models
        for one in ([given] if isinstance(given, Model) else list_runs([os.fspath(given)]))
    ]
    specs = [one.name if isinstance(one, Model) else os.fspath(one) for one in models]
    names = check_names(specs)
    files = [
        one.file if isinstance(one, Model) else find_model(spec)
        for one, spec in zip(models, specs, strict=True)
    ]
    dataset = to_dataset(find_own_data(files) if data is None else data)
    chosen = choose_split(dataset, split)
    opened = [
        Candidate(name, one.file, one.open())
        if isinstance(one, Model)
        else open_candidate(
            name, file, dataset, device=device, order=(labels or {}).get(spec),
            scaling=(scaling or {}).get(spec, "0-1"),
        )
        for name, spec, one, file in zip(names, specs, models, files, strict=True)
    ]  # fmt: skip
    return compare_candidates(opened, dataset, chosen)
