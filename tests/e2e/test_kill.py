"""kill -9 at random moments: what is left must always go on to the same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from fercli.errors import RunFailedError
from fercli.runs import RunFolder
from fercli.storage import read_tensor_header

Run = Callable[..., Result]

KILLS = 24

TRAIN = [
    "train", "--data", "synthetic:400", "--recipe", "fast", "--batch-size", "32",
    "--optimizer", "muon", "--dropout", "0.3", "--device", "cpu", "--set", "widths=8,16",
    "--set", "stem_width=8", "--set", "average=ema", "--set", "erasing=0.5",
]  # fmt: skip


def digest(run: RunFolder) -> str:
    return str(read_tensor_header(run.model, RunFailedError)["sha256"])


STRUCK = """
import os, signal, sys
from pathlib import Path
from fercli.data import load_data
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.training import Callbacks, train

steps = 0

def strike():
    global steps
    steps += 1
    if steps == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return 0

config = build_config({"recipe": "fast", "epochs": 3, "batch_size": 24, "widths": (8,),
                       "stem_width": 4, "sizes_px": (48,), "dropout": 0.3, "device": "cpu"})
callbacks = Callbacks(should_stop=strike)
train(load_data("synthetic:120"), config, RunFolder(Path("cut")), data="synthetic:120",
      callbacks=callbacks)
"""
"""Trains, and kills itself after so many steps: four of them are an epoch."""


@pytest.mark.usefixtures("weights_alone")
def test_killed_in_an_epoch_a_run_goes_on_from_the_one_before(run: Run) -> None:
    cut = RunFolder(Path("cut"))
    struck = subprocess.run(
        [sys.executable, "-c", STRUCK, "6"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    had_model = cut.model.exists()

    resumed = run("train", "--resume", "cut")
    whole = run("train", "--config", cut.record, "--output", "whole")

    assert struck.returncode == -signal.SIGKILL, struck.stderr
    assert not had_model
    assert resumed.exit_code == whole.exit_code == 0
    done = "epochs done 1, steps of the next 0"
    assert f"resumed from step-000000004.safetensors: {done}\n" in resumed.stderr
    assert digest(cut) == digest(RunFolder(Path("whole")))
    assert cut.metrics.read_text().count("\n") == 3 + 1


def start(*words: object) -> subprocess.Popen[str]:
    """Start the command line, saving after every epoch: kills should hit saves, too."""
    code = "import fercli.training.loop as loop; loop._SAVE_BETWEEN_S = 0; import fercli.__main__"
    return subprocess.Popen(
        [sys.executable, "-c", f"{code}; fercli.__main__.main()", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("members", "epochs"), [(0, 240), (2, 80)])
def test_killed_anywhere_a_run_ends_with_the_same_weights(
    tmp_path: Path, members: int, epochs: int
) -> None:
    words = [*TRAIN, "--members", str(members), "--epochs", str(epochs)]
    finished = start(*words, "--output", "whole")
    _, errors = finished.communicate()
    assert finished.returncode == 0, errors
    # Lives are cut so short that the kills together take about as long as the training itself.
    records = [path / "run.json" for path in [tmp_path / "whole", *_list_members(tmp_path)]]
    training_s = sum(json.loads(path.read_text())["result"]["duration_s"] for path in records)
    moments = random.Random(7)  # noqa: S311  # moments of kills, no secrets
    cut = RunFolder(tmp_path / "cut")
    kills, lives = 0, 0

    while kills < KILLS and not cut.model.exists():
        again = ["train", "--resume", "cut"] if cut.record.exists() else [*words, "--output", "cut"]
        process = start(*again)
        _wait_for_news(process, cut)
        time.sleep(moments.uniform(0, 1.5 * training_s / KILLS))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode in {0, -signal.SIGKILL}, errors
        kills += process.returncode == -signal.SIGKILL
        lives += 1
    finished = start("train", "--resume", "cut")
    _, errors = finished.communicate()

    assert finished.returncode == 0, errors
    assert kills >= 20, f"only {kills} of {lives} lives were cut short"
    assert digest(cut) == digest(RunFolder(tmp_path / "whole"))
    assert cut.metrics.read_text().count("\n") == epochs + 1


def _list_members(folder: Path) -> list[Path]:
    return sorted((folder / "whole" / "members").glob("*"))


def _wait_for_news(process: subprocess.Popen[str], run: RunFolder) -> None:
    """Wait until the process has written to the run's log, or ended."""
    before = run.log.stat().st_size if run.log.exists() else 0
    while process.poll() is None:
        if run.log.exists() and run.log.stat().st_size > before:
            return
        time.sleep(0.01)
