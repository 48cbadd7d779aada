"""A warning about what a model was trained on, where that matters to its user."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fercli.cli._output import Output
    from fercli.metadata import ModelMetadata

__all__ = ["warn_if_synthetic"]


def warn_if_synthetic(output: Output, metadata: ModelMetadata) -> None:
    """Warn that a model that is about to be used on real faces has only seen synthetic ones."""
    from fercli.data.dataset import is_synthetic_source

    if is_synthetic_source(metadata.source):
        output.warn(
            f"this model was trained on synthetic faces only ({metadata.source}); its results on "
            "real faces are meaningless"
        )
