"""Predictions to look at: photos and videos with boxes and labels, and a sheet of all faces.

Drawn with Pillow and its own font: `fer predict` needs no plotting library. Videos are VP8 in WebM,
which OpenCV can write and browsers play; H.264 it can only read.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.errors import ImageDecodeError, RunFailedError
from fercli.images import import_cv2, load_image
from fercli.names import count, safe_name
from fercli.storage import check_apart, open_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from fercli.images import VideoFrame
    from fercli.prediction.answers import FilePrediction
    from fercli.prediction.outputs import OutputFolder
    from fercli.results import PredictionRow

    Corners = tuple[int, int, int, int]

__all__ = ["Annotator", "ClipFile", "Montage", "choose_color", "draw_frame", "is_montage"]

_SHADE: Final = (20, 20, 20)
_FAINT: Final = (90, 90, 90)
_NAME_LETTERS: Final = 17
"""Of a name below a face."""
_PALETTE: Final = {
    "angry": (230, 80, 60), "disgust": (120, 190, 70), "fear": (180, 120, 230),
    "happy": (255, 205, 0), "sad": (90, 160, 255), "surprise": (255, 140, 40),
    "neutral": (200, 200, 200), "contempt": (70, 200, 190),
}  # fmt: skip
_OTHERS: Final = tuple(_PALETTE.values())
_UNCERTAIN: Final = (160, 160, 160)
_MARK: Final = "fercli montage"
"""Stands at the head of a sheet, which tells it from a picture of somebody's."""
_HEAD_BYTES: Final = 256
_LEAST_SIDE_PX: Final = 240
"""A picture below this is enlarged: on a face crop no label would fit."""
_LEAST_RATE: Final = 0.01
"""Of a video, frames a second; encoders take 0 for none."""
_USUAL_RATE: Final = 25.0
"""Frames a second of a video that does not say its own."""


def choose_color(label: str, labels: tuple[str, ...] = ()) -> tuple[int, int, int]:
    """Return the color of a label, red, green and blue: the same in every picture.

    Args:
        label: One of a model's, or `uncertain`.
        labels: The model's; labels that are no emotions take colors by their place.
    """
    if label in _PALETTE:
        return _PALETTE[label]
    if label in labels:
        return _OTHERS[labels.index(label) % len(_OTHERS)]
    return _UNCERTAIN


class Annotator:
    """Writes images and videos with their faces framed and named.

    Formats but JPEG and PNG become JPEG, videos become WebM: of the frames that were looked at,
    without sound.

    Args:
        folder: Where to.
        max_pixels: Largest image that is decoded.
        every_s: Time between the frames of videos, 0 for all of them.
    """

    def __init__(self, folder: OutputFolder, *, max_pixels: int, every_s: float) -> None:
        self._folder = folder
        self._max_pixels = max_pixels
        self._every_s = every_s
        self._n_pictures = self._n_videos = 0
        self._clip: _Clip | None = None

    def add(self, prediction: FilePrediction) -> None:
        """Draw one image or frame; what was not read is left out.

        Raises:
            OSError: It cannot be written.
            RunFailedError: OpenCV cannot write a video.
        """
        if prediction.is_first:
            self._end_clip()
        if prediction.frame is not None:
            self._add_frame(prediction, prediction.frame)
        elif prediction.rows[0].status in {"ok", "no_face"}:
            self._add_image(prediction)

    def _add_image(self, prediction: FilePrediction) -> None:
        from PIL import Image

        try:
            content = prediction.path if prediction.content is None else prediction.content
            image = load_image(content, max_pixels=self._max_pixels, color=True)
        except ImageDecodeError:
            # Gone, or overwritten, since its faces were found.
            return
        shown = Image.fromarray(image.gray if image.rgb is None else image.rgb)
        picture = _draw_faces(shown, prediction.rows)
        suffix = prediction.path.suffix.lower()
        suffix = suffix if suffix in {".jpg", ".jpeg", ".png"} else ".jpg"
        kind = "PNG" if suffix == ".png" else "JPEG"
        self._folder.add(
            prediction.path, lambda stream: picture.save(stream, kind, quality=92), suffix=suffix
        )
        self._n_pictures += 1

    def _add_frame(self, prediction: FilePrediction, frame: VideoFrame) -> None:
        if self._clip is None:
            self._clip = _Clip(prediction.path, choose_rate(frame, self._every_s))
        self._clip.add(frame, prediction.rows)

    def _end_clip(self) -> None:
        if self._clip is None:
            return
        clip, self._clip = self._clip, None
        with clip.finish() as content:
            self._folder.add(
                clip.source, lambda stream: shutil.copyfileobj(content, stream), suffix=".webm"
            )
        self._n_videos += 1

    def close(self) -> None:
        """Write the last video; every other picture is written."""
        self._end_clip()

    def describe(self) -> str:
        """Return what was made."""
        made = {"picture": self._n_pictures, "video": self._n_videos}
        told = [count(number, noun) for noun, number in made.items() if number]
        return f"{' and '.join(told) or 'no pictures'} written to {self._folder.path}"


class ClipFile:
    """Writes the frames that were looked at, their faces framed and named, as one WebM.

    Args:
        path: Where to.
        every_s: Time between the frames, 0 for all of them.
    """

    def __init__(self, path: Path, *, every_s: float) -> None:
        self._path = path
        self._every_s = every_s
        self._clip: _Clip | None = None

    def add(self, prediction: FilePrediction) -> None:
        """Draw one frame.

        Raises:
            ConfigError: The video would be written over that file.
            RunFailedError: OpenCV cannot write a video.
        """
        check_apart([self._path], [prediction.path])
        frame = prediction.frame
        if frame is None:
            return
        if self._clip is None:
            self._clip = _Clip(prediction.path, choose_rate(frame, self._every_s))
        self._clip.add(frame, prediction.rows)

    def close(self) -> None:
        """Give the video its name; without a frame there is none."""
        if self._clip is None:
            return
        with self._clip.finish() as content, open_atomically(self._path) as stream:
            shutil.copyfileobj(content, stream)

    def describe(self) -> str:
        """Return what was made."""
        if self._clip is None:
            return f"no frame to write to {self._path}"
        return f"{count(self._clip.n_frames, 'frame')}, no sound, written to {self._path}"


def choose_rate(frame: VideoFrame, every_s: float) -> float:
    """Return the frames a second of a video that is made of another's.

    Args:
        frame: One of them.
        every_s: Time between them, 0 for all.
    """
    step_s = frame.choose_step_s(every_s)
    return max(_LEAST_RATE, 1 / step_s) if step_s else _USUAL_RATE


class _Clip:
    """A video under way, in a temporary folder: OpenCV writes to names only.

    Args:
        source: The video whose frames they are.
        rate: Frames a second.
    """

    def __init__(self, source: Path, rate: float) -> None:
        self.source = source
        self._rate = rate
        self._folder = tempfile.TemporaryDirectory(prefix="fercli-")
        self._path = Path(self._folder.name) / "clip.webm"
        self._cv2 = import_cv2()
        self._writer: Any = None
        self._size = (0, 0)
        self.n_frames = 0
        self._latest: NDArray[np.uint8] | None = None

    def add(self, frame: VideoFrame, rows: tuple[PredictionRow, ...]) -> None:
        """Draw a frame with its faces; see `write`."""
        self.write(draw_frame(frame, rows), frame.time_s if frame.is_live else None)

    def write(self, rgb: NDArray[np.uint8], time_s: float | None = None) -> None:
        """Add a frame `[H, W, 3]`; one of another size is brought to that of the first.

        Args:
            rgb: The frame.
            time_s: When it was filmed, where frames are missing before it: the one before it is
                shown until then, and none is where another has that moment already.

        Raises:
            RunFailedError: OpenCV cannot write such a video.
        """
        cv2 = self._cv2
        if self._writer is None:
            # VP8 takes even sides.
            self._size = (rgb.shape[1] // 2 * 2, rgb.shape[0] // 2 * 2)
            with _silence_stderr():
                self._writer = cv2.VideoWriter(
                    str(self._path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), self._rate,
                    self._size,
                )  # fmt: skip
            if not self._writer.isOpened():
                message = "this OpenCV cannot write VP8, the format of annotated videos"
                raise RunFailedError(message, hint="pip install 'opencv-python-headless<5'")
        if (rgb.shape[1], rgb.shape[0]) != self._size:
            rgb = cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA)
        bgr = np.ascontiguousarray(rgb[:, :, ::-1])
        place = self.n_frames if time_s is None else round(time_s * self._rate)
        for at in range(self.n_frames, place + 1):
            is_missing = at < place and self._latest is not None
            self._writer.write(self._latest if is_missing else bgr)
            self.n_frames += 1
        self._latest = bgr

    @contextlib.contextmanager
    def finish(self) -> Iterator[Any]:
        """Yield the whole video, open for reading; it is gone afterwards."""
        self._writer.release()
        with self._folder, self._path.open("rb") as content:
            yield content


@contextlib.contextmanager
def _silence_stderr() -> Iterator[None]:
    """Keep quiet what OpenCV's writer prints past every setting: that VP8 has no tag in WebM."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class Montage:
    """A contact sheet: faces as the model saw them, each with its label and its file's name.

    Args:
        path: A `.png`.
    """

    MOST: Final = 400
    """Faces on a sheet; the first ones."""
    _COLUMNS: Final = 20
    _FACE_PX: Final = 96
    _LINE_PX: Final = 18
    _NAME_PX: Final = 13
    _GAP_PX: Final = 4

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_faces = 0
        self._faces: list[tuple[NDArray[np.uint8], str, str]] = []

    def add(self, prediction: FilePrediction) -> None:
        """Take the faces of one file, as long as there is room.

        Raises:
            ConfigError: The sheet would be written over that file.
        """
        check_apart([self._path], [prediction.path])
        for row, crop in zip(prediction.rows, prediction.crops, strict=False):
            self._n_faces += 1
            if len(self._faces) < self.MOST:
                name = _shorten_name(prediction.path.name)
                self._faces.append((crop, _describe(row), name))

    def close(self) -> None:
        """Write the sheet; one without a face is blank."""
        from PIL import Image, ImageDraw, PngImagePlugin

        columns = min(self._COLUMNS, max(1, math.ceil(math.sqrt(len(self._faces)))))
        rows = max(1, math.ceil(len(self._faces) / columns))
        wide = self._FACE_PX + self._GAP_PX
        high = wide + self._LINE_PX + self._NAME_PX
        size = (columns * wide + self._GAP_PX, rows * high + self._GAP_PX)
        sheet = Image.new("RGB", size, "white")
        draw, font, small = ImageDraw.Draw(sheet), _load_font(13), _load_font(10)
        for index, (crop, text, name) in enumerate(self._faces):
            x = self._GAP_PX + index % columns * wide
            y = self._GAP_PX + index // columns * high
            face = Image.fromarray(crop).resize((self._FACE_PX, self._FACE_PX))
            sheet.paste(face.convert("RGB"), (x, y))
            middle = (x + self._FACE_PX // 2, y + self._FACE_PX + self._LINE_PX // 2)
            draw.text(middle, text, fill=_SHADE, font=font, anchor="mm")
            below = (middle[0], y + self._FACE_PX + self._LINE_PX + self._NAME_PX // 2 - 1)
            draw.text(below, name, fill=_FAINT, font=small, anchor="mm")
        facts = PngImagePlugin.PngInfo()
        facts.add_text("Software", _MARK)
        with open_atomically(self._path) as stream:
            sheet.save(stream, "PNG", pnginfo=facts)

    def describe(self) -> str:
        """Return what was made."""
        shown = len(self._faces)
        first = "" if shown == self._n_faces else f"the first {shown:,} of "
        return f"{first}{count(self._n_faces, 'face')} written to {self._path}"


def draw_frame(frame: VideoFrame, rows: tuple[PredictionRow, ...]) -> NDArray[np.uint8]:
    """Return a frame with its faces framed and named, `[H, W, 3]` uint8, in the order RGB."""
    from PIL import Image

    shown = Image.fromarray(np.ascontiguousarray(frame.bgr[:, :, ::-1]))
    return np.asarray(_draw_faces(shown, rows).convert("RGB"))


def is_montage(head: bytes) -> bool:
    """Return whether a file that begins so is a sheet that `Montage` wrote."""
    return head.startswith(b"\x89PNG") and _MARK.encode() in head[:_HEAD_BYTES]


def _draw_faces(image: Image.Image, rows: tuple[PredictionRow, ...]) -> Image.Image:
    """Return a picture, enlarged where it is small, with its faces framed and named.

    Labels are laid where no other label lies, as far as there is room.
    """
    from PIL import ImageDraw

    factor = max(1, math.ceil(_LEAST_SIDE_PX / max(image.size)))
    picture = image.resize((image.width * factor, image.height * factor)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(picture.size) / 400))
    font = _load_font(max(14, round(max(picture.size) / 45)))
    laid: list[Corners] = []
    for row in rows:
        if row.box is None:
            continue
        x, y, width, height = (value * factor for value in row.box)
        color = choose_color(row.label or "", tuple(row.probabilities or ()))
        draw.rectangle((x, y, x + width - 1, y + height - 1), outline=_SHADE, width=line + 2)
        draw.rectangle((x + 1, y + 1, x + width - 2, y + height - 2), outline=color, width=line)
        text = _describe(row)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        size = (round(right - left) + 8, round(bottom - top) + 8)
        place = _find_place((x, y, width, height), size, picture.size, laid)
        laid.append(place)
        draw.rectangle(place, fill=color, outline=_SHADE)
        draw.text((place[0] + 4 - left, place[1] + 4 - top), text, fill=_SHADE, font=font)
    return picture


def _find_place(
    box: Corners, size: tuple[int, int], picture: tuple[int, int], laid: list[Corners]
) -> Corners:
    """Return where a label covers the least of those that were laid: the first such place.

    Above the box, below it, inside at its top and bottom, beside it; then further up and down.

    Args:
        box: x, y, width, height of the face.
        size: Width and height of the label.
        picture: Of the picture.
        laid: Corners of the labels so far.
    """
    x, y, width, height = box
    wide, high = size
    tops = [(x, y - high), (x, y + height), (x, y), (x, y + height - high)]
    sides = [(x + width, y), (x - wide, y)]
    further = [(x, y + step * high) for n in range(2, 12) for step in (-n, n)]
    best: tuple[int, Corners] | None = None
    for at_x, at_y in (*tops, *sides, *further):
        left = min(max(at_x, 0), max(0, picture[0] - wide))
        top = min(max(at_y, 0), max(0, picture[1] - high))
        corners = (left, top, left + wide, top + high)
        covered = sum(_measure_overlap(corners, other) for other in laid)
        if best is None or covered < best[0]:
            best = (covered, corners)
        if not covered:
            break
    return best[1] if best else (x, y, x + wide, y + high)


def _measure_overlap(first: Corners, second: Corners) -> int:
    """Return the pixels that two rectangles share."""
    wide = min(first[2], second[2]) - max(first[0], second[0]) + 1
    high = min(first[3], second[3]) - max(first[1], second[1]) + 1
    return max(0, wide) * max(0, high)


def _describe(row: PredictionRow) -> str:
    return f"{row.label} {row.confidence:.0%}"


def _shorten_name(name: str) -> str:
    """Return a file's name as fits below a face: its beginning, and its end, where numbers are."""
    shown = safe_name(name)
    if len(shown) <= _NAME_LETTERS:
        return shown
    return f"{shown[: _NAME_LETTERS // 2 - 1]}…{shown[-_NAME_LETTERS // 2 :]}"


def _load_font(size: int) -> Any:  # noqa: ANN401  # one of two kinds of Pillow's
    from PIL import ImageFont

    return ImageFont.load_default(size)
