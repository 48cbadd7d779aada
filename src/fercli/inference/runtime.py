"""What a model is to everything after training: face crops in, probabilities out.

Shape legend: N images, K labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fercli.errors import ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Runtime", "predict_checked", "predict_in_batches", "predict_mirrored"]


class Runtime(Protocol):
    """A model ready to run, whatever runs it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The K label names, in the order of the probabilities."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The JSON object stored with the model."""

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, `cuda:0`, ..."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]`, rows summing to 1, for `[N, 48, 48]` uint8."""


def predict_in_batches(
    runtime: Runtime, images: NDArray[np.uint8], *, batch_size: int = 256
) -> NDArray[np.float32]:
    """Return probabilities `[N, K]` for any number of images `[N, 48, 48]`, N >= 1.

    Raises:
        ModelFileError: As in `predict_checked`.
    """
    batches = range(0, len(images), batch_size)
    return np.concatenate(
        [predict_checked(runtime, images[at : at + batch_size]) for at in batches]
    )


def predict_checked(runtime: Runtime, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return probabilities `[N, K]` that are numbers.

    Raises:
        ModelFileError: The model gives NaN or infinity: its weights are damaged.
    """
    probabilities = runtime.predict(images)
    if not np.isfinite(probabilities).all():
        message = "the model gives probabilities that are not numbers; its weights are damaged"
        raise ModelFileError(message, hint="take another copy of it, or train it again")
    return probabilities


def predict_mirrored(
    runtime: Runtime, images: NDArray[np.uint8], plain: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the mean of the plain probabilities and those of the mirror images, `[N, K]`.

    Args:
        runtime: The model.
        images: `[N, 48, 48]`.
        plain: What the model says of `images`, `[N, K]`.
    """
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    mean: NDArray[np.float32] = (plain + predict_in_batches(runtime, mirrored)) / np.float32(2)
    return mean
