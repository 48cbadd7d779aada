from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fercli.audit import check_dataset, summarize, write_findings
from fercli.data.ferplus import read_votes

if TYPE_CHECKING:
    from fercli.data import Dataset


def test_copies_conflicts_and_constants_are_counted(messy: Dataset) -> None:
    result = summarize(check_dataset(messy, near=False), [])

    assert result.duplicates.n_redundant == 4
    assert result.duplicates.within == {"train": 2, "public": 0, "private": 0}
    assert result.duplicates.across == {
        "train/public": 1, "train/private": 1, "public/train": 3, "public/private": 0,
        "private/train": 1, "private/public": 0,
    }  # fmt: skip
    assert (result.conflicting_groups, result.conflicting_images) == (1, 2)
    assert result.constant_images == [
        {"image": 5, "source_row": 5, "split": "train", "label": "neutral"}
    ]
    assert result.near_duplicates is None


def test_findings_name_every_image(
    messy: Dataset, tmp_path: Path, make_votes: Callable[..., Path]
) -> None:
    votes = {row: [0] * 9 + [10] if row == 9 else [10] + [0] * 9 for row in (4, 9)}
    audit = check_dataset(
        messy, near=True, votes=read_votes(make_votes(tmp_path / "votes.csv", messy, votes))
    )

    files = write_findings(audit, tmp_path / "audit")

    with Path(files["findings"]).open() as stream:
        rows = list(csv.DictReader(stream))
    found = {
        kind: [int(row["image"]) for row in rows if row["finding"] == kind]
        for kind in {row["finding"] for row in rows}
    }
    found.pop("near-duplicate", None)
    assert found == {
        "duplicate": [0, 1, 2, 6], "conflict": [3, 8], "constant": [5], "not-a-face": [9],
        "other-label": [4],
    }  # fmt: skip
    assert {row["group"] for row in rows if row["finding"] == "conflict"} == {"3"}
    assert len(files) == 2 + len(set(messy.labels.tolist()))
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in list(files.values())[1:])
