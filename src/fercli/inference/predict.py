"""From files to rows of probabilities, in batches, one bad file never ending the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.config import MAX_PIXELS
from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import load_face_crop
from fercli.inference.runtime import predict_checked
from fercli.results import PredictionRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.inference.runtime import Runtime

__all__ = ["UNCERTAIN", "predict_files"]

UNCERTAIN: Final = "uncertain"
"""Label of a face whose best probability is below the threshold."""


@dataclass(frozen=True)
class _Loaded:
    """A file, with its crop or the reason why there is none."""

    path: Path
    crop: NDArray[np.uint8] | None
    reason: str | None = None
    refused: bool = False
    width: int | None = None
    height: int | None = None
    frames: int | None = None


def predict_files(
    runtime: Runtime,
    paths: Iterable[Path],
    *,
    batch_size: int = 64,
    min_confidence: float = 0.0,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[PredictionRow]:
    """Yield one row per file, in order; each image is taken as one whole face.

    Args:
        runtime: The model.
        paths: Image files.
        batch_size: Faces per call of the model.
        min_confidence: Below it the label is `uncertain`; the probabilities stay.
        max_pixels: Largest image that is decoded.
    """
    batch: list[_Loaded] = []
    for path in paths:
        batch.append(_load(path, max_pixels))
        if len(batch) >= batch_size:
            yield from _predict_batch(runtime, batch, min_confidence)
            batch = []
    if batch:
        yield from _predict_batch(runtime, batch, min_confidence)


def _load(path: Path, max_pixels: int) -> _Loaded:
    try:
        crop, decoded = load_face_crop(path, max_pixels=max_pixels)
    except ImageDecodeError as reason:
        refused = isinstance(reason, ImageRefusedError)
        return _Loaded(path, None, reason=reason.message, refused=refused)
    height, width = decoded.gray.shape
    return _Loaded(path, crop, width=width, height=height, frames=decoded.frames)


def _predict_batch(
    runtime: Runtime, batch: list[_Loaded], min_confidence: float
) -> Iterator[PredictionRow]:
    crops = [loaded.crop for loaded in batch if loaded.crop is not None]
    probabilities = iter(predict_checked(runtime, np.stack(crops)) if crops else ())
    for loaded in batch:
        if loaded.crop is None:
            status = "refused" if loaded.refused else "unreadable"
            yield PredictionRow(path=str(loaded.path), status=status, reason=loaded.reason)
        else:
            yield _build_row(loaded, next(probabilities), runtime.labels, min_confidence)


def _build_row(
    loaded: _Loaded,
    probabilities: NDArray[np.float32],
    labels: tuple[str, ...],
    min_confidence: float,
) -> PredictionRow:
    best = int(probabilities.argmax())
    confidence = float(probabilities[best])
    return PredictionRow(
        path=str(loaded.path),
        status="ok",
        face=0,
        box=(0, 0, loaded.width or 0, loaded.height or 0),
        confidence=confidence,
        label=labels[best] if confidence >= min_confidence else UNCERTAIN,
        probabilities=dict(zip(labels, map(float, probabilities), strict=True)),
        image_width=loaded.width,
        image_height=loaded.height,
        detector="whole",
        frames=loaded.frames,
    )
