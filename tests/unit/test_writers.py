from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from fercli.errors import DataError
from fercli.prediction.writers import (
    RowLayout,
    append_rows,
    are_rows,
    key_path,
    open_writer,
    read_written,
)
from fercli.results import PredictionRow

LAYOUT = RowLayout(("sad", "happy"))
THIRD = 1 / 3


def row(path: str = "a.png", face: int | None = 0, **changes: Any) -> PredictionRow:
    values = {
        "path": path, "status": "ok", "face": face, "box": (1, 2, 30, 40), "confidence": 1 - THIRD,
        "label": "happy", "probabilities": {"sad": THIRD, "happy": 1 - THIRD}, "frames": 1,
    }  # fmt: skip
    return PredictionRow(**{**values, **changes})


EMPTY = row("gone.png", status="unreadable", reason="torn", face=None, box=None, confidence=None,
            label=None, probabilities=None, frames=None)  # fmt: skip


def write(kind: str, *rows: PredictionRow, header: bool = True) -> str:
    stream = io.StringIO(newline="")
    with open_writer(kind, stream, LAYOUT, header=header) as put:
        for one in rows:
            put(one)
    return stream.getvalue()


def test_columns_spread_the_box_and_the_probabilities() -> None:
    columns = LAYOUT.columns

    assert columns[:4] == ["path", "status", "reason", "face"]
    assert columns[4:8] == ["box_x", "box_y", "box_width", "box_height"]
    assert columns[columns.index("label") + 1 :][:2] == ["p_sad", "p_happy"]
    assert set(LAYOUT.flatten(EMPTY)) == set(columns)
    assert LAYOUT.flatten(EMPTY)["p_sad"] is None


def test_csv_keeps_full_precision_and_leaves_gaps_empty() -> None:
    (first, second) = csv.DictReader(io.StringIO(write("csv", row(), EMPTY), newline=""))

    assert float(first["p_sad"]) == THIRD
    box = [first[f"box_{part}"] for part in ("x", "y", "width", "height")]
    assert box == ["1", "2", "30", "40"]
    assert (second["status"], second["reason"], second["p_happy"]) == ("unreadable", "torn", "")
    assert not write("csv", row(), header=False).startswith("path,")


@pytest.mark.parametrize("name", ["a,b.png", 'a"b.png', "a\nb.png", "a\rb.png", "ä.png"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_any_name_comes_back(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(write(kind, row(name), row("last.png")).encode())

    done, end = read_written(tmp_path / "rows", kind, LAYOUT, finished=True)

    assert done - {""} == {name, "last.png"}
    assert end == (tmp_path / "rows").stat().st_size


def test_bytes_that_are_no_text_become_their_codes() -> None:
    name = b"a\xff.png".decode("utf-8", "surrogateescape")

    assert key_path(name) == "a\\udcff.png"
    assert key_path("ä.png") == "ä.png"
    (read,) = csv.DictReader(io.StringIO(write("csv", row(name)), newline=""))
    assert read["path"] == "a\\udcff.png"
    line = write("jsonl", row(name))
    assert json.loads(line)["path"] == name
    assert line.isascii()


# Of a CSV the header counts as an input without a name, which no input is.
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_of_unfinished_rows_the_last_input_does_not_count(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    before = write(kind, row("a.png"), row("b.png"))
    path.write_text(before + write(kind, row("c.png"), row("c.png", 1), header=False))

    done, end = read_written(path, kind, LAYOUT, finished=False)
    assert (done - {""}, end) == ({"a.png", "b.png"}, len(before))
    done, end = read_written(path, kind, LAYOUT, finished=True)
    assert (done - {""}, end) == ({"a.png", "b.png", "c.png"}, path.stat().st_size)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_torn_last_line_is_overlooked(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    whole = write(kind, row("a.png"), row("b.png"))
    path.write_text(whole + write(kind, row("c.png"), header=False)[:-3])

    done, end = read_written(path, kind, LAYOUT, finished=False)

    assert done - {""} == {"a.png"}
    assert end == len(write(kind, row("a.png")))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows_of_other_labels_or_none_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(write(kind, row()))
    with pytest.raises(DataError, match="line 1 of"):
        read_written(path, kind, RowLayout(("happy", "sad")), finished=True)

    path.write_text(write(kind, row()) + "something else\n")
    with pytest.raises(DataError, match=f"line {3 if kind == 'csv' else 2} of"):
        read_written(path, kind, LAYOUT, finished=True)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_appended_rows_follow_without_a_second_header(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    for name in ("a.png", "b.png"):
        with path.open("ab") as stream, append_rows(kind, stream, LAYOUT) as (put, flush):
            put(row(name))
            flush()

    assert path.read_text() == write(kind, row("a.png"), row("b.png"))


@pytest.mark.parametrize(
    ("head", "ours"),
    [
        (b"", True), (b"path,status", True), (b'{"path": "a"', True), (b"PAR1", False),
        (b"pathos,", False), (b'{"name": 1}', False), (b"\x89PNG", False), (b" ", False),
    ],
)  # fmt: skip
def test_rows_are_known_by_how_they_begin(head: bytes, *, ours: bool) -> None:
    assert are_rows(head) == ours
