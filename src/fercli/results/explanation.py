"""What explaining images came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ExplainResult", "ExplainedImage"]


@dataclass(frozen=True, kw_only=True)
class ExplainedImage:
    """One image, and the picture that explains the prediction for its largest face."""

    path: str
    """As it was given or found."""
    status: Literal["ok", "no_face", "unreadable", "refused"] = "ok"
    """As the rows of `fer predict`."""
    reason: str | None = None
    """Why there is no picture."""
    label: str | None = None
    """The predicted one; None without a face, as below."""
    confidence: float | None = None
    """Its probability."""
    probabilities: Mapping[str, float] | None = None
    """Of each label."""
    output: str | None = None
    """Path of the picture."""


@dataclass(frozen=True, kw_only=True)
class ExplainResult:
    """Explained images, in their order."""

    model: str
    """What was explained."""
    methods: tuple[str, ...]
    """`occlusion`, and `layer-cam` where the model has gradients."""
    n_inputs: int
    """Images."""
    n_skipped: int
    """Images that could not be read."""
    rows: tuple[ExplainedImage, ...]
    """One for each."""
