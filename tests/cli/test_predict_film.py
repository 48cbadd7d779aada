from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from typer.testing import Result

    from fercli.runs import RunFolder

Run = Callable[..., "Result"]
av: Any = pytest.importorskip("av")


@pytest.fixture
def model(trained: RunFolder) -> str:
    return str(trained.onnx)


def write_clip(
    path: Path,
    photo: Path,
    *,
    times_s: tuple[float, ...],
    sound: str = "aac",
    is_turned: bool = False,
) -> Path:
    """Write a video of 320 x 240 of an astronaut whose frames have these times, and a tone.

    A phone that is held upright films lying, and notes that it is to be turned.
    """
    picture = np.zeros((240, 320, 3), dtype=np.uint8)
    picture[:, 60:300] = np.asarray(Image.open(photo).convert("RGB").resize((240, 240)))
    filmed = np.ascontiguousarray(np.rot90(picture) if is_turned else picture)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.height, video.width = filmed.shape[:2]
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 90_000)
        audio = container.add_stream(sound, rate=48_000)
        audio.layout = "mono"
        for time_s in times_s:
            frame = av.VideoFrame.from_ndarray(filmed, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(time_s * 90_000), Fraction(1, 90_000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        is_real = sound == "aac"
        for at in range(0, round(times_s[-1] * 48_000), 960):
            tone = np.sin(np.arange(at, at + 960) / 48_000 * 440 * 2 * np.pi) * 0.3
            samples = tone.astype(np.float32) if is_real else (tone * 32767).astype(np.int16)
            piece = av.AudioFrame.from_ndarray(
                samples[None], format="fltp" if is_real else "s16", layout="mono"
            )
            piece.rate, piece.pts, piece.time_base = 48_000, at, Fraction(1, 48_000)
            container.mux(audio.encode(piece))
        container.mux(audio.encode(None))
    if is_turned:
        content = bytearray(path.read_bytes())
        # The matrix of the track header, of version 0: a quarter turn.
        at = content.index(b"tkhd") + 44
        content[at : at + 20] = struct.pack(">5i", 0, 1 << 16, 0, -1 << 16, 0)
        path.write_bytes(content)
    return path


def read_packets(path: Path, kind: str) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        [stream] = getattr(container.streams, kind)
        packets = [one for one in container.demux(stream) if one.pts is not None]
        return sorted((float(one.pts * stream.time_base), bytes(one)) for one in packets)


def test_a_film_has_the_sound_of_its_source(
    run: Run, photo: Path, model: str, tmp_path: Path
) -> None:
    times_s = (0.0, 0.1, 0.25, 0.5, 0.8, 1.0)
    clip = write_clip(tmp_path / "clip.mp4", photo, times_s=times_s)

    result = run("predict", clip, "--model", model, "--every", "0", "--annotate", "film.mp4")

    assert result.exit_code == 0, result.output
    assert "6 frames, with its sound, written to film.mp4" in result.stderr
    film = tmp_path / "film.mp4"
    with av.open(str(film)) as container:
        [video] = container.streams.video
        assert video.codec_context.name == "h264"
        assert video.codec_context.pix_fmt == "yuv420p"
        assert (video.width % 2, video.height % 2) == (0, 0)
        shown = [float(frame.pts * frame.time_base) for frame in container.decode(video)]
    assert shown == pytest.approx(times_s, abs=1e-3)
    # The very packets, at the times that they had.
    before, after = read_packets(clip, "audio"), read_packets(film, "audio")
    kept = [packet for packet in before if 0 <= packet[0] < 1.0]
    assert [content for _, content in after] == [content for _, content in kept]
    assert [at for at, _ in after] == pytest.approx([at for at, _ in kept], abs=1e-3)
    # It can be played before it is all there.
    content = film.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_a_clip_of_a_phone(run: Run, photo: Path, model: str, tmp_path: Path) -> None:
    times_s = (0.0, 0.033, 0.081, 0.1, 0.3, 0.7)
    flat = write_clip(tmp_path / "flat.mp4", photo, times_s=times_s)
    turned = write_clip(tmp_path / "turned.mp4", photo, times_s=times_s, is_turned=True)
    words = ("--model", model, "--every", "0", "--format", "jsonl")

    before = run("predict", flat, *words)
    result = run("predict", turned, *words, "--annotate", "film.mp4")

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0, result.output
    assert [row["time_s"] for row in rows] == pytest.approx(times_s, abs=1e-3)
    assert {(row["image_width"], row["image_height"]) for row in rows} == {(320, 240)}
    expected = [json.loads(line)["box"] for line in before.stdout.splitlines()]
    # Encoded lying or upright, pixels differ a little.
    assert np.array([row["box"] for row in rows]) == pytest.approx(np.array(expected), abs=8)
    with av.open(str(tmp_path / "film.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [float(one.pts * one.time_base) for one in frames] == pytest.approx(times_s, abs=1e-3)
    assert {(one.width, one.height, one.rotation) for one in frames} == {(320, 240, 0)}


def test_a_part_of_a_film_begins_with_the_sound_of_that_time(
    run: Run, photo: Path, model: str, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", photo, times_s=tuple(n / 10 for n in range(21)))
    words = ("--every", "0.4s", "--start", "0.5", "--end", "1.5", "--annotate", "film.mp4")

    result = run("predict", clip, "--model", model, *words)

    assert result.exit_code == 0, result.output
    with av.open(str(tmp_path / "film.mp4")) as container:
        frames = container.decode(container.streams.video[0])
        shown = [float(frame.pts * frame.time_base) for frame in frames]
    assert shown == pytest.approx([0, 0.4, 0.8], abs=1e-3)
    before = {content: at for at, content in read_packets(clip, "audio")}
    after = read_packets(tmp_path / "film.mp4", "audio")
    assert len(after) > 40
    assert all(before[content] - at == pytest.approx(0.5, abs=0.025) for at, content in after)


def test_sound_that_mp4_cannot_hold_is_encoded(
    run: Run, photo: Path, model: str, tmp_path: Path
) -> None:
    times_s = (0.0, 0.5, 1.0)
    clip = write_clip(tmp_path / "clip.mov", photo, times_s=times_s, sound="pcm_s16le")

    result = run("predict", clip, "--model", model, "--every", "0", "--annotate", "film.mp4")

    assert "3 frames, with its sound as AAC, written to film.mp4" in result.stderr
    with av.open(str(tmp_path / "film.mp4")) as container:
        [audio] = container.streams.audio
        samples = np.concatenate([one.to_ndarray()[0] for one in container.decode(audio)])
    assert audio.codec_context.name == "aac"
    assert 0.9 < len(samples) / 48_000 < 1.1
    assert np.abs(samples).max() > 0.2


def test_a_silent_film(
    run: Run, make_clip: Callable[..., Path], model: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.webm", "f-")
    (tmp_path / "film.mp4").write_bytes(b"mine")
    words = ("predict", clip, "--model", model, "--every", "0", "--annotate", "film.mp4")

    refused = run(*words)
    result = run(*words, "--force")

    assert refused.exit_code == 2
    assert "2 frames, without sound, written to film.mp4" in result.stderr
    with av.open(str(tmp_path / "film.mp4")) as container:
        first, second = (one.to_ndarray(format="rgb24") for one in container.decode(video=0))
    # A frame is drawn in a label's color; the second one is black.
    assert int(np.ptp(first.astype(int), axis=2).max()) > 60
    assert second.max() < 30


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("clip.webm", "clip.webm"), "takes one video: give only that, or name a folder"),
        (("astronaut.png",), "takes one video: give only that, or name a folder"),
        (
            ("clip.webm", "--output", "rows.csv", "--resume"),
            "--annotate FILE needs the whole video: leave it out with --resume",
        ),
    ],
)
def test_films_that_cannot_be_are_refused(
    run: Run, make_clip: Callable[..., Path], model: str, words: tuple[str, ...], sentence: str
) -> None:
    make_clip(Path("clip.webm"), "f")
    Image.new("L", (60, 60)).save("astronaut.png")

    result = run("predict", *words, "--model", model, "--annotate", "film.mp4")

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not Path("film.mp4").exists()


def test_a_webm_needs_no_extra_and_is_never_the_input(
    run: Run,
    make_clip: Callable[..., Path],
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import cv2

    clip = make_clip(tmp_path / "clip.webm", "fff")
    before = clip.read_bytes()
    monkeypatch.setitem(sys.modules, "av", None)

    result = run("predict", clip, "--model", model, "--every", "0", "--annotate", "out.webm")
    again = run("predict", clip, "--model", model, "--annotate", clip, "--force")

    assert result.exit_code == 0, result.output
    assert "3 frames, no sound, written to out.webm" in result.stderr
    capture = cv2.VideoCapture("out.webm", cv2.CAP_FFMPEG)
    assert [capture.read()[0] for _ in range(4)] == [True, True, True, False]
    assert again.exit_code == 2
    assert clip.read_bytes() == before


def test_without_the_extra_the_line_that_installs_it(
    run: Run,
    make_clip: Callable[..., Path],
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = make_clip(tmp_path / "clip.webm", "f")
    monkeypatch.setitem(sys.modules, "av", None)

    result = run("predict", clip, "--model", model, "--annotate", "film.mp4")

    assert result.exit_code == 5
    assert "hint: pip install 'fercli[video]'" in result.stderr
    assert not (tmp_path / "film.mp4").exists()
