"""Limits that several concerns share."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_PIXELS", "MOST_PIXELS"]

MAX_PIXELS: Final = 100_000_000
"""Largest image that is decoded, in pixels; 100 megapixels are 100 MB of gray."""
MOST_PIXELS: Final = 178_956_970
"""Most that can be asked for: from here on Pillow takes an image for an attack."""
