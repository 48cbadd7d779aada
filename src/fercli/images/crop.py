"""From gray pixels to the face crop a network sees.

The whole image is taken as the face and resized with an antialiased triangle filter; nothing is
normalized here. Normalization is the network's first layer and travels with it, so that nobody
can apply it twice or forget it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.config import MAX_PIXELS
from fercli.images.decode import DecodedImage, load_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SIDE_PX", "load_face_crop", "to_face_crop"]

SIDE_PX: Final = 48
"""Side of a face crop, in pixels; FER2013's."""


def to_face_crop(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a gray image as a face crop.

    Args:
        gray: `[H, W]` uint8; an image of 48x48 comes back as it is.

    Returns:
        `[48, 48]` uint8. Sides of different length are both brought to 48.
    """
    if gray.shape == (SIDE_PX, SIDE_PX):
        return gray
    from PIL import Image

    resized = Image.fromarray(gray).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8)


def load_face_crop(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS
) -> tuple[NDArray[np.uint8], DecodedImage]:
    """Decode an image file, or its bytes, as one face.

    Args:
        source: A path or a file's whole content.
        max_pixels: Largest width times height that is decoded.

    Returns:
        The crop, `[48, 48]` uint8, and the image it was made from.

    Raises:
        ImageDecodeError: As in `load_image`.
    """
    decoded = load_image(source, max_pixels=max_pixels)
    return to_face_crop(decoded.gray), decoded
