from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import VideoFrame, is_video, sample_frames
from fercli.images.video import sample_capture
from fercli.prediction.annotate import choose_rate

MakeClip = Callable[..., Path]
ALL: dict[str, Any] = {"every_s": 0, "start_s": 0, "end_s": None, "max_pixels": 10**6}


def tell_times(path: Path, **wanted: Any) -> list[tuple[int, float]]:
    frames = sample_frames(path, **{**ALL, **wanted})
    return [(frame.index, round(frame.time_s, 3)) for frame in frames]


def read_size(content: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return an EBML number of variable length, and where it ends."""
    length = 9 - content[at].bit_length()
    value = int.from_bytes(content[at : at + length], "big") & ((1 << 7 * length) - 1)
    return value, at + length


def find_blocks(content: bytes | bytearray, at: int, end: int) -> Iterator[int]:
    """Yield where the times of a WebM's frames stand."""
    while at < end:
        length = 9 - content[at].bit_length()
        kind, at = content[at : at + length].hex(), at + length
        size, at = read_size(content, at)
        if kind in {"18538067", "1f43b675"}:
            yield from find_blocks(content, at, min(at + size, end))
        elif kind == "a3":
            yield at + 1
        at += size


@pytest.fixture
def clip(make_clip: MakeClip, tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.webm", "f" * 10)


def test_every_frame_comes_with_its_time(clip: Path) -> None:
    assert tell_times(clip) == [(index, index / 10) for index in range(10)]


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        ({"every_s": 0.2}, [0, 2, 4, 6, 8]),
        ({"every_s": 0.25}, [0, 3, 5, 8]),
        ({"every_s": 0.05}, list(range(10))),
        ({"every_s": 0.3, "start_s": 0.2}, [2, 5, 8]),
        ({"start_s": 0.35, "end_s": 0.61}, [4, 5, 6]),
        ({"start_s": 0.7, "end_s": 0.8}, [7, 8]),
        ({"start_s": 5.0}, []),
        ({"after": 4}, [5, 6, 7, 8, 9]),
        ({"every_s": 0.2, "after": 4}, [6, 8]),
        ({"every_s": 0.25, "after": 3}, [5, 8]),
    ],
)
def test_sampled_frames_are_the_first_at_or_after_their_time(
    clip: Path, wanted: dict[str, float], indices: list[int]
) -> None:
    assert [index for index, _ in tell_times(clip, **wanted)] == indices


def test_times_are_the_containers_where_the_rate_varies(clip: Path) -> None:
    content = bytearray(clip.read_bytes())
    times_ms = [0, 40, 80, 500, 540, 1500, 1540, 1600, 2900, 3000]
    for at, time in zip(find_blocks(content, 0, len(content)), times_ms, strict=True):
        content[at : at + 2] = struct.pack(">h", time)
    clip.write_bytes(content)

    assert [time for _, time in tell_times(clip)] == [time / 1000 for time in times_ms]
    assert tell_times(clip, every_s=0.5) == [(0, 0.0), (3, 0.5), (5, 1.5), (8, 2.9), (9, 3.0)]


def test_a_turned_video_is_upright(make_clip: MakeClip, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", "f", "mp4v")
    content = bytearray(path.read_bytes())
    # The matrix of the track header, of version 0: a quarter turn.
    at = content.index(b"tkhd") + 44
    content[at : at + 20] = struct.pack(">5i", 0, 1 << 16, 0, -1 << 16, 0)
    path.write_bytes(content)

    [frame] = sample_frames(path, **ALL)

    assert frame.bgr.shape == (400, 240, 3)


def test_colors_become_gray_as_those_of_images_do() -> None:
    bgr = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    frame = VideoFrame(index=0, time_s=0, duration_s=None, rate=None, bgr=bgr)

    image = frame.convert(color=True)

    assert image.rgb is not None
    assert (image.rgb == bgr[:, :, ::-1]).all()
    assert (image.gray == np.asarray(Image.fromarray(image.rgb).convert("L"))).all()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.webm"])
def test_videos_are_told_by_content(make_clip: MakeClip, tmp_path: Path, name: str) -> None:
    codec = {".mp4": "mp4v", ".avi": "MJPG"}.get(Path(name).suffix, "VP80")
    path = make_clip(tmp_path / name, "ff", codec)
    unnamed = path.rename(tmp_path / "unnamed")

    assert is_video(unnamed)
    assert len(tell_times(unnamed)) == 2


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"\0\0\0\x18ftypmp42", True),
        (b"\0\0\0\x18ftypqt  ", True),
        (b"\0\0\0\x18ftypheic", False),
        (b"\0\0\0\x18ftypavif", False),
        (b"\0\0\0\x08wide\0\0\0\0mdat", True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", False),
        (b"\x1aE\xdf\xa3", True),
        ((b"G" + bytes(187)) * 3, True),
        ((bytes(4) + b"G" + bytes(187)) * 3, True),
        (b"G" + bytes(187) + b"G" + bytes(187), False),
        (b"#EXTM3U\nhttp://example.com/a.ts\n", False),
        (b"\xff\xd8\xff\xe0", False),
        (b"", False),
    ],
)
def test_heads_of_files(tmp_path: Path, head: bytes, *, answer: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(head)

    assert is_video(path) is answer


def test_what_is_no_file_or_is_named_as_an_image_is_no_video(clip: Path, tmp_path: Path) -> None:
    assert not is_video(tmp_path)
    assert not is_video(tmp_path / "missing.mp4")
    assert not is_video(clip.rename(tmp_path / "photo.JPG"))


def test_a_file_that_breaks_off_says_where(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.avi", "fr" * 5, "MJPG")
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) * 6 // 10])
    frames = sample_frames(clip, **ALL)

    assert [next(frames).index for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ImageDecodeError, match=r"it breaks off after 0\.\d of 1\.0 s"):
        list(frames)


def test_what_holds_no_video_is_said(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))

    with pytest.raises(ImageDecodeError, match="it holds no video that OpenCV can decode"):
        next(sample_frames(path, **ALL))


def test_frames_that_are_too_large_are_refused(clip: Path) -> None:
    with pytest.raises(ImageRefusedError, match="96000 pixels is more than 95999"):
        tell_times(clip, max_pixels=400 * 240 - 1)


class Recording:
    """A video of little frames with the times given, in seconds, and what its container says."""

    def __init__(self, times_s: list[float], *, count: float, rate: float = 10.0) -> None:
        self._times_s = iter(times_s)
        self._time_s = 0.0
        self._said = {cv2.CAP_PROP_FRAME_COUNT: count, cv2.CAP_PROP_FPS: rate}

    def get(self, key: int) -> float:
        return 1000 * self._time_s if key == cv2.CAP_PROP_POS_MSEC else self._said.get(key, 0.0)

    def grab(self) -> bool:
        self._time_s = next(self._times_s, -1.0)
        return self._time_s >= 0

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.zeros((2, 3, 3), dtype=np.uint8)


def read_recording(times_s: list[float], **said: float) -> list[VideoFrame]:
    return list(sample_capture(Recording(times_s, **said), **ALL))


def count_up(n_frames: int) -> list[float]:
    return [index / 10 for index in range(n_frames)]


def test_a_tenth_of_a_video_may_be_missing() -> None:
    assert len(read_recording(count_up(18), count=20)) == 18
    # Either will do: containers miscount frames, and their times may have gaps.
    assert len(read_recording([*count_up(5), 1.8], count=20)) == 6
    with pytest.raises(ImageDecodeError, match=r"it breaks off after 1\.6 of 2\.0 s"):
        read_recording(count_up(17), count=20)
    with pytest.raises(ImageDecodeError, match="none of its frames can be decoded"):
        read_recording([], count=20)


@pytest.mark.parametrize(
    ("count", "rate"), [(0, 10.0), (-1, 10.0), (20, 0.0), (float("inf"), 10.0), (20, float("nan"))]
)
def test_a_container_that_says_nothing_of_its_length_is_read_to_its_end(
    count: float, rate: float
) -> None:
    (frame,) = read_recording([0.0], count=count, rate=rate)

    assert (frame.duration_s, frame.rate) == (None, None)
    with pytest.raises(ImageDecodeError, match="it holds no frame"):
        read_recording([], count=count, rate=rate)


def test_length_and_rate_are_the_containers() -> None:
    frame, *_ = read_recording(count_up(1), count=1, rate=0.5)

    assert (frame.duration_s, frame.rate) == (2.0, 0.5)


def test_times_never_count_back() -> None:
    frames = read_recording([0.0, 0.2, 0.1, 0.3], count=4)

    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.2, 0.2, 0.3])


@pytest.mark.parametrize(
    ("rate", "every_s", "step_s", "film_rate"),
    [
        (25.0, 0.2, 0.2, 5.0),
        (25.0, 0.0, 0.04, 25.0),
        (0.5, 0.2, 2.0, 0.5),
        (None, 0.0, 0.0, 25.0),
        (None, 0.2, 0.2, 5.0),
        (25.0, 2000.0, 2000.0, 0.01),
    ],
)
def test_frames_are_as_far_apart_as_the_video_has_them(
    rate: float | None, every_s: float, step_s: float, film_rate: float
) -> None:
    bgr = np.zeros((4, 4, 3), dtype=np.uint8)
    frame = VideoFrame(index=0, time_s=0, duration_s=None, rate=rate, bgr=bgr)

    assert frame.choose_step_s(every_s) == pytest.approx(step_s)
    assert choose_rate(frame, every_s) == pytest.approx(film_rate)
