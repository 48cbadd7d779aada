from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

import fercli
from fercli.model_files import find_model

if TYPE_CHECKING:
    from fercli.runs import RunFolder

ASSETS = Path(fercli.__file__).parent / "assets"
Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("words", ["", "train", "data", "data prepare", "models", "models list"])
def test_version_and_help_at_every_level(run: Run, words: str) -> None:
    for flag in ("--version", "-V"):
        assert run(*words.split(), flag).stdout == f"fer {fercli.__version__}\n"
    for flag in ("--help", "-h"):
        assert run(*words.split(), flag).stdout.startswith(f"Usage: fer {words}".strip())


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


@pytest.mark.usefixtures("weights_alone")
def test_info_says_how_to_repeat_a_run(run: Run, run_json: RunJson, dataset_path: Path) -> None:
    words = [
        "train", "--recipe", "fast", "--seed", "3", "--device", "cpu", "--precision", "fp32",
        "--set", "stem_width=4", "--set", "widths=8,8", "--set", "epochs=1",
        "--set", "batch_size=60", "--set", "sizes_px=48", "--data", str(dataset_path),
    ]  # fmt: skip
    run_json(*words, "--output", "first")

    command = run_json("info", "first")["data"]["trained"]["command"]
    run_json(*shlex.split(command)[1:], "--output", "second")

    digests = [find_model(name).compute_digest() for name in ("first", "second")]
    assert digests[0] == digests[1]
    assert command in run("info", "first").stdout.replace("\n", " ")


@pytest.mark.usefixtures("weights_alone")
def test_a_card_says_how_to_repeat_a_run_without_naming_folders(
    run: Run, run_json: RunJson, dataset_path: Path
) -> None:
    run_json(
        "train", "--recipe", "fast", "--epochs", 1, "--batch-size", 60, "--set", "widths=8",
        "--device", "cpu", "--data", dataset_path, "--output", "first",
    )  # fmt: skip

    assert run("info", "first", "--card", "CARD.md").exit_code == 0

    card = Path("CARD.md").read_text()
    assert f"--data {dataset_path.name}" in card
    assert str(dataset_path.parent) not in card


def test_hubs_can_read_the_head_of_a_card(
    run: Run, trained: RunFolder, dataset_path: Path, tmp_path: Path
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    source = tmp_path / "odd | <name>.safetensors"
    shutil.copy(dataset_path, source)
    shutil.copytree(trained.path, "scored")
    assert run("evaluate", "scored", "--data", source, "--split", "public").exit_code == 0

    assert run("info", "scored", "--card", "CARD.md").exit_code == 0

    card = hub.ModelCard(Path("CARD.md").read_text())
    (result,) = [one for one in card.data.eval_results if one.metric_type == "accuracy"]
    assert card.data.library_name == "fercli"
    assert card.data.license is None
    assert result.dataset_type == "synthetic"
    assert result.dataset_split == "public"
    assert 0 <= result.metric_value <= 1
    for name in ("base", "plus", "tiny"):
        brought = hub.ModelCard((ASSETS / f"{name}.md").read_text())
        assert brought.data.license == "mit"
        kind = "ferplus" if name == "plus" else "fer2013"
        assert {one.dataset_type for one in brought.data.eval_results} == {kind}
        assert brought.data.eval_results[0].metric_value > 0.6


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


@pytest.mark.parametrize("words", ["", "data", "models"])
def test_no_summary_is_cut_at_eighty_columns(run: Run, words: str) -> None:
    shown = run(*words.split(), "--help").stdout

    commands = shown.partition("Commands:\n")[2].splitlines()
    assert len(commands) >= 2
    assert all(line.endswith(".") and not line.endswith("...") for line in commands), shown
    assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith("    fer"))
