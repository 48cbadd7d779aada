"""How files become predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fercli.config.limits import MAX_PIXELS, MOST_PIXELS
from fercli.config.options import check_fields, option, raise_on

__all__ = ["FACES", "ROW_FILE_FORMATS", "PredictConfig"]

FACES: Final = ("auto", "whole", "haar", "yunet")
"""How faces are found in an image."""
ROW_FILE_FORMATS: Final = ("jsonl", "csv", "parquet")
"""How rows are kept in a file, by its ending."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """How faces are found in a file, and what is said of them.

    Times are in seconds; see `images.video.sample_frames` and `prediction.tracking.Tracker`.
    """

    faces: str = option(
        "auto",
        choices=FACES,
        flag="--faces",
        help="How faces are found. whole: the image is a face. auto: whole up to 96 pixels, else "
        "yunet where its weights were fetched, else haar.",
    )
    detector_weights: Path | None = option(
        None,
        flag="--detector-weights",
        metavar="FILE",
        help="Weights of yunet. Default: the known ones, fetched once.",
        details="See `fercli.prediction.weights.provide_weights`.",
    )
    min_face_px: int = option(
        0,
        low=0,
        flag="--min-face",
        metavar="PX",
        help="Leave out faces whose box has a shorter side below this.",
    )
    batch_size: int = option(64, low=1, flag="--batch-size", help="Faces per call of the model.")
    min_confidence: float = option(
        0.0,
        low=0,
        high=1,
        flag="--min-confidence",
        help="Below this confidence, the label is `uncertain`; probabilities are kept.",
    )
    max_pixels: int = option(
        MAX_PIXELS,
        low=1,
        high=MOST_PIXELS,
        flag="--max-pixels",
        help="Largest image to decode, in pixels.",
    )
    image_column: str | None = option(
        None,
        flag="--image-column",
        metavar="NAME",
        help="Parquet files: which column holds the images. Default: the only column of bytes.",
    )

    every_s: float = option(
        0.2,
        low=0,
        flag="--every",
        unit="s",
        help="Videos and live sources: time between sampled frames; 0 for every frame.",
    )
    start_s: float = option(
        0.0, low=0, flag="--start", unit="s", help="Videos: where to begin, as 83 or 1:23."
    )
    end_s: float | None = option(
        None,
        above=0,
        flag="--end",
        unit="s",
        help="Videos: where to end; default: the end. Live sources: when to end; default: never.",
    )
    smooth_s: float = option(
        0.0,
        low=0,
        flag="--smooth",
        unit="s",
        help="Videos and live sources: average each track's probabilities with this time constant, "
        "in extra columns. 0: no smoothing.",
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        problems = check_fields(self)
        if self.detector_weights is not None and self.faces not in {"auto", "yunet"}:
            problems.append("only yunet takes weights: give --faces yunet with them")
        if self.end_s is not None and self.end_s <= self.start_s:
            problems.append(f"end_s must be after start_s ({self.start_s:g}), not {self.end_s:g}")
        raise_on(problems)
