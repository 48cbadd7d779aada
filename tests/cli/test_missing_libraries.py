from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

import fercli
from fercli.dependencies import explain_missing
from fercli.errors import DependencyMissingError

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
Hide = Callable[[str], None]


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Hide:
    """Make a library look as if it was not installed; others that are loaded keep it."""

    class Finder:
        @staticmethod
        def find_spec(name: str, _path: Sequence[str] | None, _target: object) -> ModuleSpec | None:
            if name.partition(".")[0] in hidden:
                message = f"No module named {name!r}"
                raise ModuleNotFoundError(message, name=name)
            return None

    hidden: set[str] = set()
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])

    def call(library: str) -> None:
        hidden.add(library)
        for name in list(sys.modules):
            if name.partition(".")[0] == library:
                monkeypatch.delitem(sys.modules, name)

    return call


def test_photos_without_opencv(run: Run, trained: RunFolder, photo: Path, hide: Hide) -> None:
    hide("cv2")

    result = run("predict", photo, "--model", trained.onnx, "--output", "rows.csv")

    assert result.exit_code == 5
    assert result.stdout == ""
    assert result.stderr.splitlines()[-2:] == [
        "error: OpenCV cannot be imported (No module named 'cv2')",
        "hint: pip install 'opencv-python-headless<5'; face crops need no detector: --faces whole",
    ]
    assert not Path("rows.csv").exists()
    # Without a row there is nothing to go on with, so that the same command works afterwards.
    assert not Path("rows.csv.partial").exists()
    assert run("predict", photo, "--model", trained.onnx, "--faces", "whole").exit_code == 0


def test_faces_need_no_opencv(run: Run, trained: RunFolder, face_files: Path, hide: Hide) -> None:
    hide("cv2")

    assert run("predict", face_files, "--model", trained.onnx).exit_code == 0


def test_parquet_without_pyarrow(
    run: Run, trained: RunFolder, face_files: Path, hide: Hide
) -> None:
    hide("pyarrow")

    result = run("predict", face_files, "--model", trained.onnx, "--output", "rows.parquet")

    assert result.exit_code == 5
    assert result.stderr.splitlines()[-2:] == [
        (
            "error: pyarrow, which reads and writes Parquet, cannot be imported "
            "(No module named 'pyarrow')"
        ),
        "hint: pip install 'fercli[parquet]'",
    ]
    assert list(Path().glob("rows*")) == []


def test_stores_and_tables_without_their_libraries(
    run: Run, trained: RunFolder, hide: Hide
) -> None:
    hide("obstore")
    hide("pyarrow")
    Path("a.parquet").write_bytes(b"PAR1")
    words = ["--model", trained.onnx, "--output", "rows.jsonl"]

    store = run("predict", "s3://bucket/a/", *words)
    table = run("predict", "a.parquet", *words)

    assert store.exit_code == table.exit_code == 5
    assert store.stderr.splitlines()[-2:] == [
        "error: obstore, which reads stores, cannot be imported (No module named 'obstore')",
        "hint: pip install 'fercli[cloud]'",
    ]
    assert table.stderr.splitlines()[-1] == "hint: pip install 'fercli[parquet]'"
    assert list(Path().glob("rows*")) == []


@pytest.mark.parametrize(
    ("library", "consequence", "hint"),
    [
        ("matplotlib", ", so pictures cannot be drawn", "pip install matplotlib"),
        ("sklearn", "", "pip install scikit-learn"),
    ],
)
def test_scores_without_a_library(
    run: Run, trained: RunFolder, hide: Hide, library: str, consequence: str, hint: str
) -> None:
    hide(library)

    result = run("evaluate", trained.onnx, "--data", "synthetic:100", "--output", "scores")

    assert result.exit_code == 5
    assert result.stdout == ""
    assert result.stderr.splitlines()[-2:] == [
        f"error: {library} cannot be imported (No module named {library!r}){consequence}",
        f"hint: {hint}",
    ]
    assert not Path("scores").exists()


def test_images_without_pillow(
    run_json: RunJson, trained: RunFolder, face_files: Path, hide: Hide
) -> None:
    hide("PIL")

    envelope = run_json("predict", face_files, "--model", trained.onnx, status=5)

    (error,) = envelope["errors"]
    assert error == {
        "code": "dependency-missing",
        "message": "PIL cannot be imported (No module named 'PIL')",
        "hint": "pip install pillow",
    }


def test_hints_name_packages_that_fercli_asks_for() -> None:
    root = Path(fercli.__file__).parent
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    packages = {re.split(r"[<>=~]", text)[0] for text in project["dependencies"]}
    packages |= {"fercli", *(f"fercli[{extra}]" for extra in project["optional-dependencies"])}
    modules = ("PIL", "cv2", "huggingface_hub", "pyarrow", "sklearn", "numpy", "pandas", "scipy")
    hints = [explain_missing(name, ImportError(name)).hint for name in modules]

    texts = [*hints, *(path.read_text(encoding="utf-8") for path in root.rglob("*.py"))]

    named = [words for text in texts for words in re.findall(r"pip install ([^\"{;,\n]+)", text)]
    words = {word.strip("'`") for text in named for word in text.split() if word[0] != "-"}
    asked = {re.split(r"[<>=~]", word)[0] for word in words}
    assert len(named) > len(hints) + 4
    assert asked - packages == set()


@pytest.mark.usefixtures("bundled")
def test_info_names_what_is_missing(
    run: Run, run_json: RunJson, hide: Hide, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> str:
        if name in {"opencv-python-headless", "pillow"}:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("importlib.metadata.version", find)
    for library in ("torch", "onnxruntime"):
        hide(library)

    data = run_json("info")["data"]
    shown = run("info")

    assert data["problems"] == [
        "pillow is not installed",
        "opencv-python-headless is not installed",
        "torch cannot be imported (No module named 'torch'): no training",
        (
            "onnxruntime cannot be imported (No module named 'onnxruntime'): no ONNX models "
            "(pip install onnxruntime)"
        ),
    ]
    assert data["versions"]["pillow"] is None
    assert data["versions"]["numpy"] == version("numpy")
    assert data["providers"] == []
    assert [device["device"] for device in data["devices"]] == ["cpu"]
    assert shown.exit_code == 0
    assert shown.stderr.splitlines() == [f"warning: {text}" for text in data["problems"]]


@pytest.mark.usefixtures("bundled")
def test_info_names_a_torchvision_that_is_missing(run_json: RunJson, hide: Hide) -> None:
    hide("torchvision")

    problems = run_json("info")["data"]["problems"]

    assert problems == [
        "torchvision cannot be imported (No module named 'torchvision'): no torchvision networks"
    ]


LEFT_OUT = (
    "torch", "torchvision", "pandas", "sklearn", "scipy", "matplotlib", "jinja2", "onnx",
    "onnxscript", "kagglehub", "kagglesdk",
)  # fmt: skip


@pytest.fixture
def lite(hide: Hide, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this look like `fercli-lite`; `nox -s lite` uses the real one."""
    for name in LEFT_OUT:
        hide(name)
    installed = {"fercli-lite": fercli.__version__}
    for place in ("dependencies", "environment"):
        monkeypatch.setattr(f"fercli.{place}.find_distributions", lambda: installed)


@pytest.mark.usefixtures("lite")
@pytest.mark.parametrize(
    ("words", "module"),
    [
        ("train --data synthetic:100", "torch"),
        ("evaluate model.onnx --data synthetic:100", "scikit-learn"),
        ("compare a.onnx b.onnx", "scikit-learn"),
        ("export", "torch"),
        ("explain face.png", "matplotlib"),
        ("demo", "torch"),
        ("data check synthetic:100 --output audit", "matplotlib"),
        ("predict face.png --timeline chart.png", "matplotlib"),
    ],
)
def test_lite_refuses_before_it_does_anything(run: Run, words: str, module: str) -> None:
    result = run(*words.split())

    error, hint = result.stderr.splitlines()[-2:]
    assert result.exit_code == 5
    assert result.stdout == ""
    assert error.startswith(f"error: {module} is not part of fercli-lite")
    assert hint == "hint: pip install fercli, in a separate environment"
    assert list(Path().iterdir()) == []


@pytest.mark.usefixtures("lite")
def test_lite_says_in_its_help_what_it_can_do(run: Run) -> None:
    shown = " ".join(run("--help").stdout.split())

    assert shown.endswith(
        "This is fercli-lite: predict, serve, info, models, data prepare and data check work. The "
        "other commands need fercli: pip install fercli, in a separate environment."
    )


def test_the_help_of_fercli_says_nothing_of_lite(run: Run) -> None:
    assert "fercli-lite" not in run("--help").stdout


@pytest.mark.usefixtures("lite", "bundled")
def test_info_of_lite_misses_nothing_of_the_rest(run_json: RunJson) -> None:
    data = run_json("info")["data"]

    assert data["problems"] == []
    assert data["versions"]["fercli-lite"] == fercli.__version__
    assert not {"torch", "scikit-learn", "onnx"} & set(data["versions"])
    assert "onnxruntime" in data["versions"]


@pytest.mark.usefixtures("lite")
def test_lite_names_its_own_extras(hide: Hide, run: Run, trained: RunFolder, photo: Path) -> None:
    hide("pyarrow")

    result = run("predict", photo, "--model", trained.onnx, "--output", "rows.parquet")

    assert result.stderr.splitlines()[-1] == "hint: pip install 'fercli-lite[parquet]'"


@pytest.mark.usefixtures("bundled")
def test_info_notices_both_packages(run_json: RunJson, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"fercli": "0.1.0", "fercli-lite": "0.1.0"}
    monkeypatch.setattr("fercli.environment.find_distributions", lambda: both)

    problems = run_json("info")["data"]["problems"]

    assert problems == [
        (
            "fercli and fercli-lite are both installed, and removing one breaks the other: "
            "pip uninstall fercli fercli-lite, then install one of them"
        )
    ]


@pytest.mark.usefixtures("lite")
@pytest.mark.parametrize(
    "call",
    [
        lambda: fercli.train("synthetic:100"),
        lambda: fercli.compare(["a.onnx", "b.onnx"]),
    ],
    ids=["train", "compare"],
)
def test_the_library_of_lite_refuses_alike(call: Callable[[], object]) -> None:
    with pytest.raises(DependencyMissingError, match="is not part of fercli-lite"):
        call()
