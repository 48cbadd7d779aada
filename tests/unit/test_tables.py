from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fercli.data import tables
from fercli.data.tables import SPLITS, read_table
from fercli.errors import DatasetLayoutError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREY = " ".join(["7"] * 2304)


def read(*lines: str, header: str = "emotion,pixels,Usage") -> dict[str, NDArray[Any]]:
    text = "\n".join([header, *lines]) + "\n"
    return read_table(io.BytesIO(text.encode()), "t.csv", lambda _n: None)


def test_rows_become_arrays() -> None:
    pixels = " ".join(str(number % 256) for number in range(2304))

    arrays = read(f"6,{pixels},PrivateTest", f"0,{GREY},Training", f"3,{GREY},PublicTest")

    assert arrays["images"].shape == (3, 48, 48)
    assert arrays["images"][0].ravel().tolist() == [number % 256 for number in range(2304)]
    assert arrays["labels"].tolist() == [6, 0, 3]
    assert [SPLITS[split] for split in arrays["splits"]] == ["private", "train", "public"]
    assert arrays["source_row"].tolist() == [0, 1, 2]


def test_columns_are_found_by_name() -> None:
    arrays = read(f"PublicTest,2,{GREY}", header=" Usage,EMOTION, pixels")

    assert (arrays["labels"].tolist(), arrays["splits"].tolist()) == ([2], [1])


def test_without_usage_all_is_train() -> None:
    assert read(f"2,{GREY}", header="emotion,pixels")["splits"].tolist() == [0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"7,{GREY},Training", "unknown label '7'"),
        (f"-1,{GREY},Training", "unknown label '-1'"),
        (f",{GREY},Training", "unknown label ''"),
        (f"٣,{GREY},Training", "unknown label '٣'"),
        (f"0006,{GREY},Training", "unknown label '0006'"),
        (f"3,{GREY},Test", "unknown Usage 'Test'"),
        (f"3,{GREY[:-2]},Training", "2303 pixels instead of 2304"),
        (f"3,{GREY} 7,Training", "2305 pixels instead of 2304"),
        ("3,,Training", "0 pixels instead of 2304"),
        (f"3,256{GREY[1:]},Training", "the pixel value 256 is outside 0-255"),
        # As 64 bits that wrap it would be 7.
        (f"3,{2**64 + 7}{GREY[1:]},Training", "the pixel value 1.84467e+19 is outside 0-255"),
        (f"3,{'9' * 5000}{GREY[1:]},Training", "the pixel value inf is outside 0-255"),
        (f"3,-{GREY},Training", "found '-'"),
        (f"3,1.5{GREY[1:]},Training", "found '.'"),
        (f"3,{GREY}", "it has 2 fields"),
    ],
)
def test_a_malformed_row_is_named(row: str, reason: str) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        read(f"3,{GREY},Training", row)

    assert caught.value.message.startswith("t.csv, row 3: ")
    assert reason in caught.value.message


def test_the_darkest_and_the_brightest_pixel_are_read() -> None:
    pixels = " ".join(["0", "255"] * 1152)

    assert np.unique(read(f"3,{pixels},Training")["images"]).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("a,b,c", "including emotion and pixels; it has 'a', 'b', 'c'"),
        ("emotion,a,Usage", "including pixels"),
        ("emotion,emotion,pixels", "including emotion"),
        ("emotion,pixels,Usage,usage", "including one Usage"),
    ],
)
def test_a_header_that_does_not_name_its_columns_is_refused(header: str, what: str) -> None:
    with pytest.raises(DatasetLayoutError, match=r"^t\.csv: the first row") as caught:
        read(header=header)

    assert what in caught.value.message


def test_a_header_alone_is_no_table() -> None:
    with pytest.raises(DatasetLayoutError, match="has a header but no rows"):
        read()


def test_more_rows_than_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 2)
    rows = [f"3,{GREY},Training"] * 3

    assert len(read(*rows[:2])["labels"]) == 2
    with pytest.raises(DatasetLayoutError, match="more than 2 rows"):
        read(*rows)


def test_rows_are_counted_for_who_waits() -> None:
    told: list[int] = []
    lines = ["emotion,pixels", *[f"3,{GREY}"] * 1001]

    read_table(io.BytesIO("\n".join(lines).encode()), "t.csv", told.append)

    assert told == [500, 1000, 1001]


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DatasetLayoutError, match=r"^t\.csv, row 1: cannot be read"):
        read_table(io.BytesIO(b"\xff"), "t.csv", lambda _n: None)


def test_a_row_may_end_with_the_last_column_that_is_needed() -> None:
    assert read(f"3,{GREY}", header="emotion,pixels")["labels"].tolist() == [3]
    with pytest.raises(DatasetLayoutError, match="row 2: it has 1 fields"):
        read("3", header="emotion,pixels")
