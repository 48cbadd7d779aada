from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fercli.errors import DependencyMissingError
from fercli.results import EpochReport
from fercli.runs import RunFolder
from fercli.training.callbacks import Callbacks, RunLog
from fercli.training.events import check_tensorboard

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST = EpochReport(
    epoch=1, train_loss=1 / 3, train_accuracy=0.5, validation_loss=2.0, validation_accuracy=0.25,
    learning_rate=0.1, images_per_s=100.0, duration_s=1.5,
)  # fmt: skip
SECOND = replace(FIRST, epoch=2, validation_loss=1.5)


def read(folder: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return [(one.step, one.value) for one in events.Scalars(tag)]


def write(run: RunFolder, histories: Sequence[list[EpochReport]], *, asked: bool) -> None:
    run.path.mkdir(exist_ok=True)
    run_log = RunLog(run, Callbacks(tensorboard=asked))
    for history in histories:
        run_log.write_metrics(history)
    run_log.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_events_are_those_of_the_table_however_often_a_run_is_resumed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = RunFolder(tmp_path / "run")
    write(run, [[FIRST], [FIRST, replace(SECOND, validation_loss=9.0)]], asked=True)

    # The second epoch was lost and trained again, by a process that was not told to log.
    write(run, [[FIRST, SECOND]], asked=False)

    assert read(run.events, "loss/validation") == [(1, 2.0), (2, 1.5)]
    assert [value for _, value in read(run.events, "learning_rate")] == pytest.approx([0.1, 0.1])
    assert len(list(run.events.iterdir())) == 1
    run.clear()
    assert not run.events.exists()


def test_nobody_who_did_not_ask_gets_events(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")

    write(run, [[FIRST]], asked=False)

    assert not run.events.exists()


def test_without_tensorboard_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fercli.dependencies.is_there", lambda _module: False)

    with pytest.raises(DependencyMissingError, match="tensorboard") as caught:
        check_tensorboard()

    assert caught.value.hint == "pip install 'fercli[tensorboard]'"
