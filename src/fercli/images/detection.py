"""Find the faces in a photo, and cut them out as FER2013's were cut.

FER2013's images were themselves found by OpenCV's cascade, so `haar` is the default: its boxes are,
but for four hundredths, FER2013's frames (docs/explanation/log.md). `yunet` finds more, turned and
covered faces too, and its boxes are fitted to those frames.

A detector object belongs to one thread: OpenCV's are not safe to share. OpenCV's own threads are
off, since files are worked on side by side, and the order of what they find would depend on them.

Shape legend: H, W are the height and width of the upright image in pixels.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from fercli.dependencies import explain_missing
from fercli.errors import (
    DependencyMissingError,
    ImageDecodeError,
    ModelFileError,
    ModelNotFoundError,
)
from fercli.images.crop import SIDE_PX, to_face_crop
from fercli.images.decode import DecodedImage, load_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.images.memory import Share

__all__ = ["WHOLE_UP_TO_PX", "Face", "FaceFinder", "cut_face", "cut_faces", "import_cv2"]

_OPENING: Final = threading.Lock()
WHOLE_UP_TO_PX: Final = 96
"""An image whose longer side is at most this is taken as a face by `auto`; twice FER2013's."""
_LINEAR_BELOW: Final = 2.0
"""By less an image in colors is shrunk from the nearest pixels."""
_SHARP_PX: Final = 96
"""A frame of fewer pixels in a reduced image is cut out of a larger one: twice the crop's side."""
_SAME_SHARE: Final = 0.25
"""Boxes none of whose numbers differ by more than this share of a side are one face's."""


@dataclass(frozen=True)
class Face:
    """A face in an image, as its detector framed it; pixels of the upright image."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class _Framing:
    """How a detector's box becomes FER2013's frame.

    Source: medians over detections in FER2013's training images, `benchmarks/face_crops.py`.
    """

    size: float
    """Side of the frame over the square root of the box's area."""
    down: float
    """Its center below the box's, in sides of the frame."""


_FRAMINGS: Final = {
    "whole": _Framing(1.0, 0.0),
    "haar": _Framing(1.04, 0.0),
    "yunet": _Framing(1.14, 0.02),
}


class _Detector(Protocol):
    """Finds faces with one library; not to be shared between threads."""

    def detect(self, image: DecodedImage) -> list[Face]:
        """Return the faces in any order."""


class FaceFinder:
    """Finds faces the way that was asked for; may be used by several threads.

    Args:
        kind: One of `config.FACES`.
        weights: Of `yunet`; `auto` searches by it where they are given, else by `haar`.

    Raises:
        DependencyMissingError: OpenCV cannot be imported, or has no cascades.
        ModelFileError: The weights cannot be read.
    """

    def __init__(self, kind: str, weights: Path | None = None) -> None:
        self._kind = kind
        self._weights = weights
        self._searcher = "yunet" if kind == "yunet" or weights is not None else "haar"
        self._local = threading.local()
        if kind == "yunet":
            # Now rather than at the first photo: what is wrong with the weights is said at once.
            self._open(kind)

    @property
    def needs_color(self) -> bool:
        """Whether images are wanted with their colors."""
        return self._kind != "whole" and self._searcher == "yunet"

    @property
    def enough_px(self) -> int | None:
        """Longer side of an image that is enough to search in; None where all of it counts."""
        if self._kind == "whole":
            return None
        return _Yunet.SIDE_PX if self._searcher == "yunet" else _Haar.SIDE_PX

    def find(self, image: DecodedImage) -> tuple[str, list[Face]]:
        """Return how it was looked for faces, and the faces, largest first.

        Raises:
            ImageDecodeError: The detector cannot search the image.
            DependencyMissingError: As in the constructor, for `auto` and `haar` at the first photo.
        """
        height, width = image.height, image.width
        kind = self._kind
        if kind == "auto":
            kind = "whole" if max(height, width) <= WHOLE_UP_TO_PX else self._searcher
        if kind == "whole":
            return kind, [Face(0, 0, width, height)]
        faces = self._open(kind).detect(image)
        return kind, sorted(faces, key=lambda face: (-face.width * face.height, face.x, face.y))

    def _open(self, kind: str) -> _Detector:
        """Return this thread's detector."""
        found: _Detector | None = getattr(self._local, kind, None)
        if found is None:
            # OpenCV imports itself twice, so that a second thread would see it half imported.
            with _OPENING:
                found = _Yunet(self._weights) if kind == "yunet" else _Haar()
            setattr(self._local, kind, found)
        return found


def cut_face(image: DecodedImage, face: Face, detector: str) -> NDArray[np.uint8]:
    """Return a face as a face crop, `[48, 48]` uint8.

    The frame is a square; where it leaves the image, the pixels of the edge go on.

    Args:
        image: Where the face is.
        face: Its box.
        detector: Who framed it: `whole`, `haar` or `yunet`.
    """
    if detector == "whole":
        return to_face_crop(image.gray)
    from PIL import Image

    framing = _FRAMINGS[detector]
    side = _measure_frame(face, detector) / image.reduction
    left = (face.x + face.width / 2) / image.reduction - side / 2
    top = (face.y + face.height / 2) / image.reduction + framing.down * side - side / 2
    corners = np.array([left, top, left + side, top + side])
    height, width = image.gray.shape
    limits = np.array([width, height])
    # The resizing filter looks a little beyond the frame.
    beyond = side / SIDE_PX + 1
    low = np.floor(corners[:2] - beyond).astype(int)
    high = np.ceil(corners[2:] + beyond).astype(int)
    inside_low, inside_high = np.clip(low, 0, limits - 1), np.clip(high, 1, limits)
    pixels = image.gray[inside_low[1] : inside_high[1], inside_low[0] : inside_high[0]]
    before, after = inside_low - low, high - inside_high
    pixels = np.pad(pixels, ((before[1], after[1]), (before[0], after[0])), mode="edge")
    box = tuple(float(value) for value in (corners.reshape(2, 2) - low).reshape(-1))
    resized = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, box=(box[0], box[1], box[2], box[3])
    )
    return np.asarray(resized, dtype=np.uint8)


def cut_faces(
    image: DecodedImage, faces: list[Face], detector: str, share: Share | None = None
) -> list[NDArray[np.uint8]]:
    """Return faces as face crops; those that a reduced image shows too small, of a larger one.

    Args:
        image: Where the faces are.
        faces: F boxes.
        detector: Who framed them: `whole`, `haar` or `yunet`.
        share: What counts the image's bytes, where somebody keeps it.

    Returns:
        F crops, `[48, 48]` uint8.

    Raises:
        ImageDecodeError: The file cannot be decoded again.
    """
    sharp = image
    sides = [_measure_frame(face, detector) for face in faces if image.content is not None]
    if image.content is not None and sides and min(sides) < _SHARP_PX * image.reduction:
        enough = math.ceil(max(image.width, image.height) * _SHARP_PX / min(sides))
        n_pixels = image.width * image.height
        sharp = load_image(image.content, max_pixels=n_pixels, enough_px=enough, share=share)

    def choose(face: Face) -> DecodedImage:
        is_small = _measure_frame(face, detector) < _SHARP_PX * image.reduction
        return sharp if is_small else image

    return [cut_face(choose(face), face, detector) for face in faces]


def _measure_frame(face: Face, detector: str) -> float:
    """Return the side of the frame of a face, in pixels of the whole image."""
    return _FRAMINGS[detector].size * math.sqrt(face.width * face.height)


class _Haar:
    """OpenCV's cascade for frontal faces, which comes with it.

    Of its three the second finds a face in nearly as many images as the first, and one where none
    is a twentieth as often (docs/explanation/log.md). It wants some room around a face, which a
    portrait that fills its frame has not: where it finds nothing, it looks again, at a small image
    with its edges mirrored outwards.
    """

    SIDE_PX: Final = 960
    """Longer side of what is searched: a face of 48 pixels in a photo of 1,920 is still 24."""
    _LEAST_PX: Final = 24
    """The cascade's own window."""
    _COARSE: Final = (1.2, 2)
    """Step between two sizes that are looked for, and hits that make a face, or may."""
    _FINE: Final = (1.1, 3)
    """The same around what was found: whether it is a face, and where. Together they find
    about what one search in fine steps does, in 0.65 times the time, and half of what is none
    (docs/explanation/log.md)."""
    _SECOND: Final = (1.1, 5)
    """The same in the second search."""
    _AROUND: Final = 0.4
    """What is searched again around a box, in its sides."""
    _SIZES: Final = (0.7, 1.4)
    """Of the boxes looked for there, in its sides."""
    _SMALL_SIDE_PX: Final = 320
    """Longer side of the second search, border excluded: who fills the frame is large in it."""
    _BORDER: Final = 0.3
    """Mirrored pixels on each side, in longer sides."""
    _LEAST_SHARE: Final = 0.25
    """Of the shorter side that a face of the second search takes at least."""

    def __init__(self) -> None:
        cv2 = import_cv2()
        if not hasattr(cv2, "CascadeClassifier"):
            message = f"OpenCV {cv2.__version__} has no Haar cascades"
            hint = "pip install 'opencv-python-headless<5', or give --faces yunet"
            raise DependencyMissingError(message, hint=hint)
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"
        self._cv2 = cv2
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            message = f"OpenCV's cascade cannot be read from {path}"
            raise DependencyMissingError(message, hint="pip install 'opencv-python-headless<5'")

    def detect(self, image: DecodedImage) -> list[Face]:
        small, scale = _shrink(self._cv2, image.gray, self.SIDE_PX)
        boxes = self._search(small, self._COARSE, self._LEAST_PX)
        refined = (self._refine(small, box) for box in boxes)
        distinct = _drop_repeated(box for box in refined if box is not None)
        faces = [_enlarge(box, scale, image) for box in distinct]
        if faces:
            return faces
        small, scale = _shrink(self._cv2, image.gray, self._SMALL_SIDE_PX)
        border = round(self._BORDER * max(small.shape))
        least = max(self._LEAST_PX, round(self._LEAST_SHARE * min(small.shape)))
        # "symmetric" and not "reflect": a border may be wider than the image is high.
        padded = np.pad(small, border, mode="symmetric")
        boxes = self._search(padded, self._SECOND, least)
        inside = [
            box
            for box in boxes - (border, border, 0, 0)
            if _holds_center(box, width=small.shape[1], height=small.shape[0])
        ]
        return [_enlarge(box, scale, image) for box in inside]

    def _refine(self, gray: NDArray[np.uint8], box: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """Return the box that finer steps find where one may be; None where they find none."""
        x, y, width, height = map(int, box)
        around = round(self._AROUND * width) + 2
        left, top = max(0, x - around), max(0, y - around)
        region = gray[top : y + height + around, left : x + width + around]
        least, most = (max(self._LEAST_PX, int(share * width)) for share in self._SIZES)
        found = self._search(np.ascontiguousarray(region), self._FINE, least, most)
        if not len(found):
            return None
        found = found + np.array([left, top, 0, 0], dtype=np.int32)
        shifts = np.abs((found - box)[:, :2] + (found - box)[:, 2:] / 2).sum(axis=1)
        nearest: NDArray[np.int32] = found[shifts.argmin()]
        return nearest

    def _search(
        self,
        gray: NDArray[np.uint8],
        steps: tuple[float, int],
        least_px: int,
        most_px: int = 0,
    ) -> NDArray[np.int32]:
        """Return the boxes of an image, `[F, 4]`."""
        try:
            boxes = self._cascade.detectMultiScale(
                gray,
                scaleFactor=steps[0],
                minNeighbors=steps[1],
                minSize=(least_px, least_px),
                maxSize=(most_px, most_px),
            )
        except self._cv2.error as reason:
            message = f"OpenCV cannot search it ({' '.join(str(reason).split())[:100]})"
            raise ImageDecodeError(message) from reason
        return np.asarray(boxes, dtype=np.int32).reshape(-1, 4)


class _Yunet:
    """OpenCV's small face network, by weights that are fetched.

    Source:
        Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023; it finds faces of
        about 10 to 300 pixels, hence the size of what is searched (OpenCV Zoo's page of it).
    """

    SIDE_PX: Final = 640
    _SCORE: Final = 0.8
    _OVERLAP: Final = 0.3
    _MOST: Final = 5000
    _LEAST_PX: Final = 64
    """Below it the network's coarsest maps have one cell, and it says whatever it said before."""

    def __init__(self, weights: Path | None) -> None:
        if weights is None:
            message = "the weights of yunet are missing"
            raise ModelNotFoundError(message, hint="fer models fetch yunet")
        cv2 = import_cv2()
        self._cv2 = cv2
        try:
            self._network: Any = cv2.FaceDetectorYN.create(
                str(weights), "", (320, 320), self._SCORE, self._OVERLAP, self._MOST
            )
            self._network.detect(np.zeros((320, 320, 3), dtype=np.uint8))
        except (cv2.error, AttributeError) as reason:
            message = f"{weights} cannot be used as weights of yunet"
            raise ModelFileError(message, hint="fer models fetch yunet") from reason

    def detect(self, image: DecodedImage) -> list[Face]:
        if image.rgb is None:
            raise TypeError(image)
        small, scale = _shrink(self._cv2, image.rgb, self.SIDE_PX)
        height, width = small.shape[:2]
        below, beside = max(0, self._LEAST_PX - height), max(0, self._LEAST_PX - width)
        bgr = self._cv2.cvtColor(small, self._cv2.COLOR_RGB2BGR)
        if below or beside:
            bgr = np.pad(bgr, ((0, below), (0, beside), (0, 0)))
        self._network.setInputSize((bgr.shape[1], bgr.shape[0]))
        try:
            found = self._network.detect(bgr)[1]
        except self._cv2.error as reason:
            message = f"OpenCV cannot search it ({' '.join(str(reason).split())[:100]})"
            raise ImageDecodeError(message) from reason
        boxes = np.empty((0, 4)) if found is None else found[:, :4]
        is_box = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < (width, height)).all(axis=1)
        return [_enlarge(box, scale, image) for box in boxes[is_box]]


def import_cv2() -> Any:  # noqa: ANN401  # untyped library
    """Return OpenCV, computing on one thread and not writing to stderr by itself.

    Raises:
        DependencyMissingError: It cannot be imported.
    """
    # What its video library says of damaged files; a row says it, too.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    try:
        import cv2
    except ImportError as reason:
        advice = "face crops need no detector: --faces whole"
        missing = explain_missing("cv2", reason, title="OpenCV", advice=advice)
        raise missing from reason
    cv2.setNumThreads(1)
    return cv2


def _shrink(cv2: Any, pixels: NDArray[np.uint8], side_px: int) -> tuple[NDArray[np.uint8], float]:  # noqa: ANN401  # untyped library
    """Return an image whose longer side is at most `side_px`, and how much larger it was."""
    height, width = pixels.shape[:2]
    scale = max(height, width) / side_px
    if scale <= 1:
        return pixels, 1.0
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    # Colors are searched by a network, which does not mind; areas take five times as long.
    is_plain = pixels.ndim == 2 or scale >= _LINEAR_BELOW
    way = cv2.INTER_AREA if is_plain else cv2.INTER_LINEAR
    return cv2.resize(pixels, size, interpolation=way), scale


def _holds_center(box: NDArray[np.int32], *, width: int, height: int) -> bool:
    """Return whether a box's center is in the image; a face in the border is a mirror image."""
    x, y, across, down = (float(value) for value in box)
    return 0 <= x + across / 2 < width and 0 <= y + down / 2 < height


def _drop_repeated(boxes: Iterable[NDArray[np.int32]]) -> list[NDArray[np.int32]]:
    """Return boxes without those that lie where one before them does: two hits, one face."""
    kept: list[NDArray[np.int32]] = []
    for box in boxes:
        if all(np.abs(box - other).max() > _SAME_SHARE * other[2] for other in kept):
            kept.append(box)
    return kept


def _enlarge(box: Any, scale: float, image: DecodedImage) -> Face:  # noqa: ANN401  # four numbers
    """Return a box in pixels of the whole image, kept inside of it and at least a pixel large."""
    height, width = image.height, image.width
    x, y, across, down = (float(value) * scale * image.reduction for value in box)
    left, top = min(max(round(x), 0), width - 1), min(max(round(y), 0), height - 1)
    right = min(max(round(x + across), left + 1), width)
    bottom = min(max(round(y + down), top + 1), height)
    return Face(left, top, right - left, bottom - top)
