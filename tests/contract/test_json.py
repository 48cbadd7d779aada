from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fercli.runs import RunFolder

ENVELOPE = {"schema", "command", "status", "exit_code", "data", "errors"}
RunJson = Callable[..., dict[str, Any]]


def test_data_prepare(run_json: RunJson) -> None:
    envelope = run_json("data", "prepare", "synthetic:100")

    assert set(envelope) == ENVELOPE
    assert (envelope["command"], envelope["status"]) == ("data prepare", "ok")
    wanted = {"output", "n_images", "counts", "sha256", "official", "dropped", "warnings"}
    assert set(envelope["data"]) == wanted


@pytest.mark.usefixtures("weights_alone")
def test_train(run_json: RunJson, dataset_path: Path, tmp_path: Path) -> None:
    envelope = run_json(
        "train", "--data", dataset_path, "--recipe", "fast", "--epochs", 1, "--batch-size", 100,
        "--set", "widths=8", "--set", "stem_width=4", "--device", "cpu", "--output", tmp_path / "r",
    )  # fmt: skip

    wanted = {
        "run_directory", "model", "network", "parameters", "epochs", "best_epoch",
        "validation_accuracy", "duration_s", "images_per_s", "device", "precision", "seed",
    }  # fmt: skip
    assert wanted <= set(envelope["data"])


def test_evaluate(run_json: RunJson, trained: RunFolder, dataset_path: Path) -> None:
    envelope = run_json("evaluate", trained.onnx, "--data", dataset_path, "--tta")

    plain = {
        "n_images", "accuracy", "accuracy_ci95", "macro_f1", "balanced_accuracy", "nll", "ece",
        "brier", "per_class", "confusion_matrix",
    }  # fmt: skip
    data = envelope["data"]
    assert plain | {
        "model", "model_sha256", "split", "labels", "tta", "deduplicated", "duration_s",
        "images_per_s", "files",
    } <= set(data)  # fmt: skip
    assert plain <= set(data["tta"])
    assert {"n_images", "accuracy"} <= set(data["deduplicated"])
    assert {"protocol", "confusions", "calibration", "coverage", "dataset"} <= set(data)
    assert set(data["per_class"]["happy"]) == {"precision", "recall", "f1", "support"}
    assert data["split"] == "private"


def test_export(run_json: RunJson, trained: RunFolder, tmp_path: Path) -> None:
    envelope = run_json("export", trained.path, "--onnx", "--output", tmp_path / "m.onnx")

    assert set(envelope["data"]) == {
        "output", "format", "opset", "size_bytes", "sha256", "max_abs_difference",
        "label_agreement", "n_checked", "parity_images", "quantized", "model",
        "accuracy", "accuracy_before", "images_per_s", "images_per_s_before",
    }  # fmt: skip


def test_predict(run_json: RunJson, trained: RunFolder, face_files: Path) -> None:
    envelope = run_json("predict", face_files, "--model", trained.onnx)

    data = envelope["data"]
    assert {
        "n_inputs", "n_faces", "n_no_face", "n_skipped", "n_other", "images_per_s", "output",
        "rows",
    } <= set(data)  # fmt: skip
    assert set(data["rows"][0]) == {
        "path", "status", "reason", "face", "box", "confidence", "label", "probabilities",
        "image_width", "image_height", "detector", "frames", "frame", "time_s", "track", "model",
    }  # fmt: skip


def test_predict_keeps_rows_out_when_they_are_in_a_file(
    run_json: RunJson, trained: RunFolder, face_files: Path, tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"

    envelope = run_json("predict", face_files, "--model", trained.onnx, "--output", target)

    assert "rows" not in envelope["data"]
    assert envelope["data"]["output"] == str(target)


def test_merge(run_json: RunJson, trained: RunFolder, face_files: Path) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--shard", "0/1", "--output", "parts"]
    assert run_json(*words)["data"]["shard"] == "0/1"

    data = run_json("merge", "parts", "--output", "all.jsonl")["data"]

    assert set(data) == {
        "output", "n_parts", "n_inputs", "n_rows", "n_frames", "n_faces", "n_no_face", "n_skipped",
        "size_bytes", "model", "model_sha256", "labels", "fercli",
    }  # fmt: skip


def test_info_of_a_model(run_json: RunJson, trained: RunFolder) -> None:
    for model in (trained.path, trained.model, trained.onnx):
        data = run_json("info", model)["data"]

        wanted = {
            "kind", "verified", "labels", "network", "parameters", "input", "temperature",
            "trained", "scores",
        }  # fmt: skip
        assert set(data) == wanted
        assert data["verified"] is True
        trained_keys = {"dataset", "split", "epochs", "seed", "recipe", "fercli"}
        assert trained_keys <= set(data["trained"])
        assert data["parameters"] > 0


def test_info_of_the_environment(run_json: RunJson) -> None:
    data = run_json("info")["data"]

    assert set(data) == {
        "versions", "devices", "providers", "paths", "models", "detectors", "extras", "free_bytes",
        "problems",
    }  # fmt: skip


def test_failures_keep_the_envelope(run_json: RunJson) -> None:
    envelope = run_json("train", "--recipe", "fsat", "--epochs", 0, status=2)

    assert set(envelope) == ENVELOPE
    assert envelope["status"] == "error"
    assert [set(error) for error in envelope["errors"]] == [{"code", "message", "hint"}] * 2


def test_usage_errors_keep_the_envelope(run_json: RunJson) -> None:
    envelope = run_json("data", "prepare", "--nonsense", status=2)

    assert envelope["command"] == "data prepare"
    assert envelope["errors"][0]["code"] == "usage"
