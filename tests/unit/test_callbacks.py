from __future__ import annotations

from pathlib import Path

import pytest

from fercli.results import EpochReport
from fercli.runs import RunFolder
from fercli.training.callbacks import Callbacks, RunLog

REPORT = EpochReport(
    epoch=1, train_loss=1 / 3, train_accuracy=0.5, validation_loss=2.0, validation_accuracy=0.25,
    learning_rate=0.1, images_per_s=100.0, duration_s=1.5,
)  # fmt: skip


@pytest.fixture
def run_folder() -> RunFolder:
    """A folder for a run."""
    Path("run").mkdir()
    return RunFolder(Path("run"))


def test_notes_are_said_and_logged_and_a_log_is_not_said(run_folder: RunFolder) -> None:
    said: list[str] = []
    run_log = RunLog(run_folder, Callbacks(on_note=said.append))

    run_log.note("first")
    run_log.log("second")

    assert said == ["first"]
    lines = run_folder.log.read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["first", "second"]
    assert all(line.startswith("20") for line in lines)


def test_metrics_are_written_whole_every_time(run_folder: RunFolder) -> None:
    run_log = RunLog(run_folder, Callbacks())

    run_log.write_metrics([REPORT])
    run_log.write_metrics([REPORT, REPORT])

    lines = run_folder.metrics.read_text().splitlines()
    assert lines[0].startswith("epoch,train_loss,train_accuracy,validation_loss")
    # Full precision, or a resumed table would differ from one that was never cut.
    assert lines[1:] == [f"1,{1 / 3!r},0.5,2.0,0.25,0.1,100.0,1.5"] * 2


def test_other_processes_of_a_group_tell_and_write_nothing(run_folder: RunFolder) -> None:
    said: list[str] = []
    run_log = RunLog(run_folder, Callbacks(on_note=said.append), writes=False)

    run_log.note("first")
    run_log.write_metrics([REPORT])

    assert said == ["first"]
    assert list(run_folder.path.iterdir()) == []


def test_nobody_need_be_told() -> None:
    callbacks = Callbacks()

    callbacks.on_epoch(REPORT)
    callbacks.on_note("text")
    assert callbacks.should_stop() == 0
