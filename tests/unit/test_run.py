from __future__ import annotations

import ast
import dataclasses
import doctest
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import fercli
import fercli.cli.demo
import fercli.run
from fercli.errors import ConfigError, DatasetNotFoundError, ModelFileError
from fercli.paths import find_default_dataset
from fercli.runs import read_run_record

if TYPE_CHECKING:
    from fercli.data import Dataset
    from fercli.results import EpochReport
    from fercli.runs import RunFolder

SMALL: dict[str, Any] = {
    "recipe": "fast", "stem_width": 4, "widths": (8,), "epochs": 2, "batch_size": 40,
    "sizes_px": (48,), "device": "cpu", "precision": "fp32",
}  # fmt: skip

LOOP = """
>>> import fercli
>>> data = fercli.load_dataset("fer2013.csv")
>>> run = fercli.train(data, recipe="fast", epochs=5, batch_size=2, output="runs/mine")
>>> 0 <= run.model.evaluate(data, split="public").accuracy <= 1
True
>>> run.model.export("face.onnx", check_on=data).label_agreement
1.0
>>> model = fercli.load("runs/mine")
>>> for face in model.predict("photo.jpg"):
...     _ = (face.label, face.confidence, face.box)
>>> rows = model.predict_files("photo.jpg")
>>> [row.status for row in rows]
['ok']
>>> fercli.compare([model, "face.onnx"], data, split="public").result.n_disagreements
0
>>> fercli.resume("runs/mine").is_finished
True
"""


def test_the_whole_loop(
    make_table: Any, table_rows: list[tuple[int, str, str]], photo: Path, tmp_path: Path
) -> None:
    make_table(tmp_path / "fer2013.csv", table_rows)
    (tmp_path / "photo.jpg").write_bytes(photo.read_bytes())
    test = doctest.DocTestParser().get_doctest(LOOP, {}, "the whole loop", None, 0)

    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)

    assert result.attempted > 8
    assert result.failed == 0


def test_the_docstrings_are_true() -> None:
    assert doctest.testmod(fercli.run).failed == 0


def test_a_run_tells_what_came_of_it(dataset_path: Path) -> None:
    reports: list[EpochReport] = []

    run = fercli.train(dataset_path, output="runs/mine", on_progress=reports.append, **SMALL)

    assert [report.epoch for report in reports] == [1, 2]
    assert list(run.metrics["epoch"]) == [1, 2]
    assert run.result is not None
    assert run.record["dataset"]["data"] == str(dataset_path)
    assert run.command.startswith("fer train --recipe fast")
    assert run.plot().axes
    assert f"{run.result.validation_accuracy:.2%}" in repr(run)
    assert "validation_accuracy" in run._repr_html_()
    assert run.model.name == os.fspath(run)
    assert fercli.Run("runs/mine").is_finished


def test_a_run_is_fine_tuned(dataset_path: Path, trained: RunFolder) -> None:
    whole = {name: SMALL[name] for name in SMALL if name not in {"stem_width", "widths"}}
    begun = fercli.Run(trained.path)
    configs = []
    for number, init in enumerate((begun, begun.model, trained.model)):
        run = fercli.train(
            dataset_path, output=f"runs/{number}", init=init, **{**whole, "epochs": 1}
        )
        configs.append(run.record["config"]["init"])
        assert run.record["init"]["head"] == "kept"
        assert run.record["config"]["widths"] == [8, 16]

    assert configs == [str(trained.path), str(trained.path), str(trained.model)]
    with pytest.raises(ConfigError, match="widths=8,16, and not"):
        fercli.train(dataset_path, output="new", init=begun, **SMALL)
    with pytest.raises(ModelFileError, match="which can be used but not trained"):
        fercli.train(dataset_path, output="new", init=trained.onnx, **whole)
    assert not Path("new").exists()


def test_misuse_is_refused_as_on_the_command_line(
    faces: Dataset, dataset_path: Path, trained: RunFolder
) -> None:
    with pytest.raises(fercli.RunExistsError, match="is already there"):
        fercli.train(faces, output=trained.path, **SMALL)
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        fercli.train(faces, output="new", epoch=3)
    with pytest.raises(
        ConfigError,
        match=r"dropout must .*; epochs must ",
    ):
        fercli.train(faces, output="new", epochs=0, dropout=7.0)
    with pytest.raises(ConfigError, match="batch_size 4000 is more than"):
        fercli.train(faces, output="new", batch_size=4000)
    with pytest.raises(DatasetNotFoundError):
        fercli.train("missing.csv", output="new")
    with pytest.raises(ModelFileError, match="is not a run"):
        fercli.resume("new", dataset_path)
    with pytest.raises(ModelFileError, match="is not a run"):
        fercli.Run("new")
    assert not Path("new").exists()


def test_a_run_is_gone_on_with(faces: Dataset, dataset_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(_report: EpochReport) -> None:
        raise StopError

    nameless = dataclasses.replace(faces, source="elsewhere.csv")
    with pytest.raises(StopError):
        fercli.train(nameless, output="cut", on_progress=stop, **SMALL)
    with pytest.raises(DatasetNotFoundError, match="does not say where its data is"):
        fercli.resume("cut")
    with pytest.raises(ModelFileError, match="other data"):
        fercli.resume("cut", "synthetic:100")

    run = fercli.resume("cut", dataset_path)

    assert run.is_finished
    assert fercli.resume(run).path == run.path


def test_a_run_on_the_default_dataset_is_gone_on_with(dataset_path: Path) -> None:
    default = find_default_dataset()
    default.parent.mkdir(parents=True, exist_ok=True)
    default.write_bytes(dataset_path.read_bytes())
    run = fercli.train(output="short", **{**SMALL, "epochs": 1})

    longer = fercli.resume("short", epochs=2)

    assert run.result
    assert longer.result
    assert longer.result.epochs == 2
    moved = dataset_path.parent / "moved.safetensors"
    moved.write_bytes(dataset_path.read_bytes())
    fercli.resume("short", moved, epochs=3, output="moved")
    assert read_run_record(Path("moved")).dataset.data == str(moved.resolve())


def test_importing_is_quick() -> None:
    code = (
        "import sys, fercli; "
        "print(sorted({'torch', 'numpy', 'pandas', 'PIL', 'onnxruntime'} & set(sys.modules)), "
        "len([name for name in sys.modules if name.startswith('fercli')]))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[] 1"


def test_every_public_name_is_there() -> None:
    assert all(getattr(fercli, name) is not None for name in fercli.__all__)
    assert set(dir(fercli)) == set(fercli.__all__)


def test_the_demo_uses_the_public_interface_alone() -> None:
    tree = ast.parse(Path(fercli.cli.demo.__file__).read_text(encoding="utf-8"))
    used = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.split(".")[0] == "fercli"
    }

    assert {name for name in used if not name.startswith("fercli.cli")} == {
        "fercli", "fercli.results",
    }  # fmt: skip
