from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

import fercli
from fercli.inference.onnx import OnnxRuntime
from fercli.model_files import PINNED
from fercli.storage import write_json

if TYPE_CHECKING:
    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


@pytest.fixture
def bundled(trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny trained model come with fercli, as `base` and as `other`."""
    assets = tmp_path / "assets"
    assets.mkdir()
    names = ("base", "other", "plus")
    for name in names[:2]:
        shutil.copy(trained.onnx, assets / f"{name}.onnx")
    digest = OnnxRuntime(trained.onnx).digest
    write_json(assets / PINNED, {"onnx": dict.fromkeys(names, digest)})
    monkeypatch.setattr("fercli.model_files._ASSETS", assets)


@pytest.mark.usefixtures("bundled")
def test_without_a_run_the_bundled_model_predicts(
    run: Run, run_json: RunJson, face_files: Path, dataset_path: Path
) -> None:
    data = run_json("predict", face_files)["data"]
    result = run("predict", face_files)

    assert data["model"] == "base"
    assert data["n_faces"] == 5
    assert "model: base, which comes with fercli" in result.stderr
    assert run_json("evaluate", "--data", dataset_path, "--split", "public")["data"]["model"] == (
        "base"
    )


@pytest.mark.usefixtures("bundled")
def test_photos_are_read_by_another_model_than_scores_are_made_of(
    run: Run, run_json: RunJson, face_files: Path, dataset_path: Path, tmp_path: Path
) -> None:
    shutil.copy(tmp_path / "assets" / "base.onnx", tmp_path / "assets" / "plus.onnx")

    assert run_json("predict", face_files)["data"]["model"] == "plus"
    assert "model: plus, which comes with fercli" in run("explain", face_files).stderr
    assert run_json("evaluate", "--data", dataset_path, "--split", "public")["data"]["model"] == (
        "base"
    )
    assert fercli.load().name == "plus"


def test_a_model_of_seven_labels_can_be_asked_for_them(
    run: Run, run_json: RunJson, trained: RunFolder, face_files: Path
) -> None:
    words = ("predict", face_files, "--model", trained.onnx)

    own = run_json(*words)["data"]["rows"]

    assert run_json(*words, "--labels-of", "fer2013")["data"]["rows"] == own
    refused = run(*words, "--labels-of", "fer+")
    assert refused.exit_code == 2
    assert "unknown --labels-of 'fer+': choose from fer2013" in refused.stderr


@pytest.mark.usefixtures("bundled")
def test_a_bundled_model_has_a_name(
    run: Run, run_json: RunJson, face_files: Path, tmp_path: Path
) -> None:
    assert run_json("predict", face_files, "--model", "other")["data"]["model"] == "other"
    assert run_json("info", "other")["data"]["kind"] == "onnx"
    assert run_json("export", "base", "--output", tmp_path / "copy.onnx")["data"]["model"] == "base"
    assert run("predict", face_files, "--model", "third").exit_code == 4


@pytest.mark.usefixtures("bundled")
def test_ones_own_run_comes_before_the_bundled_model(
    run_json: RunJson, trained: RunFolder, face_files: Path
) -> None:
    shutil.copytree(trained.path, Path("runs") / "own")

    assert run_json("predict", face_files)["data"]["model"] == "runs/own/model.onnx"
