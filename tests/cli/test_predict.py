from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

from fercli.emotions import LABELS

if TYPE_CHECKING:
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


def test_refusals(run: Run, trained: RunFolder, face_files: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert run("predict", "missing.png").exit_code == 3
    assert run("predict", tmp_path / "empty").exit_code == 3
    assert run("predict", face_files).exit_code == 4
    assert run("predict", face_files, "--format", "xml").exit_code == 2
    assert run("predict", face_files, "--batch-size", 0).exit_code == 2
    assert run("predict", face_files, "--output", "rows.txt").exit_code == 2
    assert run("predict", face_files, "--json", "--format", "csv").exit_code == 2
    result = run("predict", face_files, "--model", trained.onnx, "--device", "cuda:99")
    assert result.exit_code == 5


def test_hostile_names_reach_no_terminal(run: Run, trained: RunFolder, face_files: Path) -> None:
    evil = face_files / "a\x1b]0;pwned\x07[red].png"
    (face_files / "face-0.png").rename(evil)

    table = run("predict", face_files, "--model", trained.onnx)
    lines = run("predict", face_files, "--model", trained.onnx, "--format", "jsonl")

    assert table.exit_code == 0
    assert "\x1b" not in table.stdout
    assert "[red]" in table.stdout
    assert json.loads(lines.stdout.splitlines()[0])["path"] == str(evil)
