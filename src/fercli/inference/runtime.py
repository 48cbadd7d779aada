"""What a model is to everything after training: face crops in, probabilities out.

Shape legend: N images, K labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from fercli.emotions import LABELS
from fercli.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fercli.metadata import ModelMetadata

__all__ = [
    "LABEL_SETS",
    "LabelSubsetRuntime",
    "Runtime",
    "choose_labels",
    "predict_checked",
    "predict_in_batches",
    "predict_mirrored",
]

LABEL_SETS: Final = {"fer2013": LABELS}
"""Labels that a model with more can be asked to keep to."""

_RANGE_TOLERANCE: Final = 1e-3
"""How far beyond 0 and 1 a probability may lie."""
_SUM_TOLERANCE: Final = 1e-2
"""How far from 1 probabilities may sum."""


class Runtime(Protocol):
    """A model ready to run, whatever runs it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The K label names, in the order of the probabilities."""

    @property
    def metadata(self) -> ModelMetadata:
        """What is stored with the model; of one that fercli did not write, its labels alone."""

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, `cuda:0`, ..."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]`, rows summing to 1, for `[N, 48, 48]` uint8."""


def predict_in_batches(
    runtime: Runtime,
    images: NDArray[np.uint8],
    *,
    batch_size: int = 256,
    on_progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Return probabilities `[N, K]` for any number of images `[N, 48, 48]`, N >= 1.

    Args:
        runtime: The model.
        images: What to ask it of.
        batch_size: Images a call.
        on_progress: Called after every batch with the images in it.

    Raises:
        ModelFileError: As in `predict_checked`.
    """
    found = []
    for at in range(0, len(images), batch_size):
        batch = images[at : at + batch_size]
        found.append(predict_checked(runtime, batch))
        if on_progress:
            on_progress(len(batch))
    return np.concatenate(found)


def predict_checked(runtime: Runtime, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return probabilities `[N, K]` that can be some.

    Raises:
        ModelFileError: The answer is of another shape or type, not within 0 and 1, or a row does
            not sum to 1: the model is damaged, or none of ours.
    """
    probabilities = runtime.predict(images)
    fault = _find_fault(probabilities, (len(images), len(runtime.labels)))
    if fault is not None:
        raise ModelFileError(fault, hint="take another copy of it, or train it again")
    return probabilities


def _find_fault(answer: object, shape: tuple[int, int]) -> str | None:
    """Return what is wrong with an answer that should be probabilities of a shape, or None."""
    if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
        kind = getattr(answer, "dtype", type(answer).__name__)
        return f"the model returns {kind} instead of float probabilities; it is damaged"
    if answer.shape != shape or not answer.size:
        wanted = "{} images and {} labels".format(*shape)
        return f"the model gives answers of the shape {list(answer.shape)} for {wanted}"
    low, high = answer.min(), answer.max()
    # NaN compares as false, so the tests are written to fail on it.
    if not (low >= -_RANGE_TOLERANCE and high <= 1 + _RANGE_TOLERANCE):
        if not np.isfinite(answer).all():
            return "the model gives probabilities that are not numbers; its weights are damaged"
        return (
            f"the model gives probabilities from {low:g} to {high:g}, which are not within 0 and 1"
        )
    sums = answer.sum(axis=1)
    low, high = sums.min(), sums.max()
    if not (low >= 1 - _SUM_TOLERANCE and high <= 1 + _SUM_TOLERANCE):
        worst = low if 1 - low > high - 1 else high
        return f"the model gives probabilities that sum to {worst:g}, not to 1"
    return None


def predict_mirrored(
    runtime: Runtime,
    images: NDArray[np.uint8],
    plain: NDArray[np.float32],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Return the mean of the plain probabilities and those of the mirror images, `[N, K]`.

    Args:
        runtime: The model.
        images: `[N, 48, 48]`.
        plain: What the model says of `images`, `[N, K]`.
        on_progress: As `predict_in_batches`.
    """
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    other = predict_in_batches(runtime, mirrored, on_progress=on_progress)
    mean: NDArray[np.float32] = (plain + other) / np.float32(2)
    return mean


class LabelSubsetRuntime:
    """A model without some of its labels; their probability is shared out among the others.

    Args:
        runtime: The model, K labels.
        labels: Those to keep, each of them one of the model's.
    """

    def __init__(self, runtime: Runtime, labels: tuple[str, ...]) -> None:
        self.whole = runtime
        self._columns = [runtime.labels.index(label) for label in labels]
        self.labels = labels
        self.metadata = runtime.metadata
        self.device = runtime.device

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]` of the labels kept, for `[N, 48, 48]` uint8.

        Raises:
            ModelFileError: As in `predict_checked`, of all labels.
        """
        kept = predict_checked(self.whole, images)[:, self._columns]
        # Where nothing is left, no label is likelier than another.
        kept = np.maximum(kept, np.finfo(np.float32).tiny)
        reduced: NDArray[np.float32] = kept / kept.sum(axis=1, keepdims=True)
        return reduced


def choose_labels(runtime: Runtime, labels_of: str | None) -> Runtime:
    """Return a model that speaks the labels that were asked for.

    Args:
        runtime: The model.
        labels_of: `fer2013` for FER2013's seven in their order; None for the model's own. A label
            beyond the seven, FER+'s contempt, leaves its probability to them in proportion.

    Raises:
        ModelFileError: The model lacks one of them.
    """
    wanted = runtime.labels if labels_of is None else LABEL_SETS[labels_of]
    if wanted == runtime.labels:
        return runtime
    missing = [label for label in wanted if label not in runtime.labels]
    if missing:
        message = (
            f"the model has the labels {', '.join(runtime.labels)}; it lacks these of {labels_of}: "
            f"{', '.join(missing)}"
        )
        raise ModelFileError(message, hint="leave --labels-of out, or take another model")
    return LabelSubsetRuntime(runtime, wanted)
