"""Results as plain JSON values."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["to_json"]


def to_json(result: object) -> dict[str, Any]:
    """Return a result as plain JSON values, nested results included.

    Raises:
        TypeError: `result` is not a dataclass instance.
    """
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        message = f"not a result: {result!r}"
        raise TypeError(message)
    return dataclasses.asdict(result)
