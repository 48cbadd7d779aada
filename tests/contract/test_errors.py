from __future__ import annotations

import copy
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from fercli.cli._exit import STATUSES, ExitStatus, find_status
from fercli.errors import ConfigError, FercliError, RunInterruptedError

EXIT_STATUS_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "exit-status.md"


def walk(kind: type[FercliError]) -> Iterator[type[FercliError]]:
    for child in kind.__subclasses__():
        yield child
        yield from walk(child)


@pytest.mark.parametrize("kind", list(walk(FercliError)), ids=lambda kind: kind.__name__)
def test_each_error_has_a_status_and_a_code(kind: type[FercliError]) -> None:
    statuses = [STATUSES[parent] for parent in kind.__mro__ if parent in STATUSES]

    assert statuses
    assert re.fullmatch(r"[a-z-]+", kind.code)
    assert kind.__doc__


def test_codes_are_distinct() -> None:
    codes = [kind.code for kind in walk(FercliError)]

    assert len(codes) == len(set(codes))


def test_status_of_an_interrupt_names_its_signal() -> None:
    assert find_status(RunInterruptedError("stopped", signal_number=2)) == 130
    assert find_status(RunInterruptedError("stopped", signal_number=15)) == 143


def test_an_unknown_error_is_a_bug() -> None:
    assert find_status(FercliError("odd")) == ExitStatus.BUG


def test_config_errors_list_every_problem() -> None:
    error = ConfigError("one", "two")

    assert error.problems == ("one", "two")
    assert error.message == "one; two"


def test_each_status_is_documented() -> None:
    page = EXIT_STATUS_PAGE.read_text(encoding="utf-8")

    for status in ExitStatus:
        assert re.search(rf"^\| `{int(status)}` \|", page, re.MULTILINE), status


def test_a_traceback_has_the_hint_once() -> None:
    error = ConfigError("wrong", hint="fer info")

    for one in (error, copy.copy(error)):
        assert "".join(traceback.format_exception(one)).count("hint: fer info") == 1
    assert "hint" not in "".join(traceback.format_exception(FercliError("wrong")))
