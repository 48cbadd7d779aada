from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import Result

from fercli.config import PredictConfig
from fercli.emotions import LABELS
from fercli.export.writing import serialize_model
from fercli.images import load_image
from fercli.inference.onnx import OnnxRuntime
from fercli.prediction import predict_files
from fercli.prediction.answers import describe_faces
from fercli.storage import open_partial

if TYPE_CHECKING:
    from fercli.data import Dataset
    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


def test_table(run: Run, trained: RunFolder, face_files: Path) -> None:
    result = run("predict", face_files, "--model", trained.path)

    assert result.exit_code == 0
    assert "face-4.png" in result.stdout


def test_rows_keep_full_precision_and_order(run: Run, trained: RunFolder, face_files: Path) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--format"]

    lines = [json.loads(line) for line in run(*words, "jsonl").stdout.splitlines()]
    table = list(csv.DictReader(run(*words, "csv").stdout.splitlines()))

    assert [Path(line["path"]).name for line in lines] == [f"face-{n}.png" for n in range(5)]
    for line, row in zip(lines, table, strict=True):
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert float(row["confidence"]) == line["confidence"]
        for label in LABELS:
            assert float(row[f"p_{label}"]) == line["probabilities"][label]
        assert [int(row[f"box_{key}"]) for key in ("x", "y", "width", "height")] == line["box"]


def test_files_that_cannot_be_read_are_rows(run: Run, trained: RunFolder, face_files: Path) -> None:
    (face_files / "broken.png").write_bytes((face_files / "face-0.png").read_bytes()[:50])
    (face_files / "text.jpg").write_text("hello")
    os.mkfifo(face_files / "pipe.png")

    result = run("predict", face_files, "--model", trained.onnx, "--format", "jsonl")

    assert result.exit_code == 7
    rows = {Path(row["path"]).name: row for row in map(json.loads, result.stdout.splitlines())}
    assert len(rows) == 8
    for name in ("broken.png", "text.jpg", "pipe.png"):
        assert rows[name]["status"] == ("refused" if name == "pipe.png" else "unreadable")
        assert rows[name]["reason"]
    assert rows["pipe.png"]["reason"] == "not a regular file"


def test_files_that_ask_for_too_much_are_refused_alone(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    Image.open(face_files / "face-0.png").save(face_files / "a.jpg", progressive=True)
    whole = (face_files / "a.jpg").read_bytes()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    (face_files / "a.jpg").write_bytes(whole[:-2] + scan * 200 + whole[-2:])

    result = run("predict", face_files, "--model", trained.onnx, "--format", "jsonl")

    assert result.exit_code == 7
    refused, *others = map(json.loads, result.stdout.splitlines())
    assert (refused["status"], refused["reason"]) == ("refused", "a JPEG of more than 100 scans")
    assert [row["status"] for row in others] == ["ok"] * 5


@pytest.mark.parametrize(
    ("operator", "value", "reason"),
    [
        ("Mul", np.float32(-1e33), "not within 0 and 1"),
        ("Mul", np.float32(0.5), "sum to 0.5"),
        ("Gather", np.array([0]), "shape [1, 7] for 5 images"),
    ],
)
def test_answers_that_are_no_probabilities_are_refused(
    run: Run,
    trained: RunFolder,
    face_files: Path,
    operator: str,
    value: Any,
    reason: str,
) -> None:
    model = onnx.load(trained.onnx)
    (last,) = [node for node in model.graph.node if "probabilities" in node.output]
    last.output[:] = ["before"]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), "value"))
    model.graph.node.append(onnx.helper.make_node(operator, ["before", "value"], ["probabilities"]))
    Path("odd.onnx").write_bytes(serialize_model(model, OnnxRuntime(trained.onnx).metadata))

    result = run("predict", face_files, "--model", "odd.onnx", "--format", "jsonl")

    assert result.exit_code == 4
    assert reason in result.stderr
    assert result.stdout == ""


def test_partial_envelope(run_json: RunJson, trained: RunFolder, face_files: Path) -> None:
    (face_files / "text.jpg").write_text("hello")

    envelope = run_json("predict", face_files, "--model", trained.onnx, status=7)

    assert envelope["status"] == "partial"
    assert envelope["data"]["n_skipped"] == 1
    assert envelope["errors"]


def test_output_is_complete_or_absent(run: Run, trained: RunFolder, face_files: Path) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--output", "rows.csv"]

    assert run(*words).exit_code == 0
    assert len(Path("rows.csv").read_text().splitlines()) == 6
    assert not Path("rows.csv.partial").exists()
    assert run(*words).exit_code == 2
    assert run(*words, "--force").exit_code == 0


def test_stdin_patterns_and_names_as_given(run: Run, trained: RunFolder, face_files: Path) -> None:
    listed = "".join(f"{path}\n" for path in sorted(face_files.iterdir())[:2])

    words = ["--model", trained.onnx, "--format", "jsonl"]
    piped = run("predict", "-", *words, stdin=listed)
    matched = run("predict", f"{face_files}/face-[34].png", *words)

    assert len(piped.stdout.splitlines()) == 2
    assert len(matched.stdout.splitlines()) == 2


def test_uncertain(run: Run, trained: RunFolder, face_files: Path) -> None:
    result = run(
        "predict", face_files, "--model", trained.onnx, "--format", "jsonl",
        "--min-confidence", 1.0,
    )  # fmt: skip

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["label"] for row in rows} == {"uncertain"}
    assert all(row["probabilities"] for row in rows)


def test_a_confidence_at_the_threshold_keeps_its_label() -> None:
    row = np.array([[0.25, 0.6, 0.15]], dtype=np.float32)
    confidence = float(row[0, 1])
    labels = ("angry", "happy", "sad")

    (at,) = describe_faces(row, labels, confidence)
    (above,) = describe_faces(row, labels, float(np.nextafter(confidence, 1)))

    assert at[:2] == ("happy", confidence)
    assert above[:2] == ("uncertain", confidence)
    assert above[2] == dict(zip(labels, map(float, row[0]), strict=True))


def test_refusals(run: Run, trained: RunFolder, face_files: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert run("predict", "missing.png").exit_code == 3
    assert run("predict", tmp_path / "empty").exit_code == 3
    assert run("predict", face_files).exit_code == 4
    assert run("predict", face_files, "--format", "xml").exit_code == 2
    assert run("predict", face_files, "--batch-size", 0).exit_code == 2
    assert run("predict", face_files, "--output", "rows.txt").exit_code == 2
    assert run("predict", face_files, "--json", "--format", "csv").exit_code == 2
    assert run("predict", face_files, "--faces", "dlib").exit_code == 2
    assert run("predict", face_files, "--format", "parquet").exit_code == 2
    assert run("predict", face_files, "--resume").exit_code == 2
    assert run("predict", face_files, "--resume", "--output", "a.parquet").exit_code == 2
    assert run("predict", face_files, "--link").exit_code == 2
    assert run("predict", face_files, "--montage", "sheet.jpg").exit_code == 2
    assert run("predict", face_files, "--annotate", face_files / "face-0.png").exit_code == 2
    assert run("predict", face_files, "--detector-weights", "x.onnx").exit_code == 4
    result = run("predict", face_files, "--model", trained.onnx, "--device", "cuda:99")
    assert result.exit_code == 5


def test_photos_by_each_detector(
    run: Run, run_json: RunJson, trained: RunFolder, photo: Path, tmp_path: Path
) -> None:
    Image.new("L", (300, 200), 128).save(tmp_path / "wall.png")

    data = run_json("predict", photo, tmp_path / "wall.png", "--model", trained.onnx)["data"]
    whole = run_json("predict", photo, "--model", trained.onnx, "--faces", "whole")["data"]
    table = run("predict", photo, tmp_path / "wall.png", "--model", trained.onnx)

    (face, wall) = data["rows"]
    assert (face["status"], face["detector"], face["face"]) == ("ok", "haar", 0)
    assert (face["image_width"], face["image_height"]) == (512, 512)
    assert 150 < face["box"][0] < 200
    assert (wall["status"], wall["detector"], wall["label"]) == ("no_face", "haar", None)
    assert (data["n_faces"], data["n_no_face"], data["n_skipped"]) == (1, 1, 0)
    assert whole["rows"][0]["box"] == [0, 0, 512, 512]
    assert "no_face" in table.stdout
    assert "100.0%" in table.stdout


@pytest.mark.parametrize(("n_walls", "n_hints"), [(2, 0), (3, 1), (7, 1)])
def test_another_detector_is_named_once(
    run: Run, trained: RunFolder, tmp_path: Path, n_walls: int, n_hints: int
) -> None:
    for number in range(n_walls):
        Image.new("L", (120, 100), 128).save(tmp_path / f"wall-{number}.png")

    result = run("predict", "wall-*.png", "--model", trained.onnx)
    whole = run("predict", "wall-*.png", "--model", trained.onnx, "--faces", "whole")

    assert result.exit_code == 0, result.output
    assert result.stderr.count("--faces yunet") == n_hints
    assert (f"haar found no face in {n_walls} photos" in result.stderr) == bool(n_hints)
    assert "--faces yunet" not in whole.stderr


def test_frames_without_a_face_call_for_no_other_detector(
    run: Run, trained: RunFolder, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.webm", "-----")

    result = run("predict", clip, "--model", trained.onnx, "--every", 0)

    assert "5 without a face" in result.stderr
    assert "--faces yunet" not in result.stderr


def test_yunet(run_json: RunJson, trained: RunFolder, photo: Path, yunet_weights: Path) -> None:
    words = ["predict", photo, "--model", trained.onnx, "--faces", "yunet"]

    data = run_json(*words, "--detector-weights", yunet_weights)["data"]

    (row,) = data["rows"]
    assert row["detector"] == "yunet"
    assert 150 < row["box"][0] < 200


def test_pictures_and_sorted_folders(
    run: Run, trained: RunFolder, face_files: Path, photo: Path
) -> None:
    (face_files / "deep").mkdir()
    (face_files / "deep" / "face-0.png").write_bytes((face_files / "face-0.png").read_bytes())
    (face_files / "text.jpg").write_text("hello")
    Image.new("L", (300, 200), 128).save(face_files / "wall.bmp")
    words = [
        "predict", face_files, photo, photo, "--model", trained.onnx, "--annotate", "framed",
        "--sort-into", "sorted", "--montage", "sheet.png",
    ]  # fmt: skip

    result = run(*words)

    assert result.exit_code == 7
    framed = sorted(str(path.relative_to("framed")) for path in Path("framed").rglob("*.*"))
    assert framed == sorted(
        ["astronaut-2.png", "astronaut.png", "deep/face-0.png", "wall.bmp.jpg",
         *(f"face-{number}.png" for number in range(5))]
    )  # fmt: skip
    assert min(load_image(Path("framed/face-1.png")).gray.shape) >= 240
    original = load_image(photo).gray.astype(int)
    changed = np.abs(load_image(Path("framed/astronaut.png")).gray.astype(int) - original)
    assert changed.shape == (512, 512)
    assert changed.max() > 0
    assert changed[200:].max() == 0
    stored = sorted(path.name for path in Path("sorted").rglob("*.*"))
    assert stored == sorted(
        ["astronaut.png", "astronaut-2.png", "face-0.png", "wall.bmp",
         *(f"face-{number}.png" for number in range(5))]
    )  # fmt: skip
    assert Path("sorted/no_face/wall.bmp").read_bytes() == (face_files / "wall.bmp").read_bytes()
    assert load_image(Path("sheet.png")).gray.shape[1] > 200
    assert run(*words).exit_code == 2
    assert run(*words, "--force").exit_code == 7
    assert sorted(path.name for path in Path("sorted").rglob("*.*")) == stored


def test_links(run: Run, trained: RunFolder, face_files: Path) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--sort-into", "sorted", "--link"]

    assert run(*words).exit_code == 0
    assert run(*words, "--force").exit_code == 0

    links = list(Path("sorted").rglob("*.png"))
    assert len(links) == 5
    assert all(link.is_symlink() and link.resolve().parent == face_files for link in links)


def test_no_input_is_written_over(
    run: Run, trained: RunFolder, face_files: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in face_files.iterdir()}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(before[face_files / "face-0.png"])
    (tmp_path / "x.png").write_bytes(before[face_files / "face-1.png"])
    words = ["--model", trained.onnx, "--force"]

    for option in ("--annotate", "--sort-into"):
        for folder in (face_files, tmp_path):
            result = run("predict", face_files, *words, option, folder)
            assert result.exit_code == 2
            assert "overwritten" in result.stderr
    listed = "".join(f"{path}\n" for path in sorted(before))
    run("predict", "-", *words, "--annotate", face_files, stdin=listed)
    os.chdir(tmp_path / "in")
    assert run("predict", ".", "../x.png", *words, "--annotate", "out").exit_code == 0

    assert {path: path.read_bytes() for path in before} == before
    assert Path("x.png").read_bytes() == before[face_files / "face-0.png"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["x-2.png", "x.png"]


def test_a_resumed_prediction_leaves_no_second_copy(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    words = [
        "predict", face_files, "--model", trained.onnx, "--output", "rows.jsonl", "--annotate",
        "framed", "--sort-into", "sorted",
    ]  # fmt: skip
    run(*words)
    rows = Path("rows.jsonl").read_bytes()
    Path("rows.jsonl").unlink()
    Path("rows.jsonl.partial").write_bytes(rows[: len(rows) // 2])

    assert run(*words, "--resume").exit_code == 0

    assert len(list(Path("framed").rglob("*.png"))) == 5
    assert len(list(Path("sorted").rglob("*.png"))) == 5
    assert run(*words, "--resume", "--montage", "sheet.png").exit_code == 2


def test_an_interrupted_commands_rows_are_not_overwritten_unasked(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--output", "rows.jsonl"]
    Path("rows.jsonl.partial").write_text("hours of rows\n")

    refused = run(*words)

    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    assert Path("rows.jsonl.partial").read_text() == "hours of rows\n"
    assert run(*words, "--force").exit_code == 0


def test_a_name_that_cannot_be_written_costs_its_file_alone(
    run: Run, run_json: RunJson, trained: RunFolder, face_files: Path
) -> None:
    content = (face_files / "face-0.png").read_bytes()
    (face_files / f"{'x' * 250}.png").write_bytes(content)
    (face_files / "face-1.png").rename(face_files / "a.gif")
    (face_files / "p" / "a.gif").mkdir(parents=True)
    (face_files / "p" / "a.gif" / "b.png").write_bytes(content)
    listed = f"{face_files}/face-0.png\n{'y' * 5000}\n{face_files}/face-2.png\n"
    words = ["--model", trained.onnx, "--sort-into", "sorted", "--annotate", "framed"]

    data = run_json("predict", face_files, *words)["data"]
    result = run("predict", "-", "--model", trained.onnx, "--format", "jsonl", stdin=listed)

    assert data["n_faces"] == 7
    assert len(list(Path("sorted").rglob("*.*"))) >= 6
    assert result.exit_code == 7
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == [
        "ok", "unreadable", "ok"
    ]  # fmt: skip


def test_patterns_name_each_file_once(
    run_json: RunJson, trained: RunFolder, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (face_files / "a" / "b").mkdir(parents=True)
    (face_files / "a" / "b" / "c.png").write_bytes((face_files / "face-0.png").read_bytes())
    monkeypatch.chdir(face_files)

    data = run_json("predict", "**", "--model", trained.onnx)["data"]
    again = run_json("predict", "*", "--model", trained.onnx, "--output", "rows.csv")["data"]
    third = run_json(
        "predict", "*", "--model", trained.onnx, "--output", "rows.csv", "--resume"
    )["data"]  # fmt: skip

    assert data["n_inputs"] == again["n_inputs"] == third["n_resumed"] == 6
    assert third["n_inputs"] == 0


def test_outputs_that_cannot_be_are_refused_at_once(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    Path("folder.csv").mkdir()
    Path("folder.png").mkdir()
    os.mkfifo("pipe.csv")
    Path("loop").symlink_to("loop")
    words = ["predict", face_files, "--model", trained.onnx]

    for more in (
        ["--output", "folder.csv", "--force"], ["--montage", "folder.png", "--force"],
        ["--output", "pipe.csv", "--resume"],
        ["--output", "/dev/null", "--format", "csv", "--force"],
        ["--output", "s.png", "--format", "csv", "--montage", "s.png"],
    ):  # fmt: skip
        assert run(*words, *more).exit_code == 2, more
    unwritable = run(*words, "--output", "loop/x.csv")
    assert unwritable.exit_code == 8
    assert "keeps the rows" not in unwritable.stderr


def test_a_full_disk_names_the_rows_that_are_kept(trained: RunFolder, face_files: Path) -> None:
    listed = "\n".join([str(face_files / "face-0.png")] * 300)
    command = (
        f"ulimit -f 8; {sys.executable} -m fercli predict - --model {trained.onnx} --output r.jsonl"
    )

    done = subprocess.run(
        ["bash", "-c", command], input=listed, capture_output=True, text=True, check=False
    )

    assert done.returncode == 8
    assert "r.jsonl.partial" in done.stderr
    assert "--resume" in done.stderr
    assert Path("r.jsonl.partial").stat().st_size > 1000


def test_closed_streams_are_no_bug(trained: RunFolder, face_files: Path) -> None:
    fer = f"{sys.executable} -m fercli predict"
    for command, status in (
        (f"{fer} - --model {trained.onnx} <&-", 3),
        (f"{fer} {face_files} --model {trained.onnx} >&-", 0),
    ):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "labels", [[1, 2, 3, 4, 5, 6, 7], list("abcabcd"), [*"abcdef", "\ud800"], "abcdefg", 7]
)
def test_labels_that_are_none_are_refused(
    run: Run, trained: RunFolder, face_files: Path, labels: object
) -> None:
    import onnx

    model = onnx.load(trained.onnx)
    held = json.loads(model.metadata_props[0].value)
    metadata = {**held, "sealed": False, "labels": labels}
    onnx.helper.set_model_props(model, {"fercli": json.dumps(metadata)})
    onnx.save(model, "odd.onnx")

    result = run("predict", face_files, "--model", "odd.onnx")

    assert result.exit_code == 4


def test_parquet(run: Run, trained: RunFolder, face_files: Path) -> None:
    import pyarrow.parquet

    (face_files / "text.jpg").write_text("hello")
    words = ["predict", face_files, "--model", trained.onnx, "--output"]

    assert run(*words, "rows.parquet").exit_code == 7
    assert run(*words, "rows.csv").exit_code == 7

    table = pyarrow.parquet.read_table("rows.parquet").to_pylist()
    with Path("rows.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(table) == 6
    for found, row in zip(table, rows, strict=True):
        assert {key: "" if value is None else str(value) for key, value in found.items()} == row


def test_parquet_without_its_extra(
    run: Run, trained: RunFolder, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    result = run("predict", face_files, "--model", trained.onnx, "--output", "rows.parquet")

    assert result.exit_code == 5
    assert "fercli[parquet]" in result.stderr
    assert list(Path().glob("rows*")) == []


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_resume_ends_where_an_uninterrupted_run_ends(
    run: Run, trained: RunFolder, face_files: Path, kind: str
) -> None:
    (face_files / 'odd "name,\nof\rtwo lines.png').write_bytes(
        (face_files / "face-1.png").read_bytes()
    )
    (face_files / "text.jpg").write_text("hello")
    words = ["predict", face_files, "--model", trained.onnx, "--batch-size", 1, "--output"]
    run(*words, f"whole.{kind}")
    content = Path(f"whole.{kind}").read_bytes()
    ends = [0, 1, *range(30, len(content), 97), len(content) - 1, len(content)]

    for end in ends:
        Path(f"torn.{kind}").unlink(missing_ok=True)
        Path(f"torn.{kind}.partial").write_bytes(content[:end])
        assert run(*words, f"torn.{kind}", "--resume").exit_code in {0, 7}
        assert Path(f"torn.{kind}").read_bytes() == content, end
        assert not Path(f"torn.{kind}.partial").exists()


def test_resume_passes_over_what_has_rows(
    run_json: RunJson, run: Run, trained: RunFolder, face_files: Path
) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--output", "rows.jsonl", "--resume"]
    first = run_json(*words)["data"]
    (face_files / "zz.png").write_bytes((face_files / "face-0.png").read_bytes())

    second, third = run_json(*words)["data"], run_json(*words)["data"]

    assert (first["n_inputs"], first["n_resumed"]) == (5, 0)
    assert (second["n_inputs"], second["n_resumed"]) == (1, 5)
    assert (third["n_inputs"], third["n_resumed"]) == (0, 6)
    assert len(Path("rows.jsonl").read_text().splitlines()) == 6
    assert run(*words[:-1]).exit_code == 2


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b'{"path": "a"}\n',
        b'{"path": "a", "probabilities": {"cat": 1}}\n',
        b"[1]\n",
        b'{"path": 5, "probabilities": null}\n',
        b'{"path": "x", "probabilities": 5}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_file_of_rows_is_not_gone_on_with(
    run: Run, trained: RunFolder, face_files: Path, content: bytes
) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--resume", "--output"]
    for kind in ("csv", "jsonl"):
        Path(f"rows.{kind}").write_bytes(content)

        assert run(*words, f"rows.{kind}").exit_code == 3
        assert Path(f"rows.{kind}").read_bytes() == content


def test_outputs_among_the_inputs_are_not_taken_for_inputs(
    run_json: RunJson, trained: RunFolder, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(face_files)
    Path("rows.csv.partial").write_text("")
    words = [
        "predict", ".", "--model", trained.onnx, "--output", "rows.csv", "--annotate", "framed",
        "--sort-into", face_files / "sorted", "--montage", "sheet.png",
    ]  # fmt: skip

    first = run_json(*words)["data"]
    second = run_json(*words, "--force")["data"]

    assert first["n_inputs"] == second["n_inputs"] == 5
    assert run_json("predict", ".", "--model", trained.onnx)["data"]["n_inputs"] > 5


def test_a_path_of_stdin_that_is_not_there_is_a_row(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    listed = f"{face_files}/face-0.png\nmissing.png\n\n{face_files}/face-1.png\n"

    result = run("predict", "-", "--model", trained.onnx, "--format", "jsonl", stdin=listed)

    assert result.exit_code == 7
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "unreadable", "ok"]
    assert run("predict", "-", stdin="").exit_code == 3


def test_files_are_found_and_read_only_as_they_are_needed(
    trained: RunFolder, face_files: Path
) -> None:
    asked = 0

    def list_forever() -> Iterator[Path]:
        nonlocal asked
        while True:
            asked += 1
            yield face_files / "face-0.png"

    predictions = predict_files(
        OnnxRuntime(trained.onnx), list_forever(), PredictConfig(batch_size=8)
    )
    for _ in range(20):
        next(predictions)
    predictions.close()

    assert asked <= 8 * (3 + 2 * (os.cpu_count() or 1) + 1)


def test_rows_do_not_depend_on_the_threads(
    trained: RunFolder, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(150)]
    for number, path in enumerate(paths):
        Image.fromarray(faces.images[number]).save(path)
    runtime = OnnxRuntime(trained.onnx)

    found = []
    for n_threads in (1, 2, 7):
        monkeypatch.setattr("fercli.prediction.chunks.count_processors", lambda n=n_threads: n)
        found.append([prediction.rows for prediction in predict_files(runtime, paths)])

    assert found[0] == found[1] == found[2]
    assert [rows[0].path for rows in found[0]] == list(map(str, paths))


def test_a_reader_that_leaves_ends_it_quietly(trained: RunFolder, face_files: Path) -> None:
    listed = "\n".join([str(face_files / "face-0.png")] * 3000)
    command = f"{sys.executable} -m fercli predict - --model {trained.onnx} --format csv | head -2"

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        input=listed, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


def test_hostile_names_reach_no_terminal(run: Run, trained: RunFolder, face_files: Path) -> None:
    evil = face_files / "a\x1b]0;pwned\x07[red].png"
    (face_files / "face-0.png").rename(evil)

    table = run("predict", face_files, "--model", trained.onnx)
    lines = run("predict", face_files, "--model", trained.onnx, "--format", "jsonl")

    assert table.exit_code == 0
    assert "\x1b" not in table.stdout
    assert "[red]" in table.stdout
    assert json.loads(lines.stdout.splitlines()[0])["path"] == str(evil)


def test_a_file_that_another_command_writes_is_left_to_it(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--output", "rows.jsonl"]
    with open_partial(Path("rows.jsonl")) as stream:
        stream.write(b"{}\n")
        stream.flush()
        for option in ("--force", "--resume"):
            result = run(*words, option)

            assert result.exit_code == 2
            assert "error: rows.jsonl is being written by this process already" in result.stderr

    assert Path("rows.jsonl").read_bytes() == b"{}\n"


def test_rows_written_since_the_options_were_looked_at_stay(
    run: Run, trained: RunFolder, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish_first(*_: object) -> None:
        Path("rows.jsonl").write_text("{}\n")

    monkeypatch.setattr("fercli.cli._predict_request.warn_if_synthetic", finish_first)

    result = run("predict", face_files, "--model", trained.onnx, "--output", "rows.jsonl")

    assert result.exit_code == 2
    assert "error: rows.jsonl is already there" in result.stderr
    assert Path("rows.jsonl").read_text() == "{}\n"
    assert not Path("rows.jsonl.partial").exists()


def test_a_partial_file_is_not_written_through_a_link(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    Path("precious.txt").write_text("mine")
    Path("rows.csv.partial").symlink_to("precious.txt")

    result = run("predict", face_files, "--model", trained.onnx, "--output", "rows.csv", "--force")

    assert result.exit_code == 2
    assert "is a link or not a regular file" in result.stderr
    assert Path("precious.txt").read_text() == "mine"
