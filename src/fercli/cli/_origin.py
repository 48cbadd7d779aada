"""A word on what a model learned from, where that matters to whoever uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fercli.cli._output import Output

__all__ = ["warn_of_drawn"]


def warn_of_drawn(output: Output, metadata: Mapping[str, Any]) -> None:
    """Warn that a model which is about to judge real faces has only seen drawn ones."""
    from fercli.data.dataset import is_drawn, name_source

    source = name_source(metadata)
    if is_drawn(source):
        output.warn(f"the model learned drawn faces ({source}): of real ones it knows nothing")
