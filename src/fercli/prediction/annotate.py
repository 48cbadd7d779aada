"""Predictions to look at: photos with boxes and labels, and a sheet of all faces.

Drawn with Pillow and its own font: `fer predict` needs no plotting library.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli.errors import ImageDecodeError
from fercli.images import load_image
from fercli.storage import check_apart, open_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from fercli.prediction.outputs import OutputFolder
    from fercli.prediction.predict import FilePrediction
    from fercli.results import PredictionRow

__all__ = ["Annotator", "Montage", "is_montage"]

_INK: Final = (255, 214, 0)
_SHADE: Final = (20, 20, 20)
_MARK: Final = "fercli montage"
"""Stands at the head of a sheet, which tells it from a picture of somebody's."""
_HEAD_BYTES: Final = 256
_LEAST_SIDE_PX: Final = 240
"""A picture below this is enlarged: on a face crop no label would fit."""


class Annotator:
    """Writes each image with its faces framed and named; formats but JPEG and PNG become JPEG.

    Args:
        folder: Where to.
        max_pixels: Largest image that is decoded.
    """

    def __init__(self, folder: OutputFolder, *, max_pixels: int) -> None:
        self._folder = folder
        self._max_pixels = max_pixels
        self._n_pictures = 0

    def add(self, prediction: FilePrediction) -> None:
        """Draw one image; one that was not read, and a video, is left out."""
        from PIL import Image, ImageDraw

        if prediction.frame is not None or prediction.rows[0].status not in {"ok", "no_face"}:
            return
        try:
            image = load_image(prediction.path, max_pixels=self._max_pixels, color=True)
        except ImageDecodeError:
            # Gone, or overwritten, since its faces were found.
            return
        picture = Image.fromarray(image.gray if image.rgb is None else image.rgb)
        factor = max(1, math.ceil(_LEAST_SIDE_PX / max(picture.size)))
        picture = picture.resize((picture.width * factor, picture.height * factor))
        draw = ImageDraw.Draw(picture)
        for row in prediction.rows:
            if row.box is not None:
                _draw_face(draw, picture, row, factor)
        suffix = prediction.path.suffix.lower()
        suffix = suffix if suffix in {".jpg", ".jpeg", ".png"} else ".jpg"
        kind = "PNG" if suffix == ".png" else "JPEG"
        self._folder.add(
            prediction.path, lambda stream: picture.save(stream, kind, quality=92), suffix=suffix
        )
        self._n_pictures += 1

    def close(self) -> None:
        """Do nothing; every picture is written."""

    def describe(self) -> str:
        """Return what was made."""
        return f"{self._n_pictures:,} pictures written to {self._folder.path}"


class Montage:
    """A contact sheet: faces as the model saw them, each with its label.

    Args:
        path: A `.png`.
    """

    MOST: Final = 400
    """Faces on a sheet; the first ones."""
    _COLUMNS: Final = 20
    _FACE_PX: Final = 96
    _LINE_PX: Final = 18
    _GAP_PX: Final = 4

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_faces = 0
        self._faces: list[tuple[NDArray[np.uint8], str]] = []

    def add(self, prediction: FilePrediction) -> None:
        """Take the faces of one file, as long as there is room.

        Raises:
            ConfigError: The sheet would be written over that file.
        """
        check_apart([self._path], [prediction.path])
        for row, crop in zip(prediction.rows, prediction.crops, strict=False):
            self._n_faces += 1
            if len(self._faces) < self.MOST:
                self._faces.append((crop, _describe(row)))

    def close(self) -> None:
        """Write the sheet; one without a face is blank."""
        from PIL import Image, ImageDraw, PngImagePlugin

        columns = min(self._COLUMNS, max(1, math.ceil(math.sqrt(len(self._faces)))))
        rows = max(1, math.ceil(len(self._faces) / columns))
        wide, high = self._FACE_PX + self._GAP_PX, self._FACE_PX + self._LINE_PX + self._GAP_PX
        size = (columns * wide + self._GAP_PX, rows * high + self._GAP_PX)
        sheet = Image.new("RGB", size, "white")
        draw, font = ImageDraw.Draw(sheet), _load_font(13)
        for index, (crop, text) in enumerate(self._faces):
            x = self._GAP_PX + index % columns * wide
            y = self._GAP_PX + index // columns * high
            face = Image.fromarray(crop).resize((self._FACE_PX, self._FACE_PX))
            sheet.paste(face.convert("RGB"), (x, y))
            middle = (x + self._FACE_PX // 2, y + self._FACE_PX + self._LINE_PX // 2)
            draw.text(middle, text, fill=_SHADE, font=font, anchor="mm")
        facts = PngImagePlugin.PngInfo()
        facts.add_text("Software", _MARK)
        with open_atomically(self._path) as stream:
            sheet.save(stream, "PNG", pnginfo=facts)

    def describe(self) -> str:
        """Return what was made."""
        shown = len(self._faces)
        count = (
            f"{shown:,}" if shown == self._n_faces else f"the first {shown:,} of {self._n_faces:,}"
        )
        return f"{count} faces on {self._path}"


def is_montage(head: bytes) -> bool:
    """Return whether a file that begins so is a sheet that `Montage` wrote."""
    return head.startswith(b"\x89PNG") and _MARK.encode() in head[:_HEAD_BYTES]


def _draw_face(draw: Any, picture: Image.Image, row: PredictionRow, factor: int) -> None:  # noqa: ANN401  # Pillow's own kind
    """Frame a face and write its label above the frame, or inside where there is no room."""
    x, y, width, height = (value * factor for value in row.box or (0, 0, 0, 0))
    line = max(2, round(max(picture.size) / 400))
    draw.rectangle((x, y, x + width - 1, y + height - 1), outline=_SHADE, width=line + 2)
    draw.rectangle((x + 1, y + 1, x + width - 2, y + height - 2), outline=_INK, width=line)
    font = _load_font(max(14, round(max(picture.size) / 45)))
    text = _describe(row)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    wide, high = right - left + 8, bottom - top + 8
    at_x = min(max(x, 0), max(0, picture.width - wide))
    at_y = y - high if y >= high else y
    draw.rectangle((at_x, at_y, at_x + wide, at_y + high), fill=_INK)
    draw.text((at_x + 4 - left, at_y + 4 - top), text, fill=_SHADE, font=font)


def _describe(row: PredictionRow) -> str:
    return f"{row.label} {row.confidence:.0%}"


def _load_font(size: int) -> Any:  # noqa: ANN401  # one of two kinds of Pillow's
    from PIL import ImageFont

    return ImageFont.load_default(size)
