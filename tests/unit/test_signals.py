from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from fercli.signals import catch_signals, name_signal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")


@pytest.fixture
def no_nohup() -> Iterator[None]:
    """Act on a hangup, which `nohup` had this process ignore."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("no_nohup")
def test_a_signal_is_remembered_and_what_was_before_put_back(number: int) -> None:
    before = signal.getsignal(number)

    with catch_signals() as get_signal:
        assert get_signal() == 0
        signal.raise_signal(number)
        assert get_signal() == number
        # A second one acts as if it were not caught.
        assert signal.getsignal(number) == before

    assert signal.getsignal(number) == before


def test_a_hangup_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals() as get_signal:
            signal.raise_signal(signal.SIGHUP)
            assert get_signal() == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_have_names() -> None:
    assert [name_signal(number) for number in (2, 15)] == ["Ctrl-C", "SIGTERM"]
