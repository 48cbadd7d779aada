from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import Result

import fercli
from fercli.config import NetworkConfig
from fercli.data import build_dataset, build_synthetic, open_dataset, save_dataset
from fercli.emotions import LABELS
from fercli.model_files import load_network, save_model
from fercli.runs import RunFolder

if TYPE_CHECKING:
    from fercli.data import Dataset

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


def test_both_forms_of_a_model_score_alike(
    run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    torch, onnx = (
        run_json("evaluate", path, "--data", dataset_path, "--split", "public")["data"]
        for path in (trained.model, trained.onnx)
    )

    assert torch["confusion_matrix"] == onnx["confusion_matrix"]
    assert torch["nll"] == pytest.approx(onnx["nll"], abs=1e-5)


def test_files_and_scores(run: Run, trained: RunFolder, dataset_path: Path, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(trained.path, copy.path)

    result = run("evaluate", copy.path, "--data", dataset_path, "--output", "scores")

    assert result.exit_code == 0
    for label in LABELS:
        assert label in result.stdout
    assert "95 % interval" in result.stdout
    metrics = json.loads(Path("scores/metrics.json").read_text())
    assert metrics["split"] == "private"
    with Image.open("scores/confusion-matrix.png") as image:
        assert min(image.size) > 500
    (line,) = copy.scores.read_text().splitlines()
    assert json.loads(line)["accuracy"] == metrics["accuracy"]
    assert run("evaluate", copy.path, "--output", "scores").exit_code == 2


def test_a_model_of_other_data_says_so(run: Run, trained: RunFolder, image_folder: Path) -> None:
    assert run("data", "prepare", image_folder, "--output", "own.safetensors").exit_code == 0

    shutil.copytree(trained.path, "copy")

    result = run(
        "evaluate", "copy", "--data", "own.safetensors", "--split", "public", "--output", "scores"
    )

    assert result.exit_code == 0
    assert "trained on synthetic faces only (synthetic:600)" in result.stderr
    assert "fitted on public of synthetic:600" in result.stdout
    assert "these very images" not in Path("scores/report.html").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_is_no_bug(trained: RunFolder, dataset_path: Path) -> None:
    words = ["evaluate", str(trained.onnx), "--data", str(dataset_path), "--json", "-q"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fercli", *words],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert done.returncode == 8
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1


def test_require(run: Run, trained: RunFolder, dataset_path: Path) -> None:
    words = ["evaluate", trained.onnx, "--data", dataset_path]

    assert run(*words, "--require", "accuracy=0").exit_code == 0
    assert run(*words, "--require", "accuracy=1").exit_code == 6
    assert run(*words, "--require", "accuracy=2").exit_code == 2
    assert run(*words, "--require", "loss=2").exit_code == 2


def test_missing_models_and_data(run: Run, trained: RunFolder) -> None:
    assert run("evaluate").exit_code == 4
    assert run("evaluate", "nothing.onnx").exit_code == 4
    assert run("evaluate", trained.onnx).exit_code == 3


@pytest.mark.parametrize("command", ["evaluate", "compare"])
@pytest.mark.parametrize(
    ("kept", "split", "sentence"),
    [
        ("train public private", "validation", "no complete validation split; it has {}"),
        ("train public", "test", "no complete test split; it has {}"),
        ("train", None, "no split to score on; it has {}"),
        ("", None, "no split to score on; it has no images"),
    ],
    ids=["unknown", "half", "only-train", "empty"],
)
def test_a_wrong_split_names_those_that_there_are(
    run: Run, trained: RunFolder, command: str, kept: str, split: str | None, sentence: str
) -> None:
    drawn = build_synthetic(60)
    rows = np.isin(drawn.splits, [drawn.split_names.index(name) for name in kept.split()])
    names = ("images", "labels", "splits", "source_row")
    dataset = build_dataset(
        {name: getattr(drawn, name)[rows] for name in names},
        label_names=drawn.label_names, split_names=drawn.split_names, source="mine",
    )  # fmt: skip
    save_dataset(Path("mine.safetensors"), dataset)
    models = [trained.onnx] if command == "evaluate" else [trained.onnx, trained.model]
    asked = ["--split", split] if split else []

    result = run(command, *models, "--data", "mine.safetensors", *asked)

    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines()[-2:] == [
        f"error: the dataset mine has {sentence.format(', '.join(kept.split()))}",
        "hint: choose one of these with --split",
    ]


def test_test_means_public_and_private_together(
    run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    words = ["evaluate", trained.onnx, "--data", dataset_path, "--split"]

    counts = [run_json(*words, split)["data"]["n_images"] for split in ("test", "public")]

    assert counts == [120, 60]


# A flipped bit in an ONNX file goes unnoticed: it carries no digest of its own.
@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        *(("model", damage) for damage in ("flip", "cut", "empty", "text")),
        *(("onnx", damage) for damage in ("cut", "empty", "text")),
    ],
)
def test_damaged_models_are_refused(
    run: Run, trained: RunFolder, tmp_path: Path, kind: str, damage: str
) -> None:
    whole: bytes = getattr(trained, kind).read_bytes()
    middle = len(whole) // 2
    damaged = {
        "flip": whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :],
        "cut": whole[:middle],
        "empty": b"",
        "text": b"not a model",
    }[damage]
    path = tmp_path / getattr(trained, kind).name
    path.write_bytes(damaged)

    result = run("evaluate", path, "--data", "synthetic:100")

    assert result.exit_code == 4
    assert result.stdout == ""


def test_the_newest_finished_run_is_taken_and_said(
    run: Run, trained: RunFolder, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "runs/older")
    shutil.copytree(trained.path, "runs/newer")
    record = json.loads(Path("runs/newer/run.json").read_text())
    Path("runs/newer/run.json").write_text(
        json.dumps({**record, "finished_at": "2999-01-01T00:00:00.000+00:00"})
    )

    result = run("evaluate", "--data", dataset_path)

    assert "runs/newer" in result.stderr


def test_accuracy_agrees_with_predictions(
    run: Run, run_json: RunJson, trained: RunFolder, faces: Dataset, dataset_path: Path
) -> None:
    folder = Path("private")
    subset = faces.select("private")
    for number, (image, label) in enumerate(zip(subset.images, subset.labels, strict=True)):
        target = folder / LABELS[label] / f"{number:03}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)
    scored = run_json("evaluate", trained.model, "--data", dataset_path)["data"]

    result = run("predict", folder, "--model", trained.onnx, "--format", "csv")

    rows = list(csv.DictReader(result.stdout.splitlines()))
    right = sum(Path(row["path"]).parent.name == row["label"] for row in rows)
    assert right / len(rows) == pytest.approx(scored["accuracy"])


def test_device_names_are_checked(
    run: Run, trained: RunFolder, dataset_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in (trained.model, trained.onnx):
        words = ["evaluate", model, "--data", dataset_path]
        assert run(*words, "--device", "gpu").exit_code == 2
        assert run(*words, "--device", "cuda:99").exit_code == 5
    monkeypatch.setenv("FERCLI_DEVICE", "gpu")
    assert run("evaluate", trained.onnx, "--data", dataset_path).exit_code == 2
    assert run("evaluate", trained.onnx, "--data", dataset_path, "--device", "cpu").exit_code == 0


def test_a_model_of_nans_is_refused(
    run: Run, trained: RunFolder, dataset_path: Path, tmp_path: Path
) -> None:
    network, metadata = load_network(trained.model)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    path = tmp_path / "nan.safetensors"
    save_model(path, network, NetworkConfig(stem_width=4, widths=(8, 16)), metadata)

    result = run("evaluate", path, "--data", dataset_path)

    assert result.exit_code == 4
    assert "not numbers" in result.stderr


def test_an_output_that_cannot_be_written_is_one_sentence(
    run: Run, trained: RunFolder, dataset_path: Path
) -> None:
    Path("file").touch()

    result = run("evaluate", trained.onnx, "--data", dataset_path, "--output", "file/below")

    assert result.exit_code == 8
    assert "Not a directory" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_run_is_scored_on_what_it_learned_from(
    run: Run, run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    copies = [Path("one"), Path("two")]
    for copy in copies:
        shutil.copytree(trained.path, copy)

    asked = run_json("evaluate", "one")["data"]
    compared = run_json("compare", *copies)["data"]
    shown = run("evaluate", "one").stdout

    assert asked["dataset"]["sha256"] == open_dataset(dataset_path).sha256
    assert compared["dataset"] == asked["dataset"]
    assert f"sha256 {asked['dataset']['sha256'][:12]}" in shown
    assert fercli.load("one").evaluate().result.dataset == asked["dataset"]
    assert fercli.compare(copies).result.dataset == asked["dataset"]


def test_a_run_whose_data_is_gone_is_scored_on_the_default(run: Run, trained: RunFolder) -> None:
    copy = RunFolder(Path("copy"))
    shutil.copytree(trained.path, copy.path)
    record = json.loads(copy.record.read_text())
    record["dataset"]["data"] = "gone.csv"
    copy.record.write_text(json.dumps(record))

    result = run("evaluate", copy.path)

    assert result.exit_code == 3
    assert "there is no prepared dataset" in result.stderr


def test_a_table_is_written_and_kept(run: Run, trained: RunFolder, dataset_path: Path) -> None:
    words = ["evaluate", trained.onnx, "--data", dataset_path, "--split", "public", "--table"]

    assert run(*words, "scores.tex").exit_code == 0

    text = Path("scores.tex").read_text()
    assert text.startswith("% ")
    assert "on public of" in text.splitlines()[0]
    assert r"\begin{tabular}{lrrrr}" in text
    assert run(*words, "scores.tex").exit_code == 2
    assert run(*words, "scores.doc").exit_code == 2
    assert run(*words, dataset_path, "--force").exit_code == 2


def test_pictures_may_be_vectors(run: Run, trained: RunFolder, dataset_path: Path) -> None:
    words = ["evaluate", trained.onnx, "--data", dataset_path, "--output", "scores", "--figures"]
    assert run(*words, "gif").exit_code == 2
    assert run(*words, "svg").exit_code == 0
    names = {path.name for path in Path("scores").iterdir()}
    assert "confusion-matrix.svg" in names
    assert not [name for name in names if name.endswith(".png")]
    assert "data:image/png" in Path("scores/report.html").read_text()
    assert run(*words, "pdf").exit_code == 2

    assert run(*words, "pdf", "--force").exit_code == 0

    after = {path.name for path in Path("scores").iterdir()}
    assert "confusion-matrix.pdf" in after
    assert not [name for name in after if name.endswith((".png", ".svg"))]
