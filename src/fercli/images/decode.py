"""Decode an image file into pixels, gray first of all.

The format is decided by content, the name means nothing. Only seven formats are offered to Pillow,
so its rarer (and more often exploited) codecs never run; an eighth, HEIC, is read where the extra
`heic` is installed. Every way of storing the same picture
gives the same gray values: orientation is applied, 16 bits are scaled rather than clipped (which
is what `convert("L")` does), transparency is laid on white as a page shows it, and only the first
frame of an animation counts. The gray of a JPEG is the brightness that it stores. Who needs fewer
pixels than a JPEG has gets a half, a quarter or an eighth of each side: its codec then leaves the
rest out, which saves more than shrinking.

A small file can ask for much memory or time. What it asks for is counted before a codec sees it,
what is computed of its pixels is computed in strips, and all threads share one budget of bytes.

Shape legend: H, W are the height and width of the upright image in pixels.
"""

from __future__ import annotations

import functools
import io
import math
import os
import stat
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.config import MAX_PIXELS
from fercli.dependencies import explain_missing
from fercli.errors import FercliError, ImageDecodeError, ImageRefusedError
from fercli.images.limits import refuse_pixels
from fercli.images.memory import MEMORY, Share
from fercli.images.png import cut_png
from fercli.images.structure import check_frames, check_scans, check_structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["MAX_FILE_BYTES", "SUFFIXES", "DecodedImage", "convert_image", "cut_rows", "load_image"]

FORMATS: Final = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
SUFFIXES: Final = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".dib", ".gif", ".webp", ".tif",
        ".tiff", ".avif", ".avifs", ".heic", ".heif", ".hif",
    }
)  # fmt: skip
"""Names by which folders are searched; whether a file is an image its content decides."""
MAX_FILE_BYTES: Final = 1 << 30
"""Largest file that is read; the pixels of 100 megapixels in 16-bit colour fit."""
_MAX_SIDE_PX: Final = 1_000_000
"""Of an image; what libraries keep for each row or column is no longer small beyond it."""
_MAX_READS: Final = 1 << 20
"""Pieces of a file that Pillow asks for: some for each chunk, block or entry, some µs each."""
_STRIP_PIXELS: Final = 1 << 20
"""Pixels that are converted at once."""
_STORED_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Of a pixel in Pillow's memory; four in other modes."""
_COPIES: Final = {"TIFF": 2, "WEBP": 4, "AVIF": 5, "HEIF": 5}
"""Images of its size that a codec has at once, the result among them; others have one."""
_WEIGHTS: Final = {"WEBP": 4, "AVIF": 2.25, "HEIF": 2, "TIFF": 4 / 3, "PNG": 4 / 3}
"""How much more memory a pixel takes, process and all, than one of a JPEG, where a codec decodes an
image as a whole and in more than a byte a pixel (docs/explanation/reliability.md)."""
_LIGHT_PIXELS: Final = 1 << 23
"""Up to this it does not matter."""
_COEFFICIENT_BYTES: Final = 8
"""Of a pixel of a JPEG with several scans, beside its image: two per number."""
_JPEG: Final = frozenset({"JPEG", "MPO"})
_JPEG_HEAD: Final = b"\xff\xd8\xff"
_REDUCTIONS: Final = (8, 4, 2)
"""By which a JPEG's codec can divide its sides."""

_SIXTEEN_BIT: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_TRANSPARENT: Final = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})
_ORIENTATION: Final = 0x0112
_TURNS: Final[dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
"""By EXIF's orientation: what puts the pixels of an image, or its colors, upright.

Source: "Exif 2.32", CIPA DC-008, 2019, section 4.6.4, tag Orientation.
"""
_TRANSPOSED: Final = frozenset({5, 6, 7, 8})
"""Of these, the ones that swap width and height."""


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image and what a user may want to know about its file."""

    gray: NDArray[np.uint8]
    """[H, W], 0-255; of a reduced image both sides are divided, and rounded up."""
    frames: int
    """Frames in the file; `gray` is the first."""
    rgb: NDArray[np.uint8] | None = None
    """[H, W, 3], 0-255, where color was asked for; as large as `gray`."""
    reduction: int = 1
    """By what both sides were divided."""
    size: tuple[int, int] | None = None
    """Width and height of the whole image, where it was reduced."""
    content: bytes | None = None
    """The file, where it was reduced: there is more to see in it."""

    @property
    def width(self) -> int:
        """Of the whole image, upright."""
        return self.size[0] if self.size else self.gray.shape[1]

    @property
    def height(self) -> int:
        """Of the whole image, upright."""
        return self.size[1] if self.size else self.gray.shape[0]

    @property
    def n_bytes(self) -> int:
        """What it takes of memory."""
        others = (0 if self.rgb is None else self.rgb.nbytes) + len(self.content or b"")
        return self.gray.nbytes + others


def load_image(
    source: Path | bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    color: bool = False,
    enough_px: int | None = None,
    share: Share | None = None,
) -> DecodedImage:
    """Decode an image file, or its bytes, into gray, and into color where that is asked for.

    Waits while other threads decode images that leave too little of the process's budget of bytes.

    Args:
        source: A path (regular files only, links to them included) or a file's whole content.
        max_pixels: Largest width times height that is decoded.
        color: Keep the colors, too.
        enough_px: Longer side that is enough: a JPEG of twice, four or eight times as much is
            reduced by so much. None for all there is.
        share: What counts the image's bytes, for one who keeps it for a while; by default they are
            counted until it is decoded.

    Raises:
        ImageDecodeError: Not a regular file, not one of the eight formats, truncated, too large,
            holding pixels without a defined brightness, or refused by its codec for any reason.
        ImageRefusedError: Of these: not a regular file, or too large, or of too many parts.
    """
    if share is None:
        with MEMORY.open_share() as own:
            return load_image(
                source, max_pixels=max_pixels, color=color, enough_px=enough_px, share=own
            )
    try:
        content = source if isinstance(source, bytes) else _read_regular_file(source, share)
        wanted = _Wanted(max_pixels, color, enough_px)
        decoded = _decode(content, wanted, share)
    except FercliError:
        raise
    except Exception as reason:
        # Codecs raise ValueError, SyntaxError, struct.error, IndexError and more on odd files;
        # whatever it was, one file must not end a batch of thousands.
        raise ImageDecodeError(_describe(reason)) from reason
    share.resize(decoded.n_bytes)
    return decoded


def _read_regular_file(path: Path, share: Share) -> bytes:
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
        share.resize(status.st_size)
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
        with MEMORY.open_share() as share:
            share.resize(_estimate_bytes(image, color=color))
            return _convert(image, frames=1, color=color)
    except FercliError:
        raise
    except Exception as reason:
        # As in `load_image`: reading may have been left to us.
        raise ImageDecodeError(_describe(reason)) from reason


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        what = f"{width}x{height}"
        raise refuse_pixels(what, width * height, max_pixels)
    if max(width, height) > _MAX_SIDE_PX:
        message = f"{width}x{height} has a side of more than {_MAX_SIDE_PX} pixels"
        raise ImageRefusedError(message)
    if not width * height:
        message = "it has no pixels"
        raise ImageDecodeError(message)


def _check_weight(image: Image.Image, max_pixels: int) -> None:
    """Refuse what takes more memory than the largest JPEG, so that one limit bounds it for all."""
    weight = _WEIGHTS.get(image.format or "", 1) if _STORED_BYTES.get(image.mode, 4) > 1 else 1
    n_pixels = math.ceil(image.width * image.height * weight)
    if n_pixels > max(max_pixels, _LIGHT_PIXELS):
        what = f"{image.width}x{image.height} in {image.format}, in memory as {n_pixels} of a JPEG,"
        raise refuse_pixels(what, n_pixels, max_pixels)


def _estimate_bytes(image: Image.Image, *, color: bool) -> int:
    """Return how many bytes decoding an opened image takes at its peak, and the result among them.

    Args:
        image: Its pixels need not be there yet.
        color: Colors are asked for.
    """
    n_pixels = image.width * image.height
    copies = _COPIES.get(image.format or "", 1)
    return n_pixels * (_STORED_BYTES.get(image.mode, 4) * copies + (4 if color else 1))


class _Stream(io.BytesIO):
    """A file's content that can be read in so many pieces, then no more.

    Raises:
        ImageRefusedError: From `read`: there were too many.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._n_reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self._n_reads += 1
        if self._n_reads > _MAX_READS:
            message = f"it has more than {_MAX_READS:,} parts"
            raise ImageRefusedError(message)
        return super().read(size)


@dataclass(frozen=True)
class _Wanted:
    """What of an image is asked for; see `load_image`."""

    max_pixels: int
    color: bool
    enough_px: int | None


def _decode(content: bytes, wanted: _Wanted, share: Share) -> DecodedImage:
    _silence_pillow()
    structure = check_structure(content, wanted.max_pixels)
    with _open(content, structure.kind) as image:
        _check_size(image, wanted.max_pixels)
        n_pixels = image.width * image.height
        check_scans(structure.scans, n_pixels)
        size = image.size
        reduction = _prepare_jpeg(image, wanted)
        striped = cut_png(content, _open_png) if image.format == "PNG" else None
        if striped is not None:
            share.resize(len(content) + n_pixels * (4 if wanted.color else 1))
            return _paint(striped.shell, size, striped.cut(), frames=1, color=wanted.color)
        _check_weight(image, wanted.max_pixels)
        n_bytes = _estimate_bytes(image, color=wanted.color)
        n_bytes += n_pixels * _COEFFICIENT_BYTES if structure.scans > 1 else 0
        share.resize(len(content) + n_bytes + structure.tile_pixels * 4)
        # Pillow's own count of a TIFF's frames takes quadratic time.
        frames = structure.frames or int(getattr(image, "n_frames", 1))
        check_frames(frames)
        if image.format != "HEIF":
            # There it is opened at its main picture, which need not be the first.
            image.seek(0)
        image.load()
        # Some sizes change with decoding.
        _check_size(image, wanted.max_pixels)
        decoded = _convert(image, frames=frames, color=wanted.color)
        if reduction > 1:
            if _choose_orientation(image) in _TRANSPOSED:
                size = size[1], size[0]
            return replace(decoded, reduction=reduction, size=size, content=content)
    if decoded.rgb is not None and image.format in _JPEG:
        # The same gray as without colors.
        plain = _decode(content, replace(wanted, color=False), share)
        return replace(decoded, gray=plain.gray)
    return decoded


def _prepare_jpeg(image: Image.Image, wanted: _Wanted) -> int:
    """Tell the codec of a JPEG what of it is wanted, and return by what its sides are divided."""
    if image.format not in _JPEG:
        return 1
    width, height = image.size
    fits = 1 if wanted.enough_px is None else max(image.size) // wanted.enough_px
    aim = next((one for one in _REDUCTIONS if one <= min(fits, width, height)), 1)
    drafted = image.draft("RGB" if wanted.color else "L", (width // aim, height // aim))
    # What the codec makes of it; nothing where the file is built in another way.
    return 1 if drafted is None else round(width / drafted[1][2])


def _open(content: bytes, kind: str | None) -> Image.Image:
    """Open an image whose structure was looked at, by the codecs that are to see such a one."""
    from PIL import Image, features

    if kind == "HEIC":
        try:
            from pillow_heif import HeifImageFile
        except ImportError as reason:
            message = f"HEIC needs {explain_missing('pillow_heif', reason).hint}"
            raise ImageDecodeError(message) from reason
        heic: Image.Image = HeifImageFile(_Stream(content))
        return heic
    if kind == "AVIF" and not features.check("avif"):
        message = "this build of Pillow cannot decode AVIF"
        raise ImageDecodeError(message)
    # Pillow reads a JPEG from front to back, so a small one cannot have too many parts.
    is_bounded = content.startswith(_JPEG_HEAD) and len(content) <= _MAX_READS
    stream = io.BytesIO(content) if is_bounded else _Stream(content)
    return Image.open(stream, formats=FORMATS if kind is None else (kind,))


def _open_png(content: bytes) -> Image.Image:
    image = _open(content, "PNG")
    image.load()
    return image


def _convert(image: Image.Image, *, frames: int, color: bool) -> DecodedImage:
    """Return an opened image, upright, as pixels."""
    image.load()
    is_small = image.width * image.height <= _STRIP_PIXELS
    if is_small and not color and _is_plain(image):
        return DecodedImage(np.array(image), frames)
    return _paint(image, image.size, _cut_strips(image), frames=frames, color=color)


def _paint(
    image: Image.Image,
    size: tuple[int, int],
    strips: Iterable[tuple[slice, Image.Image]],
    *,
    frames: int,
    color: bool,
) -> DecodedImage:
    """Return an image, upright, as pixels.

    Args:
        image: What tells its orientation, and the meaning of its numbers.
        size: Its width and height.
        strips: Its rows.
        frames: Of its file.
        color: Keep the colors, too.
    """
    scale = _choose_scale(image)
    gray = np.empty((size[1], size[0]), dtype=np.uint8)
    rgb = np.empty((*gray.shape, 3), dtype=np.uint8) if color and scale is None else None
    for rows, strip in strips:
        if scale is not None:
            gray[rows] = scale(np.asarray(strip))
            continue
        shown = _lay_on_white(strip)
        gray[rows] = np.asarray(_convert_mode(shown, "L"))
        if rgb is not None:
            rgb[rows] = np.asarray(_convert_mode(shown, "RGB"))
    turn = _choose_turn(image)
    gray = np.ascontiguousarray(turn(gray))
    if scale is not None and color:
        rgb = np.stack([gray] * 3, axis=2)
    elif rgb is not None:
        rgb = np.ascontiguousarray(turn(rgb))
    return DecodedImage(gray, frames, rgb)


def _is_plain(image: Image.Image) -> bool:
    """Return whether the pixels of an image are what is wanted of it, as most face crops' are."""
    return (
        image.mode == "L" and "transparency" not in image.info and _choose_turn(image) is _TURNS[1]
    )


def _cut_strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yield a loaded image in pieces of whole rows, so that copies of a piece are small."""
    parts = list(cut_rows(*image.size))
    if len(parts) == 1:
        yield parts[0], image
        return
    for rows in parts:
        yield rows, image.crop((0, rows.start, image.width, rows.stop))


def cut_rows(width: int, height: int) -> Iterator[slice]:
    """Yield the rows of an image in pieces of about a megapixel."""
    n_rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, n_rows):
        yield slice(top, min(top + n_rows, height))


def _choose_turn(image: Image.Image) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Return what puts the pixels of an image upright."""
    return _TURNS.get(_choose_orientation(image), _TURNS[1])


def _choose_orientation(image: Image.Image) -> int:
    """Return how an image's pixels lie, by EXIF's numbers."""
    # A JPEG says by these whether it is turned; looking further takes as long as decoding it.
    is_plain = image.format == "JPEG" and not image.info.keys() & {"exif", "xmp"}
    if image.format == "HEIF":
        # The codec has turned it.
        return 1
    if image.format == "AVIF":
        return _read_box_orientation(image)
    orientation: int = 1 if is_plain else image.getexif().get(_ORIENTATION, 1)
    return orientation


def _read_box_orientation(image: Image.Image) -> int:
    """Return the orientation of an AVIF, which its boxes alone say.

    Pillow puts it into the EXIF data in place of theirs; what XMP says stays, and does not count.
    """
    from PIL import Image

    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    orientation: int = exif.get(_ORIENTATION, 1)
    return orientation


@functools.cache
def _silence_pillow() -> None:
    """Ignore Pillow's warnings from now on: of metadata that is not used, and of sizes, our cap's.

    Once and for all, since filters that are put back belong to one thread only.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _choose_scale(
    image: Image.Image,
) -> Callable[[NDArray[np.generic]], NDArray[np.uint8]] | None:
    """Return what maps pixels that are numbers, not bytes, to brightness; None for others."""
    if image.mode in _SIXTEEN_BIT:
        return _scale_sixteen_bits
    if image.mode == "I":
        _check_integers(image)
        return _scale_sixteen_bits
    if image.mode == "F":
        full = _find_full(image)
        return lambda values: _scale(values, full)
    return None


def _lay_on_white(image: Image.Image) -> Image.Image:
    """Return an image of bytes, gray or in colors, whose gray is by ITU-R 601 weights."""
    from PIL import Image

    if image.mode in _TRANSPARENT or "transparency" in image.info:
        colored = image.convert("RGBA")
        page = Image.new("RGBA", colored.size, "white")
        image = Image.alpha_composite(page, colored)
    return image if image.mode in {"L", "1"} else _convert_mode(image, "RGB")


def _convert_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in a mode; Pillow copies one that is in it already."""
    return image if image.mode == mode else image.convert(mode)


def _scale(values: NDArray[np.generic], full: int) -> NDArray[np.uint8]:
    """Map 0..full to 0..255, rounding to nearest."""
    scaled = values.astype(np.float64) * (255.0 / full)
    return np.rint(scaled).astype(np.uint8)


def _scale_sixteen_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map whole numbers of 0..65535 to 0..255, rounding to nearest."""
    mapped: NDArray[np.uint8] = _list_sixteen_bits()[values]
    return mapped


@functools.cache
def _list_sixteen_bits() -> NDArray[np.uint8]:
    """Return what each of the 65,536 values is mapped to."""
    return _scale(np.arange(65536), 65535)


def _check_integers(image: Image.Image) -> None:
    """Refuse a 32-bit image but one of 16-bit values, the form some PNG and TIFF files take."""
    low, high = map(int, _find_range(image))
    if low < 0 or high > 65535:
        message = f"32-bit pixels from {low} to {high} have no defined brightness"
        raise ImageDecodeError(message)


def _find_full(image: Image.Image) -> int:
    """Return which value is white in an image of floats, 1 or 255."""
    low, high = map(float, _find_range(image))
    if not (np.isfinite(low) and np.isfinite(high)):
        message = "it has pixels that are not numbers (NaN or infinite)"
        raise ImageDecodeError(message)
    if low < 0 or high > 255:
        message = f"float pixels from {low:g} to {high:g} have no defined brightness"
        raise ImageDecodeError(message)
    return 1 if high <= 1 else 255


def _find_range(image: Image.Image) -> tuple[np.generic, np.generic]:
    """Return the least and the largest of an image's numbers; NaN where one of them is NaN."""
    ranges = []
    for _rows, strip in _cut_strips(image):
        values = np.asarray(strip)
        ranges.append((values.min(), values.max()))
    return np.min([low for low, _ in ranges]), np.max([high for _, high in ranges])


def _describe(reason: Exception) -> str:
    """Return one line about an exception of a codec."""
    from PIL import UnidentifiedImageError

    if isinstance(reason, UnidentifiedImageError):
        return "not a JPEG, PNG, BMP, GIF, WEBP, TIFF, AVIF or HEIC image"
    text = " ".join(str(reason).split()) or "no reason given"
    return f"{text} ({type(reason).__name__})"
