from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from fercli.cli._display import (
    print_table,
    watch_bytes,
    watch_images,
    watch_training,
    watch_work,
)
from fercli.cli._output import Output
from fercli.results import EpochReport
from fercli.training import StepReport

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH = EpochReport(
    epoch=2,
    train_loss=1.25,
    train_accuracy=0.456,
    validation_loss=1.5,
    validation_accuracy=0.4321,
    learning_rate=0.1,
    images_per_s=12_345.6,
    duration_s=7.89,
)
LINE = (
    "epoch 2/3  train loss 1.250 accuracy 45.6%  validation loss 1.500 accuracy 43.2%  "
    "12,346 images/s  7.9 s"
)


def report_step(epoch: int, step: int) -> StepReport:
    return StepReport(epoch=epoch, step=step, n_steps=4, loss=1.75, images_per_s=1234.5)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take stderr for a terminal that is wide enough."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One number, which is what time it is."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("rich.console.monotonic", lambda: now[0])
    return now


@pytest.fixture
def read_lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return what stderr got since, line by line, without what moves and colors it."""

    def call() -> list[str]:
        output, errors = capsys.readouterr()
        assert output == ""
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", errors).replace("\r", "\n").split("\n")
        return [line.strip() for line in lines if line.strip()]

    return call


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_a_training_as_a_bar(
    clock: list[float], read_lines: Callable[[], list[str]]
) -> None:
    with watch_training(Output(command="train"), 3) as (on_step, on_epoch):
        for step in (1, 2, 3):
            on_step(report_step(2, step))
            clock[0] += 40
        on_epoch(EPOCH)
    lines = read_lines()

    assert LINE in lines
    assert lines[-1].startswith("epoch 2/3 ")
    assert re.search(r" 7/12 steps +loss 1.750  1,23[45] images/s +0:03:20 left$", lines[-1])


@pytest.mark.usefixtures("terminal")
def test_the_bar_of_the_next_member_begins_anew(
    clock: list[float], read_lines: Callable[[], list[str]]
) -> None:
    with watch_training(Output(command="train"), 3) as (on_step, _):
        on_step(report_step(2, 3))
        clock[0] += 100
        on_step(report_step(1, 1))
    last = read_lines()[-1]

    assert last.startswith("epoch 1/3 ")
    assert re.search(r" 1/12 steps +loss 1.750  1,23[45] images/s$", last)


def test_without_a_terminal_there_is_a_line_for_an_epoch(
    read_lines: Callable[[], list[str]],
) -> None:
    with watch_training(Output(command="train"), 3) as (on_step, on_epoch):
        on_step(report_step(2, 3))
        on_epoch(EPOCH)

    assert read_lines() == [LINE]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (160, LINE),
        (80, "epoch 2/3  train 1.250 45.6%  validation 1.500 43.2%  12,346 images/s  7.9 s"),
        (60, "epoch 2/3  train 1.250 45.6%  validation 1.500 43.2%"),
    ],
    ids=["wide", "usual", "narrow"],
)
def test_the_line_of_an_epoch_fits(
    monkeypatch: pytest.MonkeyPatch,
    read_lines: Callable[[], list[str]],
    columns: int,
    line: str,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with watch_training(Output(command="train"), 3) as (_, on_epoch):
        on_epoch(EPOCH)

    assert line in read_lines()


@pytest.mark.usefixtures("terminal")
def test_work_that_nobody_counts_shows_the_time_it_takes(
    read_lines: Callable[[], list[str]],
) -> None:
    with watch_work(Output(command="export"), "exporting"):
        pass

    assert re.fullmatch(r"exporting \S+ +0:00:00 so far", read_lines()[-1])


@pytest.mark.usefixtures("terminal")
def test_the_quiet_see_no_bar(read_lines: Callable[[], list[str]]) -> None:
    output = Output(command="train", verbosity=-1)
    with watch_training(output, 3) as (on_step, on_epoch), watch_images(output, "reading") as read:
        on_step(report_step(2, 3))
        on_epoch(EPOCH)
        read(5, 10)

    assert read_lines() == []


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_what_is_read_and_fetched(read_lines: Callable[[], list[str]]) -> None:
    with watch_images(Output(command="predict"), "reading [bold]a\x1bb") as report:
        report(1500, 3000)
    images = read_lines()
    with watch_bytes(Output(command="predict"), "fetching") as report:
        report(3 * 2**20 + 1, 7 * 2**20 + 1)
    fetched = read_lines()

    assert images[-1].startswith("reading [bold]a\\x1bb ")
    assert re.search(r" 1,500/3,000 images$", images[-1])
    assert re.search(r"^fetching .* 3/8 MiB$", fetched[-1])


def test_without_a_terminal_there_is_a_line_now_and_then(
    clock: list[float], read_lines: Callable[[], list[str]]
) -> None:
    with watch_images(Output(command="predict"), "reading") as report:
        clock[0] += 14.5
        report(1, 3000)
        clock[0] += 1
        report(1500, 3000)
        clock[0] += 14.5
        report(1600, 3000)
        clock[0] += 1
        report(2500, None)

    assert read_lines() == [
        "reading: 1,500 of about 3,000 images",
        "reading: 2,500 of about 2,500 images",
    ]


def test_a_pipe_is_given_whole_tables_whatever_columns_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.table import Table

    monkeypatch.setenv("COLUMNS", "20")
    table = Table("model", "protocol")
    table.add_row("runs/a-name-that-is-long", "held-out")

    print_table(Output(command="compare").build_console(), table)

    assert "runs/a-name-that-is-long  held-out" in capsys.readouterr().out
