from __future__ import annotations

import csv
import json
import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import fercli

if TYPE_CHECKING:
    from typer.testing import Result

    from fercli.runs import RunFolder

Run = Callable[..., "Result"]
RunJson = Callable[..., dict[str, Any]]
Start = Callable[..., subprocess.Popen[str]]
Stream = Callable[..., str]


@pytest.fixture
def model(trained: RunFolder) -> str:
    return str(trained.onnx)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open a lost source again at once."""
    monkeypatch.setattr("fercli.images.live.PAUSES_S", (0.01, 0.01))


def add_secret(url: str) -> str:
    return url.replace("http://", "http://me:secret@") + "?pwd=secret"


def test_rows_of_a_stream_until_its_end(run: Run, stream: Stream, model: str) -> None:
    url = stream("f-", for_ever=True, rate=10)

    result = run("predict", url, "--model", model, "--every", 0, "--end", "1s", "--format", "jsonl")

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0, result.output
    assert {row["path"] for row in rows} == {url}
    assert {row["status"] for row in rows} == {"ok", "no_face"}
    assert rows[0]["time_s"] == 0
    assert all(row["time_s"] <= 1 for row in rows)
    assert [row["frame"] for row in rows] == sorted({row["frame"] for row in rows})
    assert {row["track"] for row in rows} == {0, None}
    assert f"{url} ({len(rows)} frames, " in result.stderr
    assert " dropped): " in result.stderr


def test_no_password_is_ever_shown(
    run: Run, stream: Stream, model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = add_secret(stream("ff"))

    with caplog.at_level(logging.DEBUG):
        words = ("predict", url, "--model", model, "--every", 0, "--annotate", "framed")
        result = run(*words, "--output", "rows.csv", "--json", "-v")
        refused = run("predict", add_secret("http://127.0.0.1:1/x"), "--model", model, "--json")

    assert (result.exit_code, refused.exit_code) == (7, 3)
    rows = (tmp_path / "rows.csv").read_text()
    [framed] = (tmp_path / "framed").iterdir()
    assert framed.name == "127.0.0.1-stream.mjpg.webm"
    shown = result.output + refused.output + rows + caplog.text
    assert "secret" not in shown
    assert "pwd=***" in shown


def test_a_stream_that_is_lost_ends_with_the_reason(
    run: Run, stream: Stream, model: str, tmp_path: Path
) -> None:
    url = stream("fff")

    result = run("predict", url, "--model", model, "--every", 0, "--output", "rows.csv")

    *rows, last = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    assert result.exit_code == 7
    assert rows[-1]["frame"] == "8"
    assert (last["path"], last["status"], last["frame"]) == (url, "unreadable", "")
    assert "and 2 attempts to open it again did not help" in last["reason"]
    how = r": lost after \d\.\d s; attempt 1 of 2 to open it again in 0\.01 s"
    assert re.search(re.escape(url) + how, result.stderr)
    assert f"{url} could not be read to its end; the last row has the reason" in result.stderr


def test_rows_are_there_at_once(start: Start, stream: Stream, model: str, tmp_path: Path) -> None:
    url = stream("f", for_ever=True, rate=10)
    partial = tmp_path / "rows.jsonl.partial"

    process = start("predict", url, "--model", model, "--output", "rows.jsonl")
    lines = wait_for_lines(partial, 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)

    assert json.loads(lines[-1])["status"] == "ok"


def wait_for_lines(path: Path, count: int) -> list[str]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.02)
    pytest.fail(f"{path} has no {count} lines")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_files_and_a_summary(
    start: Start, stream: Stream, model: str, tmp_path: Path, number: signal.Signals
) -> None:
    import cv2

    url = stream("f", for_ever=True, rate=10)
    target = tmp_path / "rows.jsonl"

    process = start(
        "predict", url, "--model", model, "--output", target, "--annotate", "framed",
        "--timeline", "t.png", "--smooth", "1s", "--json",
    )  # fmt: skip
    wait_for_lines(tmp_path / "rows.jsonl.partial", 4)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)

    envelope = json.loads(stdout)
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert process.returncode == 128 + number == envelope["exit_code"], stderr
    assert envelope["status"] == "partial"
    assert [error["code"] for error in envelope["errors"]] == ["interrupted"]
    assert envelope["data"]["n_frames"] == envelope["data"]["n_faces"] == len(rows) >= 4
    assert rows[-1]["smooth_label"]
    assert not (tmp_path / "rows.jsonl.partial").exists()
    assert f"stopped by {'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'}" in stderr
    assert "1 video written to framed\n1 track written to t.png" in stderr
    capture = cv2.VideoCapture(str(next((tmp_path / "framed").iterdir())), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) >= len(rows)
    with Image.open(tmp_path / "t.png") as chart:
        assert chart.width > 1000


def test_an_annotated_stream_keeps_its_time(
    run: Run, stream: Stream, model: str, tmp_path: Path
) -> None:
    import cv2

    url = stream("f", for_ever=True, rate=4)

    run("predict", url, "--model", model, "--every", "0.1", "--end", "1.4", "--annotate", "framed")

    capture = cv2.VideoCapture(str(next((tmp_path / "framed").iterdir())), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    # Five or six frames were seen, and each is shown until the next.
    n_frames = 0
    while capture.grab():
        n_frames += 1
    assert 12 <= n_frames <= 15


def test_a_stop_before_the_first_frame(
    run_json: RunJson, stream: Stream, model: str, tmp_path: Path
) -> None:
    url = stream(20 * "." + "f", for_ever=True, rate=10)
    # FFmpeg opens a stream with its first frame.
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    envelope = run_json("predict", url, "--model", model, "--output", "rows.csv", status=130)

    assert envelope["data"]["n_faces"] == 0
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1


def is_gone(name: str) -> bool:
    """Return whether no thread of that name is left."""
    return all(one.name != name for one in threading.enumerate())


def test_a_camera(run_json: RunJson, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Camera:
        def isOpened(self) -> bool:  # noqa: N802  # OpenCV's
            return True

        def get(self, _key: int) -> float:
            return 0.0

        def grab(self) -> bool:
            time.sleep(0.02)
            return True

        def retrieve(self) -> Any:
            return True, np.zeros((120, 160, 3), dtype=np.uint8)

        def release(self) -> None:
            released.append(self)

    released: list[Camera] = []
    monkeypatch.setattr("fercli.images.live.open_capture", lambda _source: Camera())

    words = ("--model", model, "--every", "0.1", "--end", "0.35", "--faces", "whole")
    data = run_json("predict", "0", *words)["data"]

    assert data["n_inputs"] == 1
    assert data["n_frames"] == len(data["rows"]) == 4
    assert [row["path"] for row in data["rows"]] == ["0"] * 4
    assert [row["frame"] for row in data["rows"]] == sorted(row["frame"] for row in data["rows"])
    assert data["n_dropped"] == 0
    assert len(released) == 1


def test_a_source_that_is_slower_than_the_model_misses_nothing(
    run: Run, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fercli.inference.runtime import predict_checked

    is_done = threading.Semaphore()
    given: list[int] = []

    class Camera:
        """Gives a frame when the one before was looked at, five of them before the end."""

        def isOpened(self) -> bool:  # noqa: N802  # OpenCV's
            return True

        def get(self, _key: int) -> float:
            return 0.0

        def grab(self) -> bool:
            is_done.acquire(timeout=20)
            if len(given) == 5:
                time.sleep(1)
            given.append(len(given))
            return True

        def retrieve(self) -> Any:
            return True, np.zeros((120, 160, 3), dtype=np.uint8)

        def release(self) -> None:
            pass

    def call(*arguments: Any) -> Any:
        answers = predict_checked(*arguments)
        is_done.release()
        return answers

    monkeypatch.setattr("fercli.images.live.open_capture", lambda _source: Camera())
    monkeypatch.setattr("fercli.prediction.answers.predict_checked", call)

    words = ("--model", model, "--every", 0, "--end", "1s", "--faces", "whole")
    result = run("predict", "0", *words, "--format", "jsonl")

    frames = [json.loads(line)["frame"] for line in result.stdout.splitlines()]
    assert result.exit_code == 0, result.output
    # The last one that was given came after the end.
    assert frames == given[:-1]
    assert frames
    assert f"({len(frames)} frame{'s' * (len(frames) != 1)}, 0 dropped)" in result.stderr


def test_what_there_was_no_time_for_is_counted(
    run_json: RunJson, stream: Stream, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.prediction.answers.predict_checked", slow_down())
    url = stream("f", for_ever=True, rate=50)

    data = run_json("predict", url, "--model", model, "--every", 0, "--end", 1)["data"]

    n_seen = data["rows"][-1]["frame"] + 1
    assert data["n_frames"] < 6
    assert data["n_dropped"] == n_seen - data["n_frames"] > 10


def slow_down() -> Callable[..., Any]:
    from fercli.inference.runtime import predict_checked

    def call(*arguments: Any) -> Any:
        time.sleep(0.25)
        return predict_checked(*arguments)

    return call


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("0",), 3, "camera 0 cannot be opened, and no file is named '0'"),
        (("http://127.0.0.1:1/x",), 3, "http://127.0.0.1:1/x cannot be opened: "),
        (("rtsp://127.0.0.1:1/x",), 3, "rtsp://127.0.0.1:1/x cannot be opened: "),
        (("ftp://bucket/x",), 2, "ftp:// cannot be read"),
        (("0", "1"), 2, "camera 0 is live: give it alone, without other paths"),
        (
            ("0", "--resume", "--output", "r.csv", "--sort-into", "sorted"),
            2,
            "--resume works with files only: a live source cannot be replayed\nerror: --sort-into ",
        ),
    ],
)
def test_sources_that_cannot_be_read(
    run: Run, model: str, tmp_path: Path, words: tuple[str, ...], status: int, sentence: str
) -> None:
    result = run("predict", *words, "--model", model)

    assert result.exit_code == status
    assert f"error: {sentence}" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_opened_leaves_no_file(run: Run, model: str, tmp_path: Path) -> None:
    result = run("predict", "http://127.0.0.1:1/x", "--model", model, "--output", "rows.csv")

    assert result.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_a_served_video_is_read_like_a_file(
    run_json: RunJson,
    serve: Callable[[dict[str, bytes]], str],
    make_clip: Callable[..., Path],
    model: str,
    tmp_path: Path,
) -> None:
    clip = make_clip(tmp_path / "clip.avi", "fr" * 5, "MJPG").read_bytes()
    address = serve({"/clip.avi": clip, "/half.avi": clip[: len(clip) * 6 // 10]})
    words = ("--model", model, "--every", "0")

    whole = run_json("predict", f"{address}/clip.avi", *words)["data"]
    half = run_json("predict", f"{address}/half.avi", *words, status=7)["data"]
    late = run_json("predict", f"{address}/clip.avi", *words, "--start", 9, status=7)["data"]

    assert (whole["n_frames"], whole["n_dropped"], whole["n_skipped"]) == (10, 0, 0)
    assert [row["time_s"] for row in whole["rows"]] == pytest.approx([at / 10 for at in range(10)])
    assert "it breaks off after" in half["rows"][-1]["reason"]
    assert late["rows"][0]["reason"] == "it has no frame between --start and --end"


def test_python_watches(stream: Stream, model: str) -> None:
    url = add_secret(stream("f", for_ever=True, rate=20))

    with fercli.load(model).watch(url, every_s=0.1, smooth_s=0.5) as frames:
        first = next(frames)
        second = next(frames)

    assert first.image.shape == (240, 400, 3)
    [face] = first.faces
    assert face.label in (face.probabilities or {})
    assert face.label == face.smooth_label
    assert face.track == second.faces[0].track == 0
    assert "secret" not in face.path
    assert first.time_s == 0 < second.time_s
    assert second.index > first.index
    assert list(frames) == []
    assert is_gone("fer-live")


def test_python_hears_of_a_lost_source(stream: Stream, model: str) -> None:
    frames = fercli.load(model).watch(stream("ff"), every_s=0)

    with pytest.raises(fercli.ImageDecodeError, match=r"stream\.mjpg: it was lost after"):
        list(frames)

    frames.close()
    assert frames.n_dropped >= 0


def test_a_stream_that_nobody_holds_is_closed(stream: Stream, model: str) -> None:
    loaded = fercli.load(model)
    for _ in loaded.watch(stream("f", for_ever=True)):
        break

    assert is_gone("fer-live")


def test_python_refuses_what_is_no_source(model: str) -> None:
    with pytest.raises(fercli.ConfigError, match="a live source is a camera's number"):
        fercli.load(model).watch("clip.mp4")
