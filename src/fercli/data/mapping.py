"""Labels of a dataset in the order of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fercli.errors import ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["map_labels"]


def map_labels(
    labels: NDArray[np.uint8], names: tuple[str, ...], wanted: tuple[str, ...]
) -> NDArray[np.uint8]:
    """Return label numbers in another order; orders may differ, names may not.

    Args:
        labels: `[N]`, indices into `names`.
        names: The dataset's.
        wanted: The model's.

    Raises:
        ModelFileError: The names differ.
    """
    if set(names) != set(wanted):
        message = f"the model has the labels {', '.join(wanted)}; the dataset {', '.join(names)}"
        raise ModelFileError(message, hint="give a dataset with the model's labels: --data")
    return np.array([wanted.index(name) for name in names], dtype=np.uint8)[labels]
