from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fercli.data.drop import drop_images, parse_drops
from fercli.errors import ConfigError

if TYPE_CHECKING:
    from fercli.data import Dataset


def test_each_reason_drops_what_it_says(messy: Dataset) -> None:
    def kept(*reasons: str) -> list[int]:
        return list(map(int, drop_images(messy, reasons).source_row))

    assert kept("constant") == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert kept("conflicts") == [0, 1, 2, 4, 5, 6, 7, 9]
    assert kept("leaks") == [4, 5, 6, 7, 8, 9]
    assert kept("duplicates") == [0, 3, 4, 5, 6, 7, 8, 9]
    everything = drop_images(messy, ["duplicates", "leaks", "conflicts", "constant"])
    assert everything.source_row.tolist() == [4, 6, 7, 9]
    assert everything.dropped == {"constant": 1, "conflicts": 2, "leaks": 3, "duplicates": 0}
    assert everything.sha256 != messy.sha256
    assert parse_drops("leaks, constant") == ["leaks", "constant"]
    for text in ("", "leak"):
        with pytest.raises(ConfigError):
            parse_drops(text)


def test_a_first_copy_that_leaked_leaves_no_second(messy: Dataset) -> None:
    dropped = drop_images(messy, ["leaks", "duplicates"])

    assert dropped.dropped == {"leaks": 4, "duplicates": 0}
