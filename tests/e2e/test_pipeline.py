from __future__ import annotations

import csv
import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fercli.storage import digest_file

FER = Path(sysconfig.get_path("scripts")) / "fer"


def call(folder: Path, *words: object) -> dict[str, Any]:
    done = subprocess.run(
        [FER, *map(str, words), "--json"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    envelope: dict[str, Any] = json.loads(done.stdout)
    data: dict[str, Any] = envelope["data"]
    return data


def test_the_whole_loop_through_the_installed_script(tmp_path: Path) -> None:
    call(tmp_path, "data", "prepare", "synthetic:300")
    trained = call(
        tmp_path, "train", "--recipe", "fast", "--epochs", 1, "--batch-size", 50, "--device", "cpu",
        "--set", "widths=8", "--set", "stem_width=4",
    )  # fmt: skip
    scores = call(tmp_path, "evaluate")
    exported = call(tmp_path, "export", "runs/fast/model.onnx")
    (tmp_path / "faces").mkdir()
    for number in range(3):
        Image.new("L", (48, 48), 90 * number).save(tmp_path / "faces" / f"{number}.png")
    predicted = call(tmp_path, "predict", "faces", "--model", "model.onnx", "--output", "rows.csv")

    assert trained["run_directory"] == "runs/fast"
    assert scores["n_images"] == 30
    assert scores["split"] == "private"
    assert exported["sha256"] == digest_file(tmp_path / "runs/fast/model.onnx")
    assert predicted["n_faces"] == 3
    with (tmp_path / "rows.csv").open() as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["ok"] * 3
    info = call(tmp_path, "info", "runs/fast")
    assert info["scores"]["private"]["accuracy"] == scores["accuracy"]


@pytest.mark.slow
def test_the_demo_reaches_what_it_promises(tmp_path: Path) -> None:
    data = call(tmp_path, "demo")

    assert data["accuracy"] >= 0.9
    for path in data["files"].values():
        assert (tmp_path / path).exists()


@pytest.mark.gpu
def test_training_on_cuda(tmp_path: Path) -> None:
    trained = call(
        tmp_path, "train", "--data", "synthetic:3000", "--recipe", "fast", "--device", "cuda",
        "--output", "run", "--batch-size", 64, "--optimizer", "adamw", "--learning-rate", 0.003,
    )  # fmt: skip
    scores = call(
        tmp_path, "evaluate", "run", "--data", "synthetic:3000", "--split", "public", "--device",
        "cuda",
    )  # fmt: skip

    assert trained["device"].startswith("cuda")
    assert abs(scores["accuracy"] - trained["validation_accuracy"]) < 0.01
