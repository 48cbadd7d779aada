from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import Result

import fercli

if TYPE_CHECKING:
    from fercli.runs import RunFolder

Run = Callable[..., Result]


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"fer {fercli.__version__}\n"


def test_no_words_show_the_help(run: Run) -> None:
    result = run()

    assert result.exit_code == 2
    assert "predict" in result.stderr


def test_unknown_commands_get_one_sentence(run: Run) -> None:
    result = run("teach")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_verbose_adds_the_traceback(run: Run) -> None:
    assert "Traceback" not in run("evaluate").stderr
    assert "Traceback" in run("evaluate", "-v").stderr


def test_info(run: Run, trained: RunFolder) -> None:
    environment = run("info")
    model = run("info", trained.path)

    assert environment.exit_code == model.exit_code == 0
    assert "onnxruntime" in environment.stdout
    assert "angry, disgust" in model.stdout
    assert run("info", "nothing").exit_code == 4


def test_info_refuses_what_is_no_model(run: Run, trained: RunFolder, dataset_path: Path) -> None:
    assert run("info", dataset_path).exit_code == 4
    assert run("info", next(trained.checkpoints.iterdir())).exit_code == 4


def test_python_dash_m_works() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fercli", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout == f"fer {fercli.__version__}\n"


def test_a_broken_pipe_ends_quietly(trained: RunFolder, face_files: Path) -> None:
    command = (
        f"{sys.executable} -m fercli predict {face_files} --model {trained.onnx} --format jsonl"
        " | true; echo ${PIPESTATUS[0]}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert done.stdout == "0\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
