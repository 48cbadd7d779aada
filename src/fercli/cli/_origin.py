"""A warning about what a model was trained on, where that matters to its user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fercli.cli._output import Output

__all__ = ["warn_if_synthetic"]


def warn_if_synthetic(output: Output, metadata: Mapping[str, Any]) -> None:
    """Warn that a model that is about to be used on real faces has only seen synthetic ones."""
    from fercli.data.dataset import is_synthetic_source, name_source

    source = name_source(metadata)
    if is_synthetic_source(source):
        output.warn(
            f"this model was trained on synthetic faces only ({source}); its results on real faces "
            "are meaningless"
        )
