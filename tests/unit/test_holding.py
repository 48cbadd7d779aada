from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fercli.errors import ConfigError, OutputBusyError, RunExistsError
from fercli.locks import FOLDER_LOCK, lock_folder
from fercli.training.distributed import ALONE, Group
from fercli.training.holding import check_shared, hold_folder


@dataclass(frozen=True)
class Pair(Group):
    """Two processes, of which the other says what is given."""

    other: Any = None

    def broadcast(self, value: Any) -> Any:
        return value if self.is_main else self.other

    def all_gather(self, value: Any) -> list[Any]:
        return [value, self.other] if self.is_main else [self.other, value]


def never() -> str:
    pytest.fail("prepared by another process")


def test_the_leading_process_holds_and_prepares_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    with hold_folder(folder, ALONE, lambda: "prepared") as answer:
        assert answer == "prepared"
        with pytest.raises(OutputBusyError), hold_folder(folder, ALONE, lambda: None):
            pass
    # Another process of the group is told, and touches nothing.
    with hold_folder(folder, Pair(1, 2, other="told"), never) as answer:
        assert answer == "told"
        assert not folder.exists()


def refuse() -> None:
    message = "there is a run"
    raise RunExistsError(message)


def test_what_the_leading_process_refuses_all_refuse(tmp_path: Path) -> None:
    for group in (ALONE, Pair(1, 2, other=RunExistsError("there is a run"))):
        with (
            pytest.raises(RunExistsError, match="there is a run"),
            hold_folder(tmp_path, group, refuse),
        ):
            pass

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no time pass but what is waited for, which is noted."""
    waits: list[float] = []
    monkeypatch.setattr("fercli.training.holding.time.monotonic", lambda: sum(waits))
    monkeypatch.setattr("fercli.training.holding.time.sleep", waits.append)
    return waits


def test_a_folder_that_others_see_may_be_used(tmp_path: Path, waits: list[float]) -> None:
    check_shared(tmp_path / "not even there", ALONE)
    with lock_folder(tmp_path):
        check_shared(tmp_path, Pair(0, 2, other=True))
        mark = 12345
        os.utime(tmp_path / FOLDER_LOCK, (mark, mark))
        check_shared(tmp_path, Pair(1, 2, other=mark))

    assert waits == []


@pytest.mark.parametrize("rank", [0, 1])
def test_a_folder_that_another_process_does_not_see_is_refused(
    tmp_path: Path, waits: list[float], rank: int
) -> None:
    # The other's view, or the mark that it made elsewhere.
    group = Pair(rank, 2, other=12345 if rank else False)

    with (
        lock_folder(tmp_path),
        pytest.raises(ConfigError, match="of process 0 cannot be found by process 1"),
    ):
        check_shared(tmp_path, group)

    # A network takes a while to show a change.
    assert sum(waits) == pytest.approx(5 if rank else 0, abs=0.2)
