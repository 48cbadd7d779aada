from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

from fercli.audit import check_dataset, write_findings
from fercli.data import Dataset, load_data, open_dataset, save_dataset
from fercli.errors import ConfigError
from fercli.evaluation import evaluate, write_files
from fercli.export import ParityImages, check_target, export_model, export_quantized, join_models
from fercli.model_files import find_model, open_runtime
from fercli.prediction import FilePrediction, find_images
from fercli.prediction.annotate import Montage
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.training import train

if TYPE_CHECKING:
    from fercli.config import TrainConfig

Run = Callable[..., Result]
Words = list[object]


@pytest.fixture(autouse=True)
def inputs(
    trained: RunFolder, dataset_path: Path, face_files: Path, tmp_path: Path
) -> Iterator[None]:
    """Lay inputs of every kind into the working folder; whatever a test does, they stay."""
    shutil.copytree(trained.path, tmp_path / "run")
    shutil.copyfile(dataset_path, tmp_path / "faces.safetensors")
    shutil.copytree(face_files, tmp_path / "labeled" / "train" / "happy")
    for number in range(3):
        shutil.copyfile(face_files / f"face-{number}.png", tmp_path / f"{number}.png")
    Path("here").symlink_to(".")
    Path("soft.png").symlink_to("0.png")
    os.link("1.png", "hard.png")
    shutil.copyfile(trained.onnx, "m.onnx")
    Path("soft.onnx").symlink_to("m.onnx")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    yield

    assert {path: path.read_bytes() for path in before} == before
    assert not list(tmp_path.rglob("*.partial"))


PREDICT: Words = ["predict", "0.png", "1.png", "2.png", "--model", "m.onnx"]
EVALUATE: Words = ["evaluate", "run", "--data", "faces.safetensors", "--output"]


@pytest.mark.parametrize(
    ("words", "output", "source"),
    [
        ([*PREDICT, "--montage"], "0.png", "0.png"),
        ([*PREDICT, "--montage"], "./0.png", "0.png"),
        ([*PREDICT, "--montage"], "here/0.png", "0.png"),
        ([*PREDICT, "--montage"], "soft.png", "0.png"),
        ([*PREDICT, "--montage"], "hard.png", "1.png"),
        (["predict", "soft.png", "--model", "m.onnx", "--montage"], "0.png", "soft.png"),
        (["predict", "faces", "--model", "m.onnx", "--montage"], "faces/face-1.png",
         "faces/face-1.png"),
        (["predict", "*.png", "--model", "m.onnx", "--montage"], "2.png", "2.png"),
        ([*PREDICT, "--format", "csv", "--output"], "1.png", "1.png"),
        ([*PREDICT, "--format", "csv", "--output"], "m.onnx", "m.onnx"),
        (["info", "m.onnx", "--card"], "m.onnx", "m.onnx"),
        (["info", "m.onnx", "--card"], "soft.onnx", "m.onnx"),
        (["info", "run", "--diagram"], "run/model.safetensors", "run/model.safetensors"),
        (["info", "run", "--card"], "run/run.json", "run/run.json"),
        (["info", "run", "--card"], "run/model.onnx", "run/model.onnx"),
        (["export", "run", "--output"], "run/model.safetensors", "run/model.safetensors"),
        (["export", "run", "--output"], "run/run.json", "run/run.json"),
        (["export", "m.onnx", "--output"], "here/m.onnx", "m.onnx"),
        (["export", "run/model.onnx", "--output"], "run/model.onnx", "run/model.onnx"),
        (["export", "run", "m.onnx", "--output"], "m.onnx", "m.onnx"),
        (["data", "prepare", "faces.safetensors", "--output"], "faces.safetensors",
         "faces.safetensors"),
        (["data", "prepare", "labeled", "--output"], "labeled/train/happy/face-0.png",
         "labeled/train/happy/face-0.png"),
    ],
)  # fmt: skip
def test_no_output_lands_on_an_input(run: Run, words: Words, output: str, source: str) -> None:
    result = run(*words, output, "--force")

    assert result.exit_code == 2, result.output
    message = f"the output {Path(output)} would overwrite the input {source}"
    assert message in result.stderr
    assert run(*words, output).exit_code == 2


@pytest.mark.parametrize("name", ["x.json", "x.textproto", "x.onnxtxt", "x"])
def test_an_export_is_named_as_one(run: Run, name: str) -> None:
    for words in (["run"], ["run", "--fp16"], ["m.onnx"], ["run", "m.onnx"]):
        result = run("export", *words, "--output", f"run/{name}")

        assert result.exit_code == 2
        assert f"run/{name} does not end in .onnx" in result.stderr
    assert not Path(f"run/{name}").exists()


def test_a_run_may_be_exported_anew_into_itself() -> None:
    check_target(Path("run/model.onnx"), [find_model("run")])
    with pytest.raises(ConfigError):
        check_target(Path("run/model.onnx"), [find_model("run", prefer_onnx=True)])


@pytest.mark.parametrize(
    ("words", "output", "source"),
    [
        (EVALUATE, "metrics.json", "faces.safetensors"),
        (EVALUATE, "report.html", "run/model.safetensors"),
        (["explain", "0.png", "--model", "run", "--output"], "0001-0.png", "0.png"),
        (["compare", "run", "m.onnx", "--data", "faces.safetensors", "--output"],
         "comparison.json", "m.onnx"),
        (["data", "check", "faces.safetensors", "--no-near", "--output"], "sheet-3-happy.png",
         "faces.safetensors"),
        (["data", "check", "labeled", "--no-near", "--output"], "mean-faces.png",
         "labeled/train/happy/face-0.png"),
        (["train", "--data", "faces.safetensors", "--output"], "curves.png", "faces.safetensors"),
        (["train", "--data", "labeled", "--output"], "checkpoints/step-00000001.safetensors",
         "labeled/train/happy/face-1.png"),
        (["train", "--data", "faces.safetensors", "--teacher", "m.onnx", "--output"], "model.onnx",
         "m.onnx"),
        (["train", "--data", "faces.safetensors", "--init", "run", "--output"], "model.onnx",
         "run/model.safetensors"),
        (["train", "--data", "faces.safetensors", "--config", "run/run.json", "--output"],
         "members/1/run.json", "run/run.json"),
        (["train", "--data", "faces.safetensors", "--network", "resnet18", "--set",
          "pretrained_weights=m.onnx", "--output"], "log.txt", "m.onnx"),
    ],
)  # fmt: skip
def test_no_file_of_a_folder_lands_on_an_input(
    run: Run, words: Words, output: str, source: str
) -> None:
    target = Path("out") / output
    target.parent.mkdir(parents=True)
    os.link(source, target)

    result = run(*words, "out", "--force")

    assert result.exit_code == 2, result.output
    assert f"the output {target} would overwrite the input " in result.stderr
    assert result.stderr.split(" the input ")[1].startswith((source, str(Path(source).resolve())))
    assert target.samefile(source)


def test_a_run_is_not_trained_anew_over_its_own_configuration(run: Run) -> None:
    result = run("train", "--config", "run/run.json", "--output", "run", "--force")

    assert result.exit_code == 2
    assert "run/run.json" in result.stderr


def test_names_that_come_on_stdin_are_inputs_too(run: Run) -> None:
    words = ["predict", "-", "--model", "m.onnx", "--force", "--montage"]
    Path("made").mkdir()
    shutil.copyfile("0.png", "made/0.png")

    montage = run(*words, "1.png", stdin="0.png\n1.png\n")
    folder = run(*words, "s.png", "--annotate", "made", stdin="0.png\nmade/0.png\n")

    assert montage.exit_code == folder.exit_code == 2
    assert "the output 1.png would overwrite the input 1.png" in montage.stderr
    assert "made/0.png is in" in folder.stderr
    assert Path("made/0.png").read_bytes() == Path("0.png").read_bytes()


def test_what_an_earlier_command_wrote_among_the_inputs_is_written_anew(run: Run) -> None:
    sheet = ["predict", "faces", "--model", "m.onnx", "--montage", "faces/sheet.png"]
    rows = ["--output", "faces/rows.txt", "--format"]

    for row_format in ("csv", "jsonl"):
        assert run(*sheet, *rows, row_format, "--force").exit_code == 0
        assert run(*sheet, *rows, row_format, "--force").exit_code == 0
    dataset = ["data", "prepare", "labeled", "--output", "labeled/faces.safetensors"]
    Path("one").mkdir()
    shutil.copyfile("0.png", "one/0.png")
    maps = ["explain", "here/one", "--model", "m.onnx", "--output", "one/maps"]
    for words in (dataset, maps):
        assert run(*words).exit_code == 0
        assert run(*words, "--force").exit_code == 0


def test_python_callers_are_refused_too(faces: Dataset, tiny_config: TrainConfig) -> None:
    torch, onnx = find_model("run"), find_model("m.onnx")
    parity = ParityImages(faces.images[:2], "drawn")
    dataset = open_dataset(Path("faces.safetensors"))
    evaluation = evaluate(open_runtime(onnx), onnx, dataset, "public")
    Path("out").mkdir()
    os.link("m.onnx", "out/report.html")
    os.link("faces.safetensors", "out/findings.csv")
    os.link("faces.safetensors", "out/model.safetensors")
    taught = build_config({"teacher": ("m.onnx",)}, base=tiny_config)
    Path("student").mkdir()
    os.link("m.onnx", "student/model.onnx")

    calls: list[Callable[[], object]] = [
        lambda: export_model(onnx, Path("m.onnx"), parity),
        lambda: export_model(torch, Path("run/x.json"), parity),
        lambda: export_quantized(onnx, Path("soft.onnx"), parity, None),  # type: ignore[arg-type]  # comes to nothing
        lambda: join_models([torch, onnx], Path("m.onnx"), parity),
        lambda: save_dataset(Path("here/faces.safetensors"), dataset),
        lambda: write_files(evaluation, Path("out")),
        lambda: write_findings(check_dataset(dataset, near=False), Path("out")),
        lambda: train(dataset, tiny_config, RunFolder(Path("out"))),
        lambda: train(load_data("synthetic:100"), taught, RunFolder(Path("student"))),
        lambda: find_images(["0.png"], outputs=[Path("soft.png")]),
        lambda: Montage(Path("0.png")).add(FilePrediction(Path("soft.png"), (), faces.images[:0])),
    ]
    for call in calls:
        with pytest.raises(ConfigError):
            call()
