"""Models whose metadata nobody would write: one sentence and status 4, in every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

from fercli.errors import ModelFileError
from fercli.storage import load_tensors, save_tensors

if TYPE_CHECKING:
    from fercli.runs import RunFolder

Run = Callable[..., Result]
SCORE = {
    "at": "2026-11-25", "split": "public", "dataset": {"source": "x", "sha256": "0"},
    "model_sha256": "0", "n_images": 2**62, "accuracy": 1e308, "accuracy_ci95": [-1, 1e9],
    "macro_f1": 0, "per_class": {"a": {"precision": 0, "recall": 0, "f1": 0, "support": 0}},
    "deduplicated": {"n_images": 3, "accuracy": None},
}  # fmt: skip


def write_onnx(trained: RunFolder, target: Path, changes: dict[str, Any] | str) -> None:
    """Write a model with other metadata."""
    import onnx

    model = onnx.load(trained.onnx)
    text = changes
    if isinstance(changes, dict):
        held = json.loads(model.metadata_props[0].value)
        text = json.dumps({**held, "sealed": False, **changes})
    onnx.helper.set_model_props(model, {"fercli": text})
    onnx.save(model, target)


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": "fer2013"}, "dataset"),
        ({"scores": ["public"]}, "scores"),
        ({"scores": {"public": {**SCORE, "accuracy": "good"}}}, "scores.public.accuracy"),
        ({"teachers": [{"chosen_on": 1}]}, "teachers[0].sha256"),
        ({"members": {"a": "b"}}, "members"),
        ({"parameters": [1]}, "parameters"),
        ({"temperature": {}}, "temperature"),
        ({"schema": 2}, "has schema 2"),
        ("[" * 50_000, "levels deep"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_odd_metadata_is_refused_by_every_command(
    run: Run,
    trained: RunFolder,
    face_files: Path,
    dataset_path: Path,
    changes: dict[str, Any] | str,
    field: str,
) -> None:
    write_onnx(trained, Path("odd.onnx"), changes)

    for words in (
        ("predict", face_files, "--model", "odd.onnx"),
        ("info", "odd.onnx"),
        ("evaluate", "odd.onnx", "--data", dataset_path),
        ("export", "odd.onnx", "--output", "copy.onnx"),
        ("export", "odd.onnx", "--int8", "--data", dataset_path, "--output", "copy.onnx"),
        ("compare", "odd.onnx", trained.onnx, "--data", dataset_path),
        ("explain", face_files / "face-0.png", "--model", "odd.onnx", "--output", "why"),
        ("serve", "--model", "odd.onnx", "--port", 0),
        ("info", "odd.onnx", "--card", "CARD.md"),
    ):
        result = run(*words)

        assert result.exit_code == 4, (words, result.output)
        assert "odd.onnx: " in result.stderr
        assert field in result.stderr
    assert not Path("copy.onnx").exists()


@pytest.mark.parametrize("word", [b'"recipe"', b"probabilities"])
def test_bytes_that_are_no_text_are_refused(
    run: Run, trained: RunFolder, face_files: Path, dataset_path: Path, word: bytes
) -> None:
    content = trained.onnx.read_bytes()
    assert word in content
    Path("odd.onnx").write_bytes(content.replace(word, b"\xff" * len(word)))

    for words in (
        ("predict", face_files, "--model", "odd.onnx"),
        ("compare", "odd.onnx", trained.onnx, "--data", dataset_path),
    ):
        result = run(*words)

        assert result.exit_code == 4, (words, result.output)


@pytest.mark.parametrize(
    "changes",
    [{"dataset": []}, {"temperature": "1"}, {"network": {"network": "cnn", "widths": {"8": 1}}},
     {"network": {"network": "cnn", "depth": 3}}, {"network": {"network": "cnn", "dropout": 3}},
     {"network": {"network": []}}, {"kind": "dataset"}],
)  # fmt: skip
def test_weights_with_odd_metadata_are_refused(
    run: Run, trained: RunFolder, dataset_path: Path, changes: dict[str, Any]
) -> None:
    arrays, header = load_tensors(trained.model, ModelFileError)
    save_tensors(Path("odd.safetensors"), arrays, {**header, **changes})

    for words in (
        ("evaluate", "odd.safetensors", "--data", dataset_path),
        ("export", "odd.safetensors", "--output", "out.onnx"),
        ("info", "odd.safetensors", "--diagram", "layers.png"),
    ):
        result = run(*words)

        assert result.exit_code == 4, (words, result.output)
        assert "odd.safetensors" in result.stderr


def test_odd_values_of_the_right_types_are_used(
    run: Run, trained: RunFolder, face_files: Path, dataset_path: Path
) -> None:
    changes = {
        "scores": {"public": SCORE}, "parameters": 2**63 - 1, "temperature": 100, "fercli": "",
        "dataset": {"source": "\x1b[31m", "sha256": ""}, "validation": None, "younger": [[]],
        "members": [{"model": "`", "sha256": "|"}], "seed": 0, "quantized": "int3",
    }  # fmt: skip
    write_onnx(trained, Path("odd.onnx"), changes)

    for words in (
        ("predict", face_files, "--model", "odd.onnx"),
        ("info", "odd.onnx", "--card", "CARD.md"),
        ("evaluate", "odd.onnx", "--data", dataset_path, "--output", "scores"),
        ("export", "odd.onnx", "--output", "copy.onnx"),
        ("export", "odd.onnx", "--int8", "--data", dataset_path, "--output", "int8.onnx"),
        ("compare", "odd.onnx", trained.onnx, "--data", dataset_path),
        ("explain", face_files / "face-0.png", "--model", "odd.onnx", "--output", "why"),
    ):
        result = run(*words)

        assert result.exit_code == 0, (words, result.output)


@pytest.mark.parametrize(
    "changes",
    [{"result": "good"}, {"dataset": []}, {"config": None}, {"finished_at": 5}, {"schema": 2},
     {"teachers": "me"}, {"processes": "two"}],
)  # fmt: skip
def test_runs_with_odd_records_are_refused(
    run: Run, trained: RunFolder, dataset_path: Path, changes: dict[str, Any]
) -> None:
    folder = Path("runs/odd")
    folder.mkdir(parents=True)
    for path in (trained.model, trained.onnx, trained.metrics):
        (folder / path.name).write_bytes(path.read_bytes())
    record = json.loads(trained.record.read_text())
    (folder / "run.json").write_text(json.dumps({**record, **changes}))

    for words in (
        ("info", folder),
        ("evaluate", folder, "--data", dataset_path),
        ("train", "--resume", folder),
    ):
        result = run(*words)

        assert result.exit_code == 4, (words, result.output)
        assert "run.json" in result.stderr
    assert run("train", "--config", folder / "run.json", "--dry-run").exit_code == 2
    # One that cannot be read is not the newest, and in nobody's way.
    assert run("evaluate", "--data", dataset_path).exit_code == 4
