"""Sampled frames of a video file, each with the time that the container gives it.

OpenCV decodes, since it is there for the faces anyway. A frame's time is the container's, asked for
after the frame was taken: phones and browsers record at rates that vary, so frame / rate would be
wrong. The start is reached by decoding: a seek lands on some key frame near it, and which frame
that is nobody knows.

A file is a video by how it begins, not by its name. Playlists, which name other files and
addresses, are none.

Shape legend: H, W are the height and width of the upright frame in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli.errors import ImageDecodeError
from fercli.images.decode import SUFFIXES, DecodedImage, cut_rows
from fercli.images.detection import import_cv2
from fercli.images.limits import refuse_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "HEAD_BYTES",
    "VideoFrame",
    "begins_as_video",
    "check_size",
    "find_next_due",
    "is_video",
    "read_length",
    "sample_capture",
    "sample_frames",
]

HEAD_BYTES: Final = 400
"""By which a file is told."""
_STILL_BRANDS: Final = frozenset(
    {b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
)
"""Of files that are built as an MP4 and hold a picture (ISO/IEC 23008-12, 2022, annex B)."""
_RAW_BRAND: Final = b"crx "
"""Of a camera's raw picture."""
_TIMED_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})
"""With which old QuickTime files begin."""
_SIGNATURES: Final = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF, WMV
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
)
_PACKET_BYTES: Final = 188
"""Of an MPEG transport stream (ISO/IEC 13818-1, 2.4.3.2); each begins with the same byte."""
_SYNC: Final = 0x47
_MISSING: Final = 0.1
"""Share of the announced frames and of the duration without which a file is said to break off."""
_SAME_TIME: Final = 1e-6
"""Within this share of a sampling period two times are the same."""


@dataclass(frozen=True, kw_only=True)
class VideoFrame:
    """One frame, still as it was decoded."""

    index: int
    """Its number in the file, or since a live source was opened, from 0."""
    time_s: float
    """When it is shown, by the container; of a live source, since its first frame."""
    duration_s: float | None
    """Of the whole video, as its container says; of a live source, when it is to end."""
    rate: float | None
    """Frames a second on average, as its container says."""
    bgr: NDArray[np.uint8]
    """[H, W, 3], 0-255, upright, as OpenCV orders colors."""
    is_live: bool = False
    """Whether it came when it was filmed: then its time is the clock's, and others were missed."""

    @property
    def n_bytes(self) -> int:
        """What it takes of memory."""
        return self.bgr.nbytes

    def choose_step_s(self, every_s: float) -> float:
        """Return how far apart the frames are that are looked at, seconds.

        A video with fewer frames than are asked for gives all of them.

        Args:
            every_s: What was asked for; 0 for all frames.

        Returns:
            0 where it cannot be told.
        """
        own = 1 / self.rate if self.rate and not self.is_live else 0.0
        return max(every_s, own)

    def convert(self, *, color: bool) -> DecodedImage:
        """Return it as any other image becomes pixels.

        Args:
            color: Keep the colors beside the gray.
        """
        import numpy as np
        from PIL import Image

        cv2 = import_cv2()
        height, width = self.bgr.shape[:2]
        gray = np.empty((height, width), dtype=np.uint8)
        # In pieces: whole copies of frames would be most of the memory that a video takes.
        for rows in cut_rows(width, height):
            rgb = Image.fromarray(cv2.cvtColor(self.bgr[rows], cv2.COLOR_BGR2RGB))
            gray[rows] = np.asarray(rgb.convert("L"))
        colors = cv2.cvtColor(self.bgr, cv2.COLOR_BGR2RGB) if color else None
        return DecodedImage(gray, frames=1, rgb=colors)


def is_video(path: Path) -> bool:
    """Return whether a file is a video, told by how it begins.

    What has an image's name is not opened; an image is what is made of it then.
    """
    if path.suffix.lower() in SUFFIXES:
        return False
    try:
        # A pipe would keep who opens it waiting.
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return begins_as_video(stream.read(HEAD_BYTES))
    except (OSError, ValueError):
        return False


def sample_frames(
    path: Path,
    *,
    every_s: float,
    start_s: float,
    end_s: float | None,
    max_pixels: int,
    after: int = -1,
) -> Generator[VideoFrame, None, None]:
    """Yield frames of a video, in order.

    Args:
        path: A file that `is_video`.
        every_s: Time between samples; 0 for every frame. The first frame at or after each
            multiple is taken, so a rate below the sampling's gives every frame once.
        start_s: Frames before it are passed over.
        end_s: Frames after it are not read; None for all.
        max_pixels: Largest frame, width times height.
        after: The number of a sampled frame; what follows it is yielded.

    Raises:
        ImageDecodeError: It holds no video that can be decoded, or breaks off: after the last
            frame that could be read.
        ImageRefusedError: Its frames are larger than `max_pixels`.
        DependencyMissingError: OpenCV cannot be imported.
    """
    cv2 = import_cv2()
    # Absolute: a name such as `concat:a` would be taken for an address.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            message = "it holds no video that OpenCV can decode"
            raise ImageDecodeError(message)
        yield from sample_capture(
            capture,
            every_s=every_s,
            start_s=start_s,
            end_s=end_s,
            max_pixels=max_pixels,
            after=after,
        )
    except cv2.error as reason:
        message = f"OpenCV cannot decode it ({' '.join(str(reason).split())[:100]})"
        raise ImageDecodeError(message) from reason
    finally:
        capture.release()


def sample_capture(
    capture: Any,  # noqa: ANN401  # untyped library
    *,
    every_s: float,
    start_s: float,
    end_s: float | None,
    max_pixels: int,
    after: int = -1,
) -> Generator[VideoFrame, None, None]:
    """Yield frames of an open capture of a recorded video; see `sample_frames`."""
    cv2 = import_cv2()
    n_announced, rate = read_length(capture)
    duration_s = n_announced / rate if rate else None
    check_size(capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT),
                max_pixels)  # fmt: skip
    index, time_s, due_s = -1, -math.inf, start_s
    while capture.grab():
        index += 1
        # Damaged containers count back; rows in order are worth more than their times.
        time_s = max(time_s, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        if end_s is not None and time_s > end_s:
            return
        if index < after or time_s < due_s - _SAME_TIME * every_s:
            continue
        due_s = find_next_due(time_s, every_s, start_s)
        if index == after:
            continue
        is_there, bgr = capture.retrieve()
        if not is_there:
            break
        check_size(bgr.shape[0] * bgr.shape[1], max_pixels)
        yield VideoFrame(index=index, time_s=time_s, duration_s=duration_s, rate=rate, bgr=bgr)
    n_read = index + 1
    whole = 1 - _MISSING
    if n_announced and duration_s and n_read < whole * n_announced and time_s < whole * duration_s:
        place = f"after {max(time_s, 0):.1f} of {duration_s:.1f} s"
        message = f"it breaks off {place}" if n_read else "none of its frames can be decoded"
        raise ImageDecodeError(message)
    if not n_read:
        message = "it holds no frame"
        raise ImageDecodeError(message)


def read_length(capture: Any) -> tuple[int, float | None]:  # noqa: ANN401  # untyped library
    """Return how many frames the container announces, at which rate; 0 and None where not."""
    cv2 = import_cv2()
    count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    if not (math.isfinite(count) and math.isfinite(rate) and count > 0 and rate > 0):
        return 0, None
    return round(count), rate


def find_next_due(time_s: float, every_s: float, start_s: float) -> float:
    """Return the first multiple of the sampling period after a time."""
    if not every_s:
        return -math.inf
    return start_s + (math.floor((time_s - start_s) / every_s + _SAME_TIME) + 1) * every_s


def check_size(n_pixels: float, max_pixels: int) -> None:
    """Refuse frames of too many pixels.

    Raises:
        ImageRefusedError: They are more than `max_pixels`.
    """
    if n_pixels > max_pixels:
        what = f"a frame of {n_pixels:.0f} pixels"
        raise refuse_pixels(what, round(n_pixels), max_pixels)


def begins_as_video(head: bytes) -> bool:
    """Return whether a file that begins so is a video.

    Args:
        head: Its first `HEAD_BYTES`.
    """
    kind, brand = head[4:8], head[8:12]
    if kind == b"ftyp":
        return brand not in _STILL_BRANDS and brand != _RAW_BRAND
    if head[:1] == b"\0" and kind in _TIMED_ATOMS:
        return True
    if head.startswith(b"RIFF"):
        return brand == b"AVI "
    return head.startswith(_SIGNATURES) or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """Return whether packets follow one another, each with or without four bytes before it."""
    return any(head[at :: _PACKET_BYTES + at][:3] == bytes([_SYNC] * 3) for at in (0, 4))
