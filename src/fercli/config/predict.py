"""How files become predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fercli.config.checks import raise_on
from fercli.config.limits import MAX_PIXELS, MOST_PIXELS
from fercli.ranges import find_below, find_outside, find_unknown_choice

__all__ = ["FACES", "PredictConfig"]

FACES: Final = ("auto", "whole", "haar", "yunet")
"""How faces are found in an image."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """What is looked for in a file, and what is said of it."""

    faces: str = "auto"
    """`whole` takes an image as one face, `haar` and `yunet` look for faces in it; `auto` takes
    images of up to 96 pixels as faces and looks for them in others with `haar`."""
    detector_weights: Path | None = None
    """The weights of `yunet`, which needs them; see `fercli.detectors.find_weights`."""
    batch_size: int = 64
    """Faces per call of the model, at least 1."""
    min_confidence: float = 0.0
    """Below it the label is `uncertain`, in [0, 1]; the probabilities stay."""
    max_pixels: int = MAX_PIXELS
    """Largest image that is decoded, width times height."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        problems = [
            *find_unknown_choice("faces", self.faces, FACES),
            *find_below("batch_size", self.batch_size, 1),
            *find_outside("min_confidence", self.min_confidence, 0, 1),
            *find_outside("max_pixels", self.max_pixels, 1, MOST_PIXELS),
        ]
        if self.detector_weights is not None and self.faces != "yunet":
            problems.append("only yunet takes weights: give --faces yunet with them")
        raise_on(problems)
