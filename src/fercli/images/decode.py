"""Decode an image file into pixels, grey first of all.

The format is decided by content, the name means nothing. Only six formats are offered to Pillow,
so its rarer (and more often exploited) codecs never run. Every way of storing the same picture
gives the same grey values: orientation is applied, 16 bits are scaled rather than clipped (which
is what `convert("L")` does), transparency is laid on white as a page shows it, and only the first
frame of an animation counts.

Shape legend: H, W are the height and width of the upright image in pixels.
"""

from __future__ import annotations

import functools
import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from fercli.config import MAX_PIXELS
from fercli.errors import FercliError, ImageDecodeError, ImageRefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["MAX_FILE_BYTES", "SUFFIXES", "DecodedImage", "convert_image", "load_image"]

FORMATS: Final = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".jpe", ".jfif", ".dib"}
)
"""Names by which folders are searched; whether a file is an image its content decides."""
MAX_FILE_BYTES: Final = 1 << 30
"""Largest file that is read; the pixels of 100 megapixels in 16-bit colour fit."""

_SIXTEEN_BIT: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_TRANSPARENT: Final = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image and what a user may want to know about its file."""

    gray: NDArray[np.uint8]
    """[H, W], 0-255."""
    frames: int
    """Frames in the file; `gray` is the first."""
    rgb: NDArray[np.uint8] | None = None
    """[H, W, 3], 0-255, where color was asked for."""


def load_image(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, color: bool = False
) -> DecodedImage:
    """Decode an image file, or its bytes, into grey, and into color where that is asked for.

    Args:
        source: A path (regular files only, links to them included) or a file's whole content.
        max_pixels: Largest width times height that is decoded.
        color: Keep the colors, too.

    Raises:
        ImageDecodeError: Not a regular file, not one of the six formats, truncated, too large,
            holding pixels without a defined brightness, or refused by its codec for any reason.
        ImageRefusedError: Of these: not a regular file, or too large.
    """
    try:
        content = source if isinstance(source, bytes) else _read_regular_file(source)
        return _decode(io.BytesIO(content), max_pixels, color=color)
    except FercliError:
        raise
    except Exception as reason:
        # Codecs raise ValueError, SyntaxError, struct.error, IndexError and more on odd files;
        # whatever it was, one file must not end a batch of thousands.
        raise ImageDecodeError(_describe(reason)) from reason


def _read_regular_file(path: Path) -> bytes:
    """Read a file without ever waiting on a pipe or device."""
    # O_NONBLOCK: opening a pipe nobody writes to would otherwise hang before it can be refused.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as reason:
        raise ImageDecodeError(reason.strerror or str(reason)) from reason
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            message = "not a regular file"
            raise ImageRefusedError(message)
        if status.st_size > MAX_FILE_BYTES:
            message = f"larger than {MAX_FILE_BYTES} bytes"
            raise ImageRefusedError(message)
        return _read_all(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, size: int) -> bytes:
    """Read a file of a size that was just asked for.

    Without a stream object: of a face crop's file it would take longer than the reading, and each
    of its calls hands Python's lock to another thread.
    """
    content = os.read(descriptor, size)
    while len(content) < size:
        more = os.read(descriptor, size - len(content))
        if not more:
            break
        content += more
    return content


def convert_image(
    image: Image.Image, *, max_pixels: int = MAX_PIXELS, color: bool = False
) -> DecodedImage:
    """Return an image that somebody opened in Pillow as pixels.

    Args:
        image: In any mode; what Pillow has not read of it yet is read now.
        max_pixels: Largest width times height that is taken.
        color: Keep the colors, too.

    Raises:
        ImageDecodeError: Truncated, without pixels, too large, or of no defined brightness.
    """
    try:
        _check_size(image, max_pixels)
        return _convert(image, frames=1, color=color)
    except FercliError:
        raise
    except Exception as reason:
        # As in `load_image`: reading may have been left to us.
        raise ImageDecodeError(_describe(reason)) from reason


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        message = f"{width}x{height} is more than {max_pixels} pixels"
        raise ImageRefusedError(message)
    if not width * height:
        message = "it has no pixels"
        raise ImageDecodeError(message)


def _convert(image: Image.Image, *, frames: int, color: bool) -> DecodedImage:
    """Return an opened image, upright, as pixels."""
    from PIL import ImageOps

    # A JPEG says by these whether it is turned; looking further takes as long as decoding it.
    is_plain = image.format == "JPEG" and not image.info.keys() & {"exif", "xmp"}
    upright = image if is_plain else ImageOps.exif_transpose(image)
    gray = _read_scalars(upright)
    if gray is not None:
        return DecodedImage(gray, frames, np.stack([gray] * 3, axis=2) if color else None)
    shown = _lay_on_white(upright)
    gray = np.array(shown.convert("L"), dtype=np.uint8)
    rgb = np.array(shown.convert("RGB"), dtype=np.uint8) if color else None
    return DecodedImage(gray, frames, rgb)


def _decode(stream: BinaryIO, max_pixels: int, *, color: bool) -> DecodedImage:
    from PIL import Image

    _silence_pillow()
    with Image.open(stream, formats=FORMATS) as image:
        _check_size(image, max_pixels)
        frames = int(getattr(image, "n_frames", 1))
        image.seek(0)
        image.load()
        return _convert(image, frames=frames, color=color)


@functools.cache
def _silence_pillow() -> None:
    """Ignore Pillow's warnings from now on: of metadata that is not used, and of sizes, our cap's.

    Once and for all, since filters that are put back belong to one thread only.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _read_scalars(image: Image.Image) -> NDArray[np.uint8] | None:
    """Return [H, W] brightness of an image of numbers that are not bytes, None for others."""
    if image.mode in _SIXTEEN_BIT:
        return _scale(np.asarray(image), 65535)
    if image.mode == "I":
        return _scale_integers(np.asarray(image))
    if image.mode == "F":
        return _scale_floats(np.asarray(image))
    return None


def _lay_on_white(image: Image.Image) -> Image.Image:
    """Return an image of bytes, grey or in colors, whose grey is by ITU-R 601 weights."""
    from PIL import Image

    if image.mode in _TRANSPARENT or "transparency" in image.info:
        colored = image.convert("RGBA")
        page = Image.new("RGBA", colored.size, "white")
        image = Image.alpha_composite(page, colored)
    if image.mode not in {"L", "1"}:
        image = image.convert("RGB")
    return image


def _scale(values: NDArray[np.generic], full: int) -> NDArray[np.uint8]:
    """Map 0..full to 0..255, rounding to nearest."""
    scaled = values.astype(np.float64) * (255.0 / full)
    return np.rint(scaled).astype(np.uint8)


def _scale_integers(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map a 32-bit image that holds 16-bit values, the form some PNG and TIFF files take."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        message = f"32-bit pixels from {low} to {high} have no defined brightness"
        raise ImageDecodeError(message)
    return _scale(values, 65535)


def _scale_floats(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map float pixels in [0, 1] or [0, 255]."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        message = "it has pixels that are not numbers (NaN or infinite)"
        raise ImageDecodeError(message)
    if low < 0 or high > 255:
        message = f"float pixels from {low:g} to {high:g} have no defined brightness"
        raise ImageDecodeError(message)
    return _scale(values, 1 if high <= 1 else 255)


def _describe(reason: Exception) -> str:
    """Return one line about an exception of a codec."""
    from PIL import UnidentifiedImageError

    if isinstance(reason, UnidentifiedImageError):
        return "not a JPEG, PNG, BMP, GIF, WEBP or TIFF image"
    text = " ".join(str(reason).split()) or "no reason given"
    return f"{text} ({type(reason).__name__})"
