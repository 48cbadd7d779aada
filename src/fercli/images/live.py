"""Frames of a camera or a stream, as they come: the newest one, never one that has waited.

A thread of its own takes every frame and keeps the latest that is due. Drivers and sockets hold
frames back, so that whoever asked only when there is time would see the past, more of it with every
frame. What an address serves as a whole file is no live source: nothing of it is missed, and its
times are its own.

Nothing here waits for ever: opening and reading have time limits, and a source that was lost is
opened again a few times only. What OpenCV says of an address is never passed on, since it may name
a password.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from fercli.errors import ConfigError, DataError, ImageDecodeError, InputNotFoundError
from fercli.images.decode import SUFFIXES
from fercli.images.detection import import_cv2
from fercli.images.video import VideoFrame, check_size, find_next_due, read_length, sample_capture
from fercli.names import hide_secrets

__all__ = ["LiveFeed", "LiveSource", "find_live_source", "open_capture", "parse_live_source"]

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Before each attempt to open a source again that was lost; half a minute together."""
_PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
"""Of the schemes that are read, the ports that need not be named (IANA's registry)."""
_OPEN_LIMIT_S: Final = 5.0
_SILENCE_LIMIT_S: Final = 5.0
"""A stream that sends nothing for so long is lost."""
_LASTING_S: Final = 60.0
"""A connection that held for so long was a good one: attempts are counted anew."""
_POLL_S: Final = 0.1
"""Between two looks at whether somebody wants to stop."""
_CAMERA: Final = re.compile(r"[0-9]{1,2}")
"""Higher numbers choose OpenCV's drivers, and are more likely a file that is missing."""
_SAME_TIME: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class LiveSource:
    """A camera or an address that frames come from."""

    address: int | str = field(repr=False)
    """What is opened, passwords included: the number of a camera, or an address."""
    title: str
    """What was typed, without passwords; how rows and messages call it."""
    name: str
    """A file name for what is made of it."""

    @property
    def noun(self) -> str:
        """What to call it in a sentence."""
        return f"camera {self.title}" if isinstance(self.address, int) else self.title

    @property
    def is_web(self) -> bool:
        """Whether a web server sends it, where there may be anything else, too."""
        return isinstance(self.address, str) and urlsplit(self.address).scheme.startswith("http")


def find_live_source(text: str) -> LiveSource | None:
    """Return the live source that a word names, or None where it names a file.

    A whole number is a camera, and an address a stream, unless a file has that name.

    Raises:
        ConfigError: It is an address that is not read; the message does not repeat it.
    """
    # pathlib cannot ask about a broken link.
    if os.path.lexists(text):  # noqa: TID251
        return None
    if _CAMERA.fullmatch(text):
        return LiveSource(address=int(text), title=text, name=f"camera-{int(text)}")
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        return _parse_address(text)
    return None


def parse_live_source(source: int | str) -> LiveSource:
    """Return what a number or an address stands for, whatever files there are.

    Raises:
        ConfigError: It is neither, or an address that is not read.
    """
    if isinstance(source, str) and "://" in source:
        return _parse_address(source)
    text = str(source)
    if not _CAMERA.fullmatch(text):
        message = "a live source is a camera's number, 0 to 99, or an address"
        raise ConfigError(message)
    return LiveSource(address=int(text), title=text, name=f"camera-{int(text)}")


def open_capture(source: LiveSource) -> Any:  # noqa: ANN401  # untyped library
    """Return OpenCV's capture of a source, open or not; nothing else calls OpenCV for one.

    Raises:
        DependencyMissingError: OpenCV cannot be imported.
    """
    cv2 = import_cv2()
    if isinstance(source.address, int):
        capture = cv2.VideoCapture(source.address, cv2.CAP_ANY)
        # Not every driver can: the reading thread empties the others.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
    limits = {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: _OPEN_LIMIT_S,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: _SILENCE_LIMIT_S,
    }
    settings = [number for key, limit_s in limits.items() for number in (key, int(1000 * limit_s))]
    return cv2.VideoCapture(source.address, cv2.CAP_FFMPEG, settings)


class LiveFeed:
    """An open source; to be closed.

    Args:
        source: A camera or an address.
        every_s: Time between the frames that are looked at; 0 for every one there is time for.
        start_s: Where to begin; for what is served as a whole file alone.
        end_s: Where to end, in seconds after the first frame; None for never.
        max_pixels: Largest frame, width times height.
        should_stop: Asked ten times a second; a true answer ends the frames.

    Raises:
        InputNotFoundError: It cannot be opened; the message says why, as far as can be found out.
        ConfigError: `start_s` of a live source.
        DataError: The address is one of a picture.
        ImageRefusedError: Its frames are larger than `max_pixels`.
        DependencyMissingError: OpenCV cannot be imported.
    """

    def __init__(  # what is wanted of it
        self,
        source: LiveSource,
        *,
        every_s: float,
        start_s: float = 0.0,
        end_s: float | None = None,
        max_pixels: int,
        should_stop: Callable[[], object] = bool,
    ) -> None:
        self.source = source
        self._wanted = {
            "every_s": every_s, "start_s": start_s, "end_s": end_s, "max_pixels": max_pixels
        }  # fmt: skip
        self._end_s = end_s
        self._should_stop = should_stop
        with contextlib.ExitStack() as unless_open:
            # Here and not in the thread: macOS asks the user on the main thread alone.
            capture = open_capture(source)
            unless_open.callback(capture.release)
            self._capture = capture
            self._reader = self._start(capture, every_s, max_pixels, begins_late=start_s > 0)
            unless_open.pop_all()

    def _start(
        self,
        capture: Any,  # noqa: ANN401  # untyped library
        every_s: float,
        max_pixels: int,
        *,
        begins_late: bool,
    ) -> _Reader | None:
        """Return what reads the source, None for a file that somebody serves."""
        source, cv2 = self.source, import_cv2()
        if not capture.isOpened():
            message, hint = _explain_closed(source)
            raise InputNotFoundError(message, hint=hint)
        n_announced, _ = read_length(capture)
        if source.is_web and _is_picture(source, capture, n_announced):
            raise _refuse_picture(source)
        size = (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        check_size(size[0] * size[1], max_pixels)
        if source.is_web and n_announced > 1:
            return None
        if begins_late:
            message = f"{source.noun} is live and begins now: leave out --start"
            raise ConfigError(message)
        return _Reader(source, capture, every_s=every_s, end_s=self._end_s, max_pixels=max_pixels)

    @property
    def n_dropped(self) -> int:
        """Frames that were due and not looked at, since the ones before took too long."""
        return self._reader.n_dropped if self._reader else 0

    def read(self, on_note: Callable[[str], object] = str) -> Generator[VideoFrame, None, None]:
        """Yield frames, the newest there is each time, until the end or until it is stopped.

        Args:
            on_note: Told in a sentence when the source is lost and when it is back.

        Raises:
            ImageDecodeError: It was lost and cannot be opened again; after the last frame.
            ImageRefusedError: Its frames became larger than is allowed.
            InputNotFoundError: No frame came at all.
        """
        if self._reader is None:
            yield from self._read_file()
            return
        while not self._should_stop():
            frame = self._reader.take(_POLL_S)
            for sentence in self._reader.take_news():
                on_note(f"{self.source.noun}: {sentence}")
            if frame is not None:
                yield frame
            elif self._is_over(self._reader):
                return

    def _is_over(self, reader: _Reader) -> bool:
        """Return whether the end has come; raise where it was none that was asked for."""
        if reader.is_closing:
            return True
        is_late = self._end_s is not None and reader.count_s() > self._end_s
        if reader.is_empty or (is_late and reader.is_lost):
            raise reader.explain()
        return is_late

    def _read_file(self) -> Generator[VideoFrame, None, None]:
        """Yield the frames of a file that somebody serves."""
        cv2 = import_cv2()
        is_empty = True
        try:
            for frame in sample_capture(self._capture, **self._wanted):  # type: ignore[arg-type]  # mypy takes the values for one type
                if self._should_stop():
                    return
                yield frame
                is_empty = False
        except cv2.error as reason:
            message = "OpenCV cannot decode it"
            raise ImageDecodeError(message) from reason
        if is_empty:
            message = "it has no frame between --start and --end"
            raise ImageDecodeError(message)

    def close(self) -> None:
        """Let go of the source; waits for a read that is under way, five seconds at most."""
        if self._reader is None:
            self._capture.release()
        else:
            self._reader.close()


class _Reader:
    """A thread that takes every frame and keeps the latest that is due.

    The capture is its own: releasing one while another thread reads from it ends the process.
    """

    def __init__(
        self,
        source: LiveSource,
        capture: Any,  # noqa: ANN401  # untyped library
        *,
        every_s: float,
        end_s: float | None,
        max_pixels: int,
    ) -> None:
        self.n_dropped = 0
        self.is_lost = False
        self._source = source
        self._every_s = every_s
        self._end_s = end_s
        self._max_pixels = max_pixels
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._latest: VideoFrame | None = None
        self._has_ended = False
        self._is_looked_at = False
        self._news: deque[str] = deque()
        self._failure: ImageDecodeError | None = None
        self._n_frames = self._n_attempts = 0
        self._began_s = math.nan
        self._lost_s = 0.0
        self._due_s = 0.0
        # It must not keep a program from ending that forgot to close it.
        self._thread = threading.Thread(
            target=self._run, args=(capture,), name="fer-live", daemon=True
        )
        self._thread.start()

    def take(self, wait_s: float) -> VideoFrame | None:
        """Return the latest frame and forget it; None where none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._latest is not None or self._has_ended, wait_s)
            frame, self._latest = self._latest, None
            self._is_looked_at = self._is_looked_at or frame is not None
        return frame

    @property
    def is_closing(self) -> bool:
        """Whether nobody wants more."""
        return self._closing.is_set()

    @property
    def is_empty(self) -> bool:
        """Whether every frame was taken and none will come."""
        with self._changed:
            return self._has_ended and self._latest is None

    def take_news(self) -> list[str]:
        """Return what has happened since the last call."""
        news = []
        while self._news:
            news.append(self._news.popleft())
        return news

    def count_s(self) -> float:
        """Return the seconds since the first frame; 0 before it."""
        return 0.0 if math.isnan(self._began_s) else time.monotonic() - self._began_s

    def explain(self) -> DataError:
        """Return why there are no more frames."""
        if self._failure is not None:
            return self._failure
        if not self._n_frames:
            message = f"{self._source.noun} can be opened, but gives no frame"
            return InputNotFoundError(message)
        message = f"it was lost after {self._lost_s:.1f} s{self._tell_attempts()}"
        return ImageDecodeError(message)

    def close(self) -> None:
        """End the thread, which lets go of the source."""
        self._closing.set()
        self._thread.join()

    def _run(self, capture: Any) -> None:  # noqa: ANN401  # untyped library
        try:
            self._follow(capture)
        except ImageDecodeError as reason:
            self._failure = reason
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _follow(self, capture: Any) -> None:  # noqa: ANN401  # untyped library
        """Read until it is closed, or lost for good."""
        while capture is not None:
            before, since = self._n_frames, time.monotonic()
            try:
                self._read(capture)
            finally:
                capture.release()
            if self._closing.is_set() or not self._n_frames:
                return
            if time.monotonic() - since > _LASTING_S:
                self._n_attempts = 0
            if self._n_frames > before:
                self._lost_s = self.count_s()
            self.is_lost = True
            capture = self._open_again()

    def _read(self, capture: Any) -> None:  # noqa: ANN401  # untyped library
        """Take frames until there are no more."""
        cv2 = import_cv2()
        with contextlib.suppress(cv2.error):
            while not self._closing.is_set() and capture.grab():
                now_s = time.monotonic()
                if not self._n_frames:
                    self._began_s = now_s
                if self.is_lost:
                    self.is_lost = False
                    self._news.append("it is back")
                index, time_s = self._n_frames, now_s - self._began_s
                if self._end_s is not None and time_s > self._end_s:
                    self._closing.set()
                    return
                self._n_frames += 1
                if time_s < self._due_s - _SAME_TIME * self._every_s:
                    continue
                is_there, bgr = capture.retrieve()
                if is_there:
                    self._due_s = find_next_due(time_s, self._every_s, 0.0)
                    check_size(bgr.shape[0] * bgr.shape[1], self._max_pixels)
                    self._put(index, time_s, bgr)

    def _put(self, index: int, time_s: float, bgr: Any) -> None:  # noqa: ANN401  # an array
        frame = VideoFrame(
            index=index, time_s=time_s, duration_s=self._end_s, rate=None, bgr=bgr, is_live=True
        )
        with self._changed:
            # Before the first one is taken nobody is too slow.
            self.n_dropped += self._latest is not None and self._is_looked_at
            self._latest = frame
            self._changed.notify_all()

    def _open_again(self) -> Any:  # noqa: ANN401  # untyped library
        """Return the source opened anew, after pauses that grow; None where it cannot be."""
        while self._n_attempts < len(PAUSES_S) and not self._is_single():
            pause_s = PAUSES_S[self._n_attempts]
            self._n_attempts += 1
            self._news.append(
                f"lost after {self._lost_s:.1f} s; attempt {self._n_attempts} of {len(PAUSES_S)} "
                f"to open it again in {pause_s:g} s"
            )
            if self._closing.wait(pause_s):
                return None
            capture = open_capture(self._source)
            if capture.isOpened():
                return capture
            capture.release()
        return None

    def _is_single(self) -> bool:
        """Return whether a web server sent one frame and no more, as it sends a picture."""
        return self._source.is_web and self._n_frames == 1

    def _tell_attempts(self) -> str:
        if self._is_single():
            return ": it sent one frame and ended, as a picture does"
        if not self._has_ended:
            return " and was not back at the end"
        return f", and {self._n_attempts} attempts to open it again did not help"


def _parse_address(text: str) -> LiveSource:
    """Return the source of an address; no message repeats it, since it may hold a password."""
    scheme, is_whole = text.partition("://")[0].lower(), False
    if scheme not in _PORTS:
        message = f"{scheme}:// cannot be read; use {', '.join(f'{one}://' for one in _PORTS)}"
        raise ConfigError(message)
    # A port that is no number is where a password ends up that is not escaped.
    with contextlib.suppress(ValueError):
        parts = urlsplit(text)
        is_whole = parts.port != 0 and bool(parts.hostname) and text.isprintable()
    if not is_whole:
        message = f"the {scheme}:// address has no host, or a port that is not a number"
        hint = "in a name or password write %40 for @, %3A for :, %2F for /, %23 for #"
        raise ConfigError(message, hint=hint)
    name = re.sub(r"[^\w.-]+", "-", f"{parts.hostname}{parts.path}", flags=re.ASCII).strip("-.")
    title = hide_secrets(parts.geturl().replace(" ", "%20"))
    # FFmpeg knows its protocols in small letters alone.
    address = scheme + text[len(scheme) :]
    return LiveSource(address=address, title=title, name=name[:80])


def _explain_closed(source: LiveSource) -> tuple[str, str]:
    """Return why a source cannot be opened, as far as a connection tells, and a hint."""
    if isinstance(source.address, int):
        message = f"camera {source.title} cannot be opened, and no file is named {source.title!r}"
        return message, "is it plugged in, permitted, and not in use by another program?"
    parts = urlsplit(source.address)
    place = (str(parts.hostname), parts.port or _PORTS[parts.scheme])
    try:
        socket.create_connection(place, timeout=_OPEN_LIMIT_S).close()
    except OSError as reason:
        told = "it does not answer" if isinstance(reason, TimeoutError) else reason.strerror
        return f"{source.title} cannot be opened: {told or reason}", ""
    message = f"{source.title} cannot be opened: {parts.hostname} answers, but sends no video"
    hint = "are the address, the name and the password right (rtsp://NAME:PASSWORD@HOST/…)?"
    return message, hint


def _is_picture(source: LiveSource, capture: Any, n_announced: int) -> bool:  # noqa: ANN401  # untyped library
    """Return whether an address gives one picture: it says so, or is named so and then ends."""
    if n_announced == 1:
        return True
    named_so = PurePosixPath(urlsplit(str(source.address)).path).suffix.lower() in SUFFIXES
    return bool(named_so and n_announced < 1 and not (capture.grab() and capture.grab()))


def _refuse_picture(source: LiveSource) -> DataError:
    name = PurePosixPath(urlsplit(source.title).path).name
    message = f"{source.title} is a picture, not a stream or a video"
    url, file = shlex.quote(source.title), shlex.quote(f"./{name}" if name else "picture")
    return DataError(message, hint=f"curl -o {file} {url} && fer predict {file}")
