from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fercli.runs import RunFolder

HEAVY = {"torch", "torchvision", "sklearn", "scipy", "pandas", "matplotlib", "cv2", "onnx"}

PROBE = """
import json, sys
sys.argv = ["fer", *json.loads(sys.argv[1])]
from fercli.cli import main
try:
    main()
except SystemExit as end:
    status = end.code or 0
print("MODULES " + json.dumps([status, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def list_modules(*words: object) -> tuple[int, set[str]]:
    """Run a command in a new process; return its status and the top names of its modules."""
    arguments = json.dumps([str(word) for word in words])
    done = subprocess.run(
        [sys.executable, "-c", PROBE, arguments], capture_output=True, text=True, check=True
    )
    status, modules = json.loads(done.stdout.rpartition("MODULES ")[2])
    return status, set(modules)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["train", "--help"], 0),
        (["evaluate", "--help"], 0),
        (["export", "--help"], 0),
        (["predict", "--help"], 0),
        (["info", "--help"], 0),
        (["demo", "--help"], 0),
        (["data", "prepare", "--help"], 0),
        (["train", "--epoch", "3"], 2),
        (["train", "--recipe", "fsat"], 2),
        (["train", "--recipe", "fsat", "--batch-size", "64"], 2),
        (["predict", "missing.png"], 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_help_and_usage_errors_import_nothing_heavy(words: list[str], status: int) -> None:
    ended, modules = list_modules(*words)

    assert ended == status
    assert not modules & HEAVY


def test_help_imports_neither_numpy_nor_rich() -> None:
    _, modules = list_modules("--help")

    assert not modules & {"numpy", "PIL", "rich", "click"}


@pytest.mark.parametrize("words", ["train --network", "evaluate", "predict --model"])
def test_completion_imports_nothing_heavy(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_FER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"fer {words} ")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) + 1))

    ended, modules = list_modules()

    assert ended == 0
    assert not modules & HEAVY


def test_data_prepare_imports_no_torch(tmp_path: Path) -> None:
    status, modules = list_modules(
        "data", "prepare", "synthetic:100", "--output", tmp_path / "drawn.safetensors"
    )

    assert status == 0
    assert not modules & HEAVY


def test_onnx_predict_imports_no_torch(trained: RunFolder, face_files: Path) -> None:
    for model in (trained.onnx, trained.path):
        status, modules = list_modules("predict", face_files, "--model", model)

        assert status == 0
        assert not modules & HEAVY


def test_importing_the_package_is_light() -> None:
    code = "import sys; before = len(sys.modules); import fercli; print(len(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 50
