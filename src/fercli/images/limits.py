"""What is said of an image that is larger than asked for."""

from __future__ import annotations

from fercli.config.limits import MOST_PIXELS
from fercli.errors import ImageRefusedError

__all__ = ["refuse_pixels"]


def refuse_pixels(what: str, n_pixels: int, max_pixels: int) -> ImageRefusedError:
    """Return the refusal of something with more pixels than are decoded.

    Args:
        what: The thing with its size.
        n_pixels: Its pixels.
        max_pixels: The limit; the hint is the option that lifts it, where it may be lifted so far.
    """
    hint = f"--max-pixels {n_pixels}" if n_pixels <= MOST_PIXELS else ""
    return ImageRefusedError(f"{what} is more than {max_pixels} pixels", hint=hint)
