"""What callers of the library may give: images of any kind, datasets by name or as they are.

Shape legend: N images of H x W pixels.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from fercli.data import Dataset, load_data
from fercli.errors import ImageNotFoundError
from fercli.images import DecodedImage, FaceFinder, convert_image, load_image

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from PIL.Image import Image

    Picture = str | PathLike[str] | bytes | io.BufferedIOBase | NDArray[np.uint8] | Image
    Source = Dataset | str | PathLike[str] | None

__all__ = [
    "Color",
    "Faces",
    "check_choice",
    "decode_picture",
    "list_pictures",
    "name_picture",
    "to_dataset",
]

Faces = Literal["auto", "whole", "haar", "yunet"]
Color = Literal["rgb", "bgr"]

_CHANNELS: Final = frozenset({1, 3, 4})
"""Of one image: gray, colors, colors and opacity. As the last of three sizes they mean channels."""
_LOG: Final = logging.getLogger(__name__)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        ValueError: It is none of them.
    """
    if value not in choices:
        message = f"{name} must be one of {', '.join(choices)}, not {value!r}"
        raise ValueError(message)


def list_pictures(images: Picture | Iterable[Picture]) -> Iterator[Picture]:
    """Yield images, whether one was given or many.

    Raises:
        TypeError: It is no image, and no series of any.
    """
    if isinstance(images, np.ndarray):
        is_one = images.ndim == 2 or (images.ndim == 3 and images.shape[2] in _CHANNELS)
        if not is_one and images.ndim < 2:
            message = f"an image must be [H, W] or [H, W, C], not {list(images.shape)}"
            raise TypeError(message)
        yield from [images] if is_one else images
    elif isinstance(images, str | bytes | bytearray | os.PathLike) or _is_picture(images):
        yield images  # type: ignore[misc]  # one picture, as was just asked
    elif isinstance(images, Iterable):
        yield from images
    else:
        message = (
            f"images must be paths, arrays, bytes or Pillow images, not {type(images).__name__}"
        )
        raise TypeError(message)


def name_picture(index: int, picture: Picture) -> str:
    """Return what to call an image that cannot be used."""
    if isinstance(picture, str | os.PathLike):
        return f"image {index}, {os.fspath(picture)}"
    return f"image {index}"


def decode_picture(picture: Picture, finder: FaceFinder, *, order: str) -> DecodedImage:
    """Return an image of whatever kind, decoded as far as a search for faces needs it.

    Args:
        picture: As `Model.predict` takes one.
        finder: Will look for faces in it.
        order: Of the channels of arrays, `rgb` or `bgr`.

    Raises:
        ImageNotFoundError: There is no such file.
        ImageDecodeError: It is not an image that is accepted.
        TypeError: It is no image at all, or its numbers are not uint8.
    """
    needs_color = finder.needs_color
    if isinstance(picture, np.ndarray):
        return _take_array(picture, needs_color=needs_color, order=order)
    if _is_pillow(picture):
        return convert_image(picture, color=needs_color)  # type: ignore[arg-type]  # just asked
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        if not path.exists() and not path.is_symlink():
            message = "there is no such file"
            raise ImageNotFoundError(message)
        return load_image(path, color=needs_color, enough_px=finder.enough_px)
    content = picture.read() if isinstance(picture, io.IOBase) else picture
    if isinstance(content, bytes | bytearray | memoryview):
        return load_image(bytes(content), color=needs_color, enough_px=finder.enough_px)
    message = f"not a path, array, bytes or Pillow image: {type(picture).__name__}"
    raise TypeError(message)


def to_dataset(data: Source) -> Dataset:
    """Return a dataset, read where only its name was given; None stands for the prepared default.

    Raises:
        DatasetNotFoundError: There is none.
        DatasetLayoutError: It is damaged or not a layout that is read.
    """
    if isinstance(data, Dataset):
        return data
    return load_data(None if data is None else os.fspath(data), note=_LOG.info)


def _take_array(array: NDArray[np.uint8], *, needs_color: bool, order: str) -> DecodedImage:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    is_gray = array.ndim == 2
    if array.dtype != np.uint8 or not (is_gray or (array.ndim == 3 and array.shape[2] in {3, 4})):
        message = (
            "an image must be uint8 [H, W] or [H, W, 3], 0-255, "
            f"not {array.dtype} {list(array.shape)}"
        )
        raise TypeError(message)
    if 0 in array.shape:
        message = f"an image without pixels: {list(array.shape)}"
        raise TypeError(message)
    if not is_gray:
        from PIL import Image

        if order == "bgr":
            array = np.ascontiguousarray(array[:, :, [2, 1, 0, *range(3, array.shape[2])]])
        return convert_image(Image.fromarray(array), color=needs_color)
    return DecodedImage(array, 1, np.stack([array] * 3, axis=2) if needs_color else None)


def _is_picture(value: object) -> bool:
    return _is_pillow(value) or isinstance(value, io.IOBase | memoryview)


def _is_pillow(value: object) -> bool:
    """Tell whether a value is Pillow's, which need not be imported to know."""
    return any(kind.__module__ == "PIL.Image" for kind in type(value).__mro__)
