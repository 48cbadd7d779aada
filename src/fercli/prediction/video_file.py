"""A video as one file that plays everywhere: H.264 in MP4, with the sound of its source.

OpenCV can read H.264 and not write it, so this is done by PyAV, the extra `video`. Each frame is
shown at the time that its row says, until the next: whatever share of the frames is looked at,
picture and sound stay in step. Sound is copied as it is where MP4 may hold it, else it becomes AAC.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.dependencies import explain_missing
from fercli.errors import RunFailedError
from fercli.names import count
from fercli.prediction.annotate import choose_rate, draw_frame
from fercli.storage import check_apart, open_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.images import VideoFrame
    from fercli.prediction.answers import FilePrediction

__all__ = ["VideoFile", "import_av"]

_TIME_BASE: Final = Fraction(1, 90_000)
"""Of the picture; MP4's usual one."""
_COPIED: Final = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
"""Codecs of sound that MP4 may hold."""
_ENCODER: Final = "libx264"
_QUALITY: Final = {"crf": "20", "preset": "veryfast"}
"""Frames a second where neither the sampling nor the video says."""


def import_av() -> Any:  # noqa: ANN401  # what of it is typed changes between its versions
    """Return PyAV.

    Raises:
        DependencyMissingError: It is not there.
    """
    name = "av"
    try:
        import av
    except ImportError as reason:
        raise explain_missing(name, reason) from reason
    av.logging.set_level(av.logging.PANIC)
    return av


class VideoFile:
    """Writes the frames that were looked at, their faces framed and named, as one MP4.

    Args:
        path: Where to.
        every_s: Time between the frames, 0 for all of them.

    Raises:
        DependencyMissingError: PyAV is not there.
    """

    def __init__(self, path: Path, *, every_s: float) -> None:
        self._path = path
        self._every_s = every_s
        self._av = import_av()
        self._film: _Film | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="fercli-")

    def add(self, prediction: FilePrediction) -> None:
        """Draw one frame.

        Raises:
            ConfigError: The video would be written over that file.
            RunFailedError: It cannot be encoded.
        """
        check_apart([self._path], [prediction.path])
        frame = prediction.frame
        if frame is None:
            return
        try:
            if self._film is None:
                source = None if frame.is_live else prediction.path
                target = Path(self._folder.name) / "film.mp4"
                rate = choose_rate(frame, self._every_s)
                self._film = _Film(self._av, target, source, frame, rate)
            self._film.write(draw_frame(frame, prediction.rows), frame.time_s)
        except self._av.error.FFmpegError as reason:
            message = f"{self._path} cannot be encoded ({reason})"
            raise RunFailedError(message) from reason

    def close(self) -> None:
        """Give the video its name; without a frame there is none."""
        with self._folder:
            if self._film is None:
                return
            self._film.close()
            with self._film.path.open("rb") as content, open_atomically(self._path) as stream:
                shutil.copyfileobj(content, stream)

    def describe(self) -> str:
        """Return what was made."""
        if self._film is None:
            return f"no frame to write to {self._path}"
        return f"{count(self._film.n_frames, 'frame')}, {self._film.sound}, written to {self._path}"


class _Film:
    """An MP4 under way.

    Args:
        av: PyAV.
        path: A temporary file: that it can be played before it is all there takes a second pass.
        source: Where its sound comes from, None for none.
        first: Its first frame, with which it begins.
        rate: Frames a second, about.
    """

    def __init__(
        self,
        av: Any,  # noqa: ANN401  # as above
        path: Path,
        source: Path | None,
        first: VideoFrame,
        rate: float,
    ) -> None:
        self.path = path
        self.n_frames = 0
        self._av = av
        self._began_s = first.time_s
        self._period_s = 1 / rate
        self._latest_s = -1.0
        self._until_s = 0.0
        # H.264 in colors of half the size takes even sides.
        self._size = first.bgr.shape[1] // 2 * 2 or 2, first.bgr.shape[0] // 2 * 2 or 2
        self._target = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        video = self._target.add_stream(_ENCODER, rate=round(rate) or 1, options=_QUALITY)
        video.width, video.height = self._size
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = _TIME_BASE
        self._video = video
        self._sound = _Sound(av, source, self._target, first.time_s)

    @property
    def sound(self) -> str:
        """What became of the sound."""
        return self._sound.told

    def write(self, rgb: NDArray[np.uint8], time_s: float) -> None:
        """Add a frame `[H, W, 3]` that is shown at a time; one of another size is brought to it."""
        place = max(time_s - self._began_s, self._latest_s + float(_TIME_BASE))
        self._sound.copy_until(place)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = frame.reformat(width=self._size[0], height=self._size[1], format="yuv420p")
        frame.pts, frame.time_base = round(place / _TIME_BASE), _TIME_BASE
        self._target.mux(self._video.encode(frame))
        self._latest_s = place
        self.n_frames += 1

    def close(self) -> None:
        """Write what is still held back; the last frame is shown as long as the others."""
        self._sound.copy_until(self._latest_s + self._period_s)
        packets = self._video.encode(None)
        if packets:
            packets[-1].duration = round(self._period_s / _TIME_BASE)
        self._target.mux(packets)
        self._sound.close()
        self._target.close()


class _Sound:
    """The sound of a file on its way into another one.

    Args:
        av: PyAV.
        source: The file, None for none.
        target: Where its sound goes.
        began_s: When the other begins, in the source's time.
    """

    def __init__(self, av: Any, source: Path | None, target: Any, began_s: float) -> None:  # noqa: ANN401  # as above
        self.told = "without sound"
        self._target = target
        self._closing = contextlib.ExitStack()
        self._packets: Iterator[tuple[float, Any]] = iter(())
        self._waiting: tuple[float, Any] | None = None
        self._stream: Any = None
        self._encodes = False
        if source is None:
            return
        try:
            container = self._closing.enter_context(av.open(str(source.absolute())))
        except av.error.FFmpegError:
            return
        if not container.streams.audio or not container.streams.video:
            return
        audio, video = container.streams.audio[0], container.streams.video[0]
        # Rows count from where the picture begins.
        zero_s = float((video.start_time or 0) * video.time_base) + began_s
        if audio.codec_context.name.removesuffix("float") in _COPIED:
            self._stream = target.add_stream_from_template(audio)
            self.told = "with its sound"
            self._packets = self._copy(av, container, audio, zero_s)
        else:
            self._encodes = True
            self._stream = target.add_stream("aac", rate=audio.rate or 48_000)
            self._stream.layout = "stereo" if (audio.channels or 1) > 1 else "mono"
            self.told = "with its sound as AAC"
            self._packets = self._decode(av, container, audio, zero_s)

    def _copy(
        self,
        av: Any,  # noqa: ANN401  # as above
        container: Any,  # noqa: ANN401  # as above
        audio: Any,  # noqa: ANN401  # as above
        zero_s: float,
    ) -> Iterator[tuple[float, Any]]:
        """Yield packets and their times."""
        offset = round(zero_s / audio.time_base)
        with contextlib.suppress(av.error.FFmpegError):
            # What of it is damaged ends the sound, not the picture.
            for packet in container.demux(audio):
                if packet.pts is None or packet.pts < offset:
                    continue
                packet.pts -= offset
                packet.dts = packet.pts
                yield float(packet.pts * audio.time_base), packet

    def _decode(
        self,
        av: Any,  # noqa: ANN401  # as above
        container: Any,  # noqa: ANN401  # as above
        audio: Any,  # noqa: ANN401  # as above
        zero_s: float,
    ) -> Iterator[tuple[float, Any]]:
        """Yield decoded pieces and their times."""
        offset = round(zero_s * self._stream.rate)
        resampler = av.AudioResampler(
            format="fltp", layout=self._stream.layout.name, rate=self._stream.rate
        )
        with contextlib.suppress(av.error.FFmpegError):
            for frame in container.decode(audio):
                for piece in resampler.resample(frame):
                    if piece.pts is None or piece.pts < offset:
                        continue
                    piece.pts -= offset
                    yield piece.pts / piece.rate, piece

    def copy_until(self, time_s: float) -> None:
        """Hand on the sound before a time of the target."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            if self._waiting is None or self._waiting[0] >= time_s:
                return
            _, piece = self._waiting
            self._waiting = None
            if self._encodes:
                self._target.mux(self._stream.encode(piece))
            else:
                piece.stream = self._stream
                self._target.mux(piece)

    def close(self) -> None:
        """Let go of the source."""
        if self._encodes:
            self._target.mux(self._stream.encode(None))
        self._closing.close()
