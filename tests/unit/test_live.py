from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from fercli.errors import (
    ConfigError,
    DataError,
    ImageDecodeError,
    ImageRefusedError,
    InputNotFoundError,
)
from fercli.images import LiveFeed, VideoFrame, find_live_source, parse_live_source
from fercli.images.live import PAUSES_S, open_capture

Stream = Callable[..., str]


class FakeCapture:
    """A camera: a frame per letter, brighter each time; `x` fails, `|` waits for `more`."""

    more = threading.Event()

    def __init__(self, letters: str, *, period_s: float = 0.0, is_open: bool = True) -> None:
        self._letters = iter(letters)
        self._period_s = period_s
        self._is_open = is_open
        self.says: dict[int, float] = {}
        """What it says of its frames, by OpenCV's numbers."""
        self.n_grabbed = 0
        self.retrieved: list[int] = []
        """Which of those grabbed were decoded, from 1."""
        self.is_released = False

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's
        return self._is_open

    def get(self, key: int) -> float:
        return self.says.get(key, 0.0)

    def grab(self) -> bool:
        assert not self.is_released
        letter = next(self._letters, "x")
        if letter == "|":
            self.more.wait(5)
            letter = next(self._letters, "x")
        time.sleep(self._period_s)
        self.n_grabbed += 1
        return letter != "x"

    def retrieve(self) -> tuple[bool, Any]:
        self.retrieved.append(self.n_grabbed)
        return True, np.full((4, 6, 3), self.n_grabbed % 256, dtype=np.uint8)

    def release(self) -> None:
        self.is_released = True


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let captures be what is opened, one after the other, without a pause."""
    FakeCapture.more = threading.Event()

    def call(*captures: FakeCapture) -> None:
        waiting, gone = iter(captures), FakeCapture("", is_open=False)
        monkeypatch.setattr("fercli.images.live.open_capture", lambda _: next(waiting, gone))

    monkeypatch.setattr("fercli.images.live.PAUSES_S", (0.001, 0.002, 0.003))
    return call


def open_feed(source: int | str = 0, **wanted: Any) -> LiveFeed:
    return LiveFeed(parse_live_source(source), **{"every_s": 0, "max_pixels": 10**6, **wanted})


def follow(feed: LiveFeed) -> tuple[int, str]:
    """Read to the end; return the number of the last frame and why there is no other."""
    latest = -1
    try:
        for frame in feed.read():
            latest = frame.index
    except DataError as reason:
        return latest, reason.message
    finally:
        feed.close()
    return latest, ""


@pytest.fixture
def frames(plug: Callable[..., None]) -> Iterator[Callable[..., list[VideoFrame]]]:
    """Read all of a camera; with the sentences that were said."""
    feeds: list[LiveFeed] = []

    def call(
        *captures: FakeCapture, said: list[str] | None = None, **wanted: Any
    ) -> list[VideoFrame]:
        plug(*captures)
        feeds.append(open_feed(**wanted))
        return list(feeds[-1].read((said if said is not None else []).append))

    yield call
    for feed in feeds:
        feed.close()


@pytest.mark.parametrize(
    ("text", "address", "title", "name"),
    [
        ("0", 0, "0", "camera-0"),
        ("07", 7, "07", "camera-7"),
        ("rtsp://cam.local:8554/live/1", "", "rtsp://cam.local:8554/live/1", "cam.local-live-1"),
        ("HTTP://me:se:cr@t@cam/a.mjpg", "", "http://cam/a.mjpg", "cam-a.mjpg"),
        ("rtsps://me@[::1]/x", "", "rtsps://[::1]/x", "1-x"),
        (
            "http://cam/v.cgi?user=me&pwd=se%20cret&Rate=5&token=t#key=k",
            "",
            "http://cam/v.cgi?user=***&pwd=***&Rate=5&token=***#key=***",
            "cam-v.cgi",
        ),
    ],
)
def test_words_that_are_live_sources(text: str, address: Any, title: str, name: str) -> None:
    source = find_live_source(text)

    assert source is not None
    # FFmpeg knows its protocols in small letters alone.
    assert source.address == (text.replace("HTTP", "http") if address == "" else address)
    assert (source.title, source.name) == (title, name)
    assert "cr" not in repr(source).replace("LiveSource", "")


@pytest.mark.parametrize(
    "text",
    ["clip.mp4", "100", "-1", "٣", "1.5", "", "-", "C:/x", "a b://c", "9" * 5000],  # a digit
)
def test_other_words_are_files(text: str) -> None:
    assert find_live_source(text) is None


def test_a_file_of_that_name_goes_before(tmp_path: Path) -> None:
    (tmp_path / "0").touch()

    assert find_live_source("0") is None
    assert parse_live_source("0").address == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rtmp://me:secret@cam/x", "rtmp:// cannot be read; use http://, https://, rtsp://"),
        ("file:///me:secret", "file:// cannot be read"),
        ("rtsp:///secret", "no host"),
        ("http://me:sec/ret@cam/x", "a port that is not a number"),
        ("http://[secret", "no host"),
        ("http://cam/\nsecret", "no host"),
        ("http://cam:0/secret", "no host"),
    ],
)
def test_odd_addresses_are_refused_and_not_repeated(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_live_source(text)

    assert sentence in caught.value.message
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("source", [-1, 100, "camera", True])
def test_what_is_no_source_in_python(source: Any) -> None:
    with pytest.raises(ConfigError, match="0 to 99, or an address"):
        parse_live_source(source)


def test_every_frame_comes_where_there_is_time(frames: Callable[..., list[VideoFrame]]) -> None:
    camera = FakeCapture("f" * 1000, period_s=0.03)

    got = frames(camera, end_s=0.2)

    assert [frame.index for frame in got] == list(range(len(got)))
    assert 5 <= len(got) <= 8


def test_the_newest_frame_wins_and_the_others_are_counted(plug: Callable[..., None]) -> None:
    plug(FakeCapture("f|fff|fff"))
    feed = open_feed()
    frames = feed.read()

    first = next(frames)
    FakeCapture.more.set()
    time.sleep(0.2)
    latest = next(frames)
    feed.close()

    assert (first.index, first.time_s, first.is_live) == (0, 0, True)
    assert latest.index == 6
    assert int(latest.bgr[0, 0, 0]) == 7
    assert feed.n_dropped == 5
    assert list(frames) == []


def test_sampling_is_by_the_clock(
    plug: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock stands still between the frames, a hundredth of a second apart."""
    camera = FakeCapture("f" * 100)
    clock = SimpleNamespace(monotonic=lambda: 1000 + camera.n_grabbed / 100)
    monkeypatch.setattr("fercli.images.live.time", clock)
    plug(camera)
    feed = open_feed(every_s=0.1, end_s=0.45)

    frames = list(feed.read())
    feed.close()

    # What is between two samples is not even decoded; a reader that is late misses some.
    assert camera.retrieved == [1, 11, 21, 31, 41]
    assert {frame.index + 1 for frame in frames} <= set(camera.retrieved)
    assert frames[-1].index == 40
    assert all(frame.time_s == pytest.approx(frame.index / 100) for frame in frames)


def test_a_lost_camera_is_opened_again(frames: Callable[..., list[VideoFrame]]) -> None:
    said: list[str] = []
    captures = [FakeCapture("ff", period_s=0.02), FakeCapture("", is_open=False),
                FakeCapture("ff" + "f" * 1000, period_s=0.02)]  # fmt: skip

    got = frames(*captures, said=said, end_s=0.3)

    assert [frame.index for frame in got[:4]] == [0, 1, 2, 3]
    assert [frame.time_s for frame in got] == sorted(frame.time_s for frame in got)
    lost = r"camera 0: lost after \d\.\d s; attempt 1 of 3 to open it again in"
    assert re.match(lost, said[0])
    assert "attempt 2 of 3" in said[1]
    assert said[2] == "camera 0: it is back"
    assert all(capture.is_released for capture in captures[:2])


def test_a_camera_that_keeps_failing_ends(plug: Callable[..., None]) -> None:
    captures = [FakeCapture("ff", period_s=0.02) for _ in range(4)]
    plug(*captures)

    latest, reason = follow(open_feed())

    assert latest == 7
    assert reason.endswith("s, and 3 attempts to open it again did not help")
    assert all(capture.is_released for capture in captures)


def test_attempts_are_counted_anew_after_a_good_connection(
    plug: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.images.live._LASTING_S", 0.03)
    plug(*[FakeCapture("ff", period_s=0.02) for _ in range(9)])

    latest, reason = follow(open_feed())

    assert latest == 17
    assert reason.endswith("3 attempts to open it again did not help")


def test_an_end_while_it_is_lost_says_so(
    plug: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(FakeCapture("ff", period_s=0.01))
    monkeypatch.setattr("fercli.images.live.PAUSES_S", (60.0,))
    feed = open_feed(end_s=0.2)

    with pytest.raises(ImageDecodeError, match="was not back at the end"):
        list(feed.read())
    feed.close()


def test_a_camera_that_is_not_there(plug: Callable[..., None]) -> None:
    camera = FakeCapture("", is_open=False)
    plug(camera)

    with pytest.raises(InputNotFoundError, match="camera 0 cannot be opened, and no file is"):
        open_feed()

    assert camera.is_released


def test_a_camera_without_a_frame(plug: Callable[..., None]) -> None:
    plug(FakeCapture(""))
    feed = open_feed()

    with pytest.raises(InputNotFoundError, match="camera 0 can be opened, but gives no frame"):
        list(feed.read())
    feed.close()


def test_a_live_source_begins_now(plug: Callable[..., None]) -> None:
    camera = FakeCapture("f")
    plug(camera)

    with pytest.raises(ConfigError, match="camera 0 is live and begins now: leave out --start"):
        open_feed(start_s=1.0)

    assert camera.is_released


def test_frames_that_grow_too_large_are_refused(plug: Callable[..., None]) -> None:
    plug(FakeCapture("ff"))
    feed = open_feed(max_pixels=23)

    with pytest.raises(ImageRefusedError, match="24 pixels is more than 23 pixels"):
        list(feed.read())
    feed.close()


def test_frames_that_are_said_to_be_too_large_are_refused_at_once(
    plug: Callable[..., None],
) -> None:
    for max_pixels, is_refused in ((24, False), (23, True)):
        camera = FakeCapture("")
        camera.says = {cv2.CAP_PROP_FRAME_WIDTH: 6, cv2.CAP_PROP_FRAME_HEIGHT: 4}
        plug(camera)
        if is_refused:
            with pytest.raises(ImageRefusedError, match="24 pixels is more than 23 pixels"):
                open_feed(max_pixels=max_pixels)
            assert camera.is_released
        else:
            open_feed(max_pixels=max_pixels).close()


def test_who_wants_to_stop_need_not_wait_for_a_frame(plug: Callable[..., None]) -> None:
    plug(FakeCapture("f|f"))
    asked: list[float] = []

    def should_stop() -> bool:
        asked.append(time.monotonic())
        return len(asked) > 3

    feed = open_feed(should_stop=should_stop)

    assert len(list(feed.read())) == 1
    assert asked[-1] - asked[0] < 1
    FakeCapture.more.set()
    feed.close()


def test_a_stream_over_http(stream: Stream) -> None:
    feed = open_feed(stream("ff--", for_ever=True), every_s=0.1, end_s=0.55)

    frames = list(feed.read())
    feed.close()

    assert 4 <= len(frames) <= 6
    assert frames[0].bgr.shape == (240, 400, 3)
    assert frames[0].time_s == 0
    # Twenty-five a second are sent, by the clock and not by what the demuxer assumes.
    assert frames[-1].index == pytest.approx(frames[-1].time_s * 25, abs=5)


def test_a_silent_stream_is_lost(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fercli.images.live._SILENCE_LIMIT_S", 0.5)
    monkeypatch.setattr("fercli.images.live.PAUSES_S", ())
    feed = open_feed(stream("ff" + "." * 100))
    began = time.monotonic()

    with pytest.raises(ImageDecodeError, match="it was lost after"):
        list(feed.read())
    feed.close()

    assert 0.4 < time.monotonic() - began < 3


def test_an_address_that_refuses(serve: Callable[[dict[str, bytes]], str]) -> None:
    with pytest.raises(InputNotFoundError, match=r"http://127\.0\.0\.1:1/x cannot be opened: "):
        open_feed("http://me:secret@127.0.0.1:1/x")
    with pytest.raises(InputNotFoundError, match="answers, but sends no video"):
        open_feed(serve({}) + "/missing")


def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch, plug: Callable[..., None]) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", give_up)
    plug(FakeCapture("", is_open=False))

    with pytest.raises(InputNotFoundError, match=r"rtsp://cam/x cannot .*: it does not answer"):
        open_feed("rtsp://me:secret@cam/x")


@pytest.mark.parametrize("name", ["a b.jpg", "a.png"])
def test_a_picture_is_refused_with_what_does_it(
    serve: Callable[[dict[str, bytes]], str], photo: Path, tmp_path: Path, name: str
) -> None:
    from PIL import Image

    name = name.replace(" ", "%20")
    Image.open(photo).save(tmp_path / name)
    url = f"{serve({f'/{name}': (tmp_path / name).read_bytes()})}/{name}"

    with pytest.raises(DataError) as caught:
        open_feed(url)

    assert "is a picture, not a stream or a video" in caught.value.message
    assert (
        caught.value.hint
        == f"curl -o {shlex.quote(f'./{name}')} {url} && fer predict {shlex.quote(f'./{name}')}"
    )


def test_one_frame_and_an_end_is_no_reason_to_ask_again(stream: Stream) -> None:
    feed = open_feed(stream("f"))

    with pytest.raises(ImageDecodeError, match="it sent one frame and ended, as a picture does"):
        list(feed.read())
    feed.close()


def test_a_video_that_is_served_misses_nothing(
    serve: Callable[[dict[str, bytes]], str], make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.webm", "f" * 10)
    feed = open_feed(serve({"/clip.webm": clip.read_bytes()}) + "/clip.webm", start_s=0.2)

    frames = list(feed.read())
    feed.close()

    assert [frame.index for frame in frames] == list(range(2, 10))
    assert frames[0].time_s == pytest.approx(0.2)
    assert not frames[0].is_live
    assert feed.n_dropped == 0


def test_a_lost_camera_is_looked_for_half_a_minute(
    plug: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(FakeCapture("f|x"))
    monkeypatch.setattr("fercli.images.live.PAUSES_S", PAUSES_S)
    feed = open_feed()
    waited: list[float] = []
    monkeypatch.setattr(feed._reader._closing, "wait", waited.append)  # type: ignore[union-attr]  # noqa: SLF001  # so as not to wait
    FakeCapture.more.set()

    _, reason = follow(feed)

    assert waited == [1, 2, 4, 8, 15]
    assert reason.endswith("5 attempts to open it again did not help")


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("http://cam/x", ("cam", 80)), ("https://cam/x", ("cam", 443)),
        ("rtsp://cam/x", ("cam", 554)), ("rtsps://cam/x", ("cam", 322)),
        ("rtsp://cam:8554/x", ("cam", 8554)),
    ],
)  # fmt: skip
def test_who_does_not_answer_is_asked_at_its_port(
    address: str,
    place: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    plug: Callable[..., None],
) -> None:
    asked: list[Any] = []

    def give_up(place: tuple[str, int], *, timeout: float) -> None:
        asked.append((place, timeout))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("socket.create_connection", give_up)
    plug(FakeCapture("", is_open=False))

    with pytest.raises(InputNotFoundError, match="cannot be opened: Connection refused"):
        open_feed(address)

    assert asked == [(place, 5.0)]


def test_opencv_is_told_not_to_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Capture:
        def __init__(self, *words: Any) -> None:
            asked.append(words)

        def set(self, *words: Any) -> None:
            asked.append(words)

    monkeypatch.setattr("cv2.VideoCapture", Capture)
    open_capture(parse_live_source(3))
    open_capture(parse_live_source("rtsp://cam/x"))

    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5000]
    assert asked == [
        (3, cv2.CAP_ANY), (cv2.CAP_PROP_BUFFERSIZE, 1), ("rtsp://cam/x", cv2.CAP_FFMPEG, limits)
    ]  # fmt: skip


def test_a_name_of_a_file_is_not_too_long() -> None:
    source = find_live_source("http://cam/" + "x" * 500)

    assert source is not None
    assert source.name == "cam-" + "x" * 76


@pytest.mark.parametrize(
    ("address", "frames", "n_announced", "is_picture"),
    [
        ("http://cam/a.jpg", "f", 0, True),
        ("http://cam/a.jpg", "", 0, True),
        ("http://cam/a.jpg", "ff", 0, False),
        ("http://cam/a.jpg", "", 2, False),
        ("http://cam/a", "", 1, True),
        ("http://cam/a", "f", 0, False),
    ],
)
def test_what_is_named_as_a_picture_and_ends_is_one(
    address: str,
    frames: str,
    n_announced: int,
    is_picture: bool,  # noqa: FBT001  # a case
    plug: Callable[..., None],
) -> None:
    camera = FakeCapture(frames)
    camera.says = {cv2.CAP_PROP_FRAME_COUNT: n_announced, cv2.CAP_PROP_FPS: 10}
    plug(camera)

    if is_picture:
        with pytest.raises(DataError, match="is a picture, not a stream or a video"):
            open_feed(address)
    else:
        open_feed(address).close()
    assert camera.is_released
