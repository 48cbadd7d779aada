"""kill -9 at random moments: what is left must always go on to the same weights."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fercli.errors import RunFailedError
from fercli.runs import RunFolder
from fercli.storage import read_tensor_header

Start = Callable[..., subprocess.Popen[str]]

KILLS = 24

TRAIN = [
    "train", "--data", "synthetic:400", "--recipe", "fast", "--batch-size", "32",
    "--optimizer", "muon", "--dropout", "0.3", "--device", "cpu", "--set", "widths=8,16",
    "--set", "stem_width=8", "--set", "average=ema", "--set", "erasing=0.5",
]  # fmt: skip


def digest(run: RunFolder) -> str:
    return str(read_tensor_header(run.model, RunFailedError)["sha256"])


@pytest.mark.slow
@pytest.mark.parametrize(("members", "epochs"), [(0, 240), (2, 80)])
def test_killed_anywhere_a_run_ends_with_the_same_weights(
    tmp_path: Path, start: Start, members: int, epochs: int
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
