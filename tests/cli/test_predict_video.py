from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
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


@pytest.fixture
def clip(make_clip: Callable[..., Path], tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.webm", "fff-bb")


@pytest.fixture
def model(trained: RunFolder) -> str:
    return str(trained.onnx)


def read_lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_sampled_frame_has_its_rows(run: Run, clip: Path, model: str) -> None:
    result = run(
        "predict", clip, "--model", model, "--every", "0", "--format", "jsonl", "--smooth", "1s"
    )

    rows = read_lines(result)
    assert result.exit_code == 0, result.output
    assert [(row["frame"], row["status"]) for row in rows] == [
        (0, "ok"), (1, "ok"), (2, "ok"), (3, "no_face"), (4, "ok"), (4, "ok"), (5, "ok"), (5, "ok"),
    ]  # fmt: skip
    assert [row["time_s"] for row in rows[:4]] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [row["track"] for row in rows[:4]] == [0, 0, 0, None]
    assert {row["track"] for row in rows[4:6]} == {0, 1} == {row["track"] for row in rows[6:]}
    assert rows[0]["smooth_probabilities"] == rows[0]["probabilities"]
    assert rows[3]["smooth_probabilities"] is None
    assert (rows[0]["image_width"], rows[0]["image_height"]) == (400, 240)
    assert "1 file (6 frames): 7 faces, 1 without a face" in result.stderr


def test_a_part_of_a_video(run: Run, clip: Path, model: str) -> None:
    words = ("predict", clip, "--model", model, "--every", "200ms", "--format", "jsonl")

    rows = read_lines(run(*words, "--start", "0:00.1", "--end", "0.35s"))

    assert [row["frame"] for row in rows] == [1, 3]
    assert "smooth_label" not in rows[0]


def test_a_part_without_frames_says_so(run: Run, clip: Path, model: str) -> None:
    result = run("predict", clip, "--model", model, "--start", "1:00", "--format", "jsonl")

    [row] = read_lines(result)
    assert result.exit_code == 7
    assert (row["status"], row["reason"]) == ("unreadable", "it has no frame from 60 s")


def test_a_broken_video_gives_its_rows_and_the_reason(
    run: Run, make_clip: Callable[..., Path], model: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "broken.avi", "fr" * 3, "MJPG")
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])

    result = run("predict", clip, "--model", model, "--every", "0", "--format", "jsonl")

    *rows, last = read_lines(result)
    assert result.exit_code == 7
    assert rows[0]["status"] == "ok"
    assert last["status"] == "unreadable"
    assert last["time_s"] is None
    assert "it breaks off after" in last["reason"]
    assert "1 of 1 file could not be read" in result.stderr


def test_photos_and_videos_of_one_folder_keep_their_order(
    run: Run, clip: Path, model: str, face_files: Path, tmp_path: Path
) -> None:
    shutil.copy(clip, face_files / "face-2.mp4")

    result = run("predict", face_files, "--model", model, "--output", "rows.csv", "--smooth", "1")

    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert result.exit_code == 0, result.output
    names = [Path(row["path"]).name for row in rows]
    assert names == sorted(names)
    assert names.count("face-2.mp4") == 4
    photo, frame = rows[0], next(row for row in rows if row["path"].endswith("mp4"))
    assert (photo["frame"], photo["time_s"], photo["s_happy"]) == ("", "", "")
    assert (frame["frame"], frame["time_s"], frame["track"]) == ("0", "0.0", "0")
    assert frame["s_happy"] == frame["p_happy"]


def test_resumed_rows_are_those_of_one_go(
    run: Run, clip: Path, model: str, face_files: Path, tmp_path: Path
) -> None:
    shutil.copy(clip, face_files / "face-9.mkv")
    words = ("predict", face_files, "--model", model, "--output", "rows.jsonl")
    run(*words)
    whole = (tmp_path / "rows.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    (tmp_path / "rows.jsonl").rename(tmp_path / "rows.jsonl.partial")
    (tmp_path / "rows.jsonl.partial").write_text("".join(lines[:-2]))

    result = run(*words, "--resume")

    assert result.exit_code == 0, result.output
    assert (tmp_path / "rows.jsonl").read_text() == whole


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_video_is_gone_on_with_within(run: Run, clip: Path, model: str, kind: str) -> None:
    target, partial = Path(f"rows.{kind}"), Path(f"rows.{kind}.partial")
    words = ("predict", clip, "--model", model, "--every", "0", "--smooth", "0.5")
    run(*words, "--output", target)
    whole = target.read_bytes()
    lines = whole.splitlines(keepends=True)
    header = kind == "csv"
    frames = [0, 1, 2, 3, 4, 4, 5, 5]
    target.unlink()
    looked_at = []

    for n_rows in range(1, len(frames) + 1):
        # As a kill leaves it: the last line may be torn.
        torn = lines[n_rows + header][:-9] if n_rows < len(frames) else b""
        partial.write_bytes(b"".join(lines[: n_rows + header]) + torn)
        result = run(*words, "--output", target, "--resume")
        assert result.exit_code == 0, result.output
        assert target.read_bytes() == whole
        target.unlink()
        found = re.search(r"\((\d) frames?\)", result.stderr)
        assert found
        looked_at.append(int(found[1]))

    # The last frame of which there are rows may have had more faces.
    assert looked_at == [6 - frame for frame in frames]


def test_a_video_to_be_annotated_is_begun_anew(
    run: Run, clip: Path, model: str, tmp_path: Path
) -> None:
    words = ("predict", clip, "--model", model, "--every", "0", "--output", "rows.jsonl")
    run(*words)
    whole = Path("rows.jsonl").read_text()
    Path("rows.jsonl").unlink()
    Path("rows.jsonl.partial").write_text("".join(whole.splitlines(keepends=True)[:5]))

    result = run(*words, "--resume", "--annotate", "framed")

    assert "(6 frames)" in result.stderr
    assert Path("rows.jsonl").read_text() == whole
    assert (tmp_path / "framed" / "clip.webm").stat().st_size


def test_a_broken_video_is_gone_on_with(
    run: Run, make_clip: Callable[..., Path], model: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "broken.avi", "fr" * 3, "MJPG")
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    words = ("predict", clip, "--model", model, "--every", "0", "--output", "rows.jsonl")
    run(*words)
    whole = Path("rows.jsonl").read_text()
    Path("rows.jsonl").rename("rows.jsonl.partial")

    result = run(*words, "--resume")

    assert result.exit_code == 7
    assert Path("rows.jsonl").read_text() == whole


def test_rows_with_other_columns_are_not_gone_on_with(run: Run, clip: Path, model: str) -> None:
    words = ("predict", clip, "--model", model, "--output", "rows.jsonl")
    run(*words)

    result = run(*words, "--resume", "--smooth", "1")

    assert result.exit_code == 3
    assert "line 1 of rows.jsonl.partial is not a row" in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--every", "soon"), "'soon' is not a time; write seconds (0.2, 0.2s, 200ms) or 1:23.5"),
        (("--every", "-1"), "every_s must be at least 0, not -1.0"),
        (("--start", "5", "--end", "4"), "end_s must be after start_s (5), not 4"),
        (("--smooth", "nan"), "smooth_s must be at least 0, not nan"),
    ],
)
def test_odd_times_are_refused(
    run: Run, clip: Path, model: str, words: tuple[str, ...], sentence: str
) -> None:
    result = run("predict", clip, "--model", model, *words)

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_video_is_annotated_and_charted(
    run: Run, clip: Path, model: str, photo: Path, tmp_path: Path
) -> None:
    import cv2

    words = ("predict", clip, photo, "--model", model, "--every", "0.1", "--smooth", "1")
    result = run(*words, "--annotate", "framed", "--sort-into", "sorted", "--timeline", "t.png")

    assert result.exit_code == 0, result.output
    assert "1 picture and 1 video written to framed" in result.stderr
    assert "2 tracks written to t.png" in result.stderr
    assert {path.name for path in (tmp_path / "framed").iterdir()} == {"astronaut.png", "clip.webm"}
    assert [path.name for path in (tmp_path / "sorted").rglob("*.*")] == ["astronaut.png"]
    capture = cv2.VideoCapture(str(tmp_path / "framed" / "clip.webm"), cv2.CAP_FFMPEG)
    frames = [capture.read()[1] for _ in range(6)]
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert capture.read()[0] is False
    # Frames are drawn in the colors of labels, which gray pixels and black have not.
    colored = [int(np.ptp(frame.astype(int), axis=2).max()) for frame in frames]
    assert colored[0] > 60
    assert colored[3] < 20
    with Image.open(tmp_path / "t.png") as chart:
        assert chart.width > 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--timeline", "t.svg"), "--timeline t.svg does not end in .png or .html"),
        (
            ("--timeline", "t.png", "--output", "r.csv", "--resume"),
            "--timeline needs all faces in one run: leave it out with --resume",
        ),
    ],
)
def test_odd_charts_are_refused(
    run: Run, clip: Path, model: str, words: tuple[str, ...], sentence: str
) -> None:
    result = run("predict", clip, "--model", model, *words)

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_chart_is_not_written_over(run: Run, clip: Path, model: str, tmp_path: Path) -> None:
    (tmp_path / "t.png").write_bytes(b"mine")

    result = run("predict", clip, "--model", model, "--timeline", "t.png")

    assert result.exit_code == 2
    assert (tmp_path / "t.png").read_bytes() == b"mine"


def test_a_chart_as_a_page(
    run: Run, make_clip: Callable[..., Path], model: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "<script>x & y.webm", "fffbb-")
    words = ("predict", clip, "--model", model, "--every", "0", "--timeline", "t.html")

    result = run(*words)

    page = (tmp_path / "t.html").read_text()
    assert result.exit_code == 0, result.output
    assert "2 tracks written to t.html" in result.stderr
    assert "<script" not in page
    assert "&lt;script&gt;x &amp; y.webm" in page
    assert "://" not in page
    assert page.count("data:image/png;base64,") == page.count("<svg") == 2
    # Shares of one frame lie on each other, from the bottom to the top.
    first = page[page.index("<svg") : page.index("</svg>")]
    layers = [points.split() for points in re.findall(r'points="([^"]+)"', first)]
    assert len(layers) == 7
    assert layers[0][-1].endswith(",90.0")
    assert layers[-1][0].endswith(",0.0")
    for lower, upper in itertools.pairwise(layers):
        half = len(lower) // 2
        assert upper[half:] == lower[:half][::-1]


def test_python_streams_the_same_rows(clip: Path, model: str) -> None:
    table = fercli.load(model).predict_files(clip, every_s=0.1, smooth_s=0.5).to_frame()

    assert table.time_s.unique() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert list(table.columns[-10:-8]) == ["smooth_label", "smooth_confidence"]
    assert table.track.dropna().unique().tolist() == [0, 1]


def test_seconds_are_told_per_track_and_expression(
    run: Run, run_json: Callable[..., dict[str, Any]], clip: Path, model: str
) -> None:
    words = ("predict", clip, "--model", model, "--every", "0.1", "--output")

    data = run_json(*words, "rows.jsonl")["data"]
    shown = run(*words, "rows.csv")

    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    times = sorted({row["time_s"] for row in rows})
    ends = dict(itertools.pairwise(times))
    expected: dict[tuple[int, str], float] = {}
    for row in rows:
        if row["track"] is not None and row["time_s"] in ends:
            key = (row["track"], row["label"])
            expected[key] = expected.get(key, 0.0) + ends[row["time_s"]] - row["time_s"]
    found = {
        (one["track"], label): seconds
        for one in data["tracks"]
        for label, seconds in one["seconds"].items()
    }
    assert found == pytest.approx(expected)
    assert sum(found.values()) > 0.2
    assert "seconds per expression" in shown.stdout
