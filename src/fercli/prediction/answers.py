"""From face crops to rows: what the model says of each face, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.images import SIDE_PX, VideoFrame
from fercli.inference.runtime import predict_checked
from fercli.results import PredictionRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fercli.config import PredictConfig
    from fercli.inference.runtime import Runtime
    from fercli.prediction.loading import LoadedImage

__all__ = [
    "UNCERTAIN",
    "FilePrediction",
    "build_rows",
    "describe_faces",
    "describe_smoothed",
    "predict_loaded",
]

UNCERTAIN: Final = "uncertain"
"""Label of a face whose best probability is below the threshold."""


@dataclass(frozen=True)
class FilePrediction:
    """What was said of one image, or of one frame of a video."""

    path: Path
    """The file; of a live source, a name for what is made of it."""
    rows: tuple[PredictionRow, ...]
    """One per face, largest first; one without a face where there is none."""
    crops: NDArray[np.uint8]
    """[F, 48, 48], the faces as the model saw them."""
    frame: VideoFrame | None = None
    """The frame, of a video."""
    is_first: bool = True
    """Whether it is the first of its file."""
    content: bytes | None = None
    """The file, where it came from an archive, a table or a store: `path` is no place on disk."""


def predict_loaded(
    runtime: Runtime, chunk: list[LoadedImage], config: PredictConfig, title: str | None
) -> Iterator[FilePrediction]:
    """Yield what is said of each image whose faces were found already, in order.

    Args:
        runtime: The model.
        chunk: As `load_faces` or `search_image` returned them.
        config: What to say.
        title: What rows call the model.

    Raises:
        ModelFileError: The model is damaged.
    """
    crops = [crop for loaded in chunk for crop in loaded.crops]
    starts = range(0, len(crops), config.batch_size)
    batches = [np.stack(crops[at : at + config.batch_size]) for at in starts]
    answers = [
        answer
        for batch in batches
        for answer in describe_faces(
            predict_checked(runtime, batch), runtime.labels, config.min_confidence
        )
    ]
    at = 0
    for loaded in chunk:
        count = len(loaded.crops)
        yield FilePrediction(
            loaded.path,
            build_rows(loaded, answers[at : at + count], title),
            np.stack(loaded.crops) if count else np.empty((0, SIDE_PX, SIDE_PX), dtype=np.uint8),
            loaded.frame,
            content=loaded.content,
        )
        at += count


def describe_faces(
    probabilities: NDArray[np.float32], labels: tuple[str, ...], min_confidence: float
) -> list[tuple[str, float, dict[str, float]]]:
    """Return label, confidence and probabilities by name for each row of `[N, K]`."""
    described = []
    for row in probabilities:
        best = int(row.argmax())
        confidence = float(row[best])
        label = labels[best] if confidence >= min_confidence else UNCERTAIN
        described.append((label, confidence, dict(zip(labels, map(float, row), strict=True))))
    return described


def describe_smoothed(smoothed: dict[str, float], min_confidence: float) -> dict[str, Any]:
    """Return the smoothed fields of a row, of probabilities by label."""
    label, confidence = max(smoothed.items(), key=lambda item: item[1])
    return {
        "smooth_label": label if confidence >= min_confidence else UNCERTAIN,
        "smooth_confidence": confidence,
        "smooth_probabilities": smoothed,
    }


def build_rows(
    loaded: LoadedImage, answers: list[tuple[str, float, dict[str, float]]], title: str | None
) -> tuple[PredictionRow, ...]:
    """Return the rows of an image: one per face, or one that says why there is none.

    Args:
        loaded: As `load_faces` returned it.
        answers: For each of its crops, as `describe_faces` returns them.
        title: What rows call the model.
    """
    shared = {
        "path": loaded.title or str(loaded.path),
        "frame": loaded.frame.index if loaded.frame else None,
        "time_s": loaded.frame.time_s if loaded.frame else None,
        "model": title,
    }
    if loaded.reason is not None:
        status = "refused" if loaded.refused else "unreadable"
        return (PredictionRow(status=status, reason=loaded.reason, **shared),)  # type: ignore[arg-type]  # mypy takes the values for one type
    shared |= {
        "image_width": loaded.width,
        "image_height": loaded.height,
        "detector": loaded.detector,
        "frames": loaded.frames,
    }
    if not answers:
        reason = f"{loaded.detector} finds no face"
        return (PredictionRow(status="no_face", reason=reason, **shared),)  # type: ignore[arg-type]  # as above
    return tuple(
        PredictionRow(
            status="ok",
            face=index,
            box=(face.x, face.y, face.width, face.height),
            label=label,
            confidence=confidence,
            probabilities=probabilities,
            **shared,  # type: ignore[arg-type]  # as above
        )
        for index, (face, (label, confidence, probabilities)) in enumerate(
            zip(loaded.faces, answers, strict=True)
        )
    )
