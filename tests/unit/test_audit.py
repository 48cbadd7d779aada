from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fercli.audit import check_dataset, summarize, write_findings
from fercli.audit.near_duplicates import find_near_duplicates
from fercli.data import Dataset, build_dataset, build_synthetic
from fercli.data.dataset import take_images
from fercli.data.drop import drop_images, parse_drops
from fercli.data.ferplus import find_majority, join_votes, read_votes, relabel, share
from fercli.emotions import FERPLUS_LABELS, LABELS
from fercli.errors import ConfigError, DatasetLayoutError

VOTES_HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
USAGES = {"train": "Training", "public": "PublicTest", "private": "PrivateTest"}


def build(pictures: list[int], labels: list[int], splits: list[int]) -> Dataset:
    """Images named by numbers: equal numbers are equal images, 0 is a constant one."""
    faces = build_synthetic(200).images
    images = np.stack([faces[number] if number else np.full((48, 48), 7) for number in pictures])
    arrays: dict[str, Any] = {
        "images": images.astype(np.uint8),
        "labels": np.array(labels, dtype=np.uint8),
        "splits": np.array(splits, dtype=np.uint8),
        "source_row": np.arange(len(labels), dtype=np.int32),
    }
    names = ("train", "public", "private")
    return build_dataset(arrays, label_names=LABELS, split_names=names, source="built")


@pytest.fixture
def messy() -> Dataset:
    """Picture 1 thrice in train and once in public, 2 in train and private with two labels."""
    return build(
        [1, 1, 1, 2, 3, 0, 1, 4, 2, 5], [3, 3, 3, 4, 0, 6, 3, 1, 5, 2], [0] * 6 + [1] * 2 + [2] * 2
    )


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


def test_near_duplicates_are_found_through_light_and_mirrors(faces: Dataset) -> None:
    generator = np.random.default_rng(0)
    plain = np.array(faces.images[:60])
    # Textures of their own: synthetic faces resemble each other more than photographs do.
    blocks = generator.integers(0, 255, (60, 16, 16)).repeat(3, 1).repeat(3, 2)
    images = (plain * 0.1 + blocks * 0.8).astype(np.uint8)
    brighter = (images[3] * 0.5 + 90).astype(np.uint8)
    mirrored = np.clip(images[7][:, ::-1] + generator.normal(0, 4, (48, 48)), 0, 255)
    flat = np.full((2, 48, 48), 9, dtype=np.uint8)
    flat[1, 0, 0] = 10
    together = np.concatenate([images, brighter[None], mirrored[None].astype(np.uint8), flat])

    found = find_near_duplicates(together, lambda _done, _total: None)

    pairs = list(zip(found.first.tolist(), found.second.tolist(), found.mirrored, strict=True))
    assert pairs == [(3, 60, False), (7, 61, True)]
    assert (found.correlation >= 0.96).all()


def test_nothing_is_near_in_nothing() -> None:
    found = find_near_duplicates(np.empty((0, 48, 48), dtype=np.uint8), lambda _done, _total: None)

    assert len(found.first) == 0


def write_votes(path: Path, dataset: Dataset, rows: dict[int, list[int]]) -> Path:
    """Everybody votes as FER2013's label says, but where `rows` says otherwise."""
    columns = VOTES_HEADER.split(",")[2:]
    words = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
    lines = [VOTES_HEADER]
    for row in range(dataset.n_images):
        label = dataset.label_names[dataset.labels[row]]
        votes = rows.get(row) or [10 * (words.get(label, label) == name) for name in columns]
        split = USAGES[dataset.split_names[dataset.splits[row]]]
        lines.append(f"{split},fer{row:07}.png,{','.join(map(str, votes))}")
    path.write_text("\n".join(lines) + "\n")
    return path


# In the order of VOTES_HEADER: neutral, happiness, surprise, sadness, anger, disgust, fear,
# contempt, unknown, not a face.
ODD = {
    0: [0, 6, 0, 0, 1, 1, 1, 1, 0, 0],  # happy: the single votes are slips
    1: [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],  # no majority
    2: [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # no face
    3: [2, 0, 0, 0, 0, 0, 0, 6, 2, 0],  # contempt
}


def test_votes_become_labels(faces: Dataset, tmp_path: Path) -> None:
    votes = read_votes(write_votes(tmp_path / "fer2013new.csv", faces, ODD))
    counts = join_votes(votes, faces)

    majority = find_majority(counts, 8)

    happy, contempt = FERPLUS_LABELS.index("happy"), FERPLUS_LABELS.index("contempt")
    assert majority[:4].tolist() == [happy, -1, -1, contempt]
    assert find_majority(counts, 7)[3] == -1
    assert np.array_equal(majority[4:], faces.labels[4:])
    shares = share(counts, 8)
    assert shares[0, happy] == 1
    assert shares[1, happy] == 0.5
    assert shares[2].sum() == 0
    assert shares[3, contempt] == 0.75


def test_a_relabelled_dataset_says_so(faces: Dataset, tmp_path: Path) -> None:
    votes = read_votes(write_votes(tmp_path / "fer2013new.csv", faces, ODD))

    hard = relabel(faces, votes, 7, soft=False)
    soft = relabel(faces, votes, 8, soft=True)

    assert (hard.labeling, hard.learned, hard.label_names) == ("ferplus", "labels", LABELS)
    assert hard.dropped == {"no_majority": 3}
    assert hard.n_images == faces.n_images - 3
    assert (soft.learned, soft.label_names) == ("votes", FERPLUS_LABELS)
    # Five against five is no majority, and still something to learn.
    assert soft.dropped == {"no_majority": 1}
    assert soft.targets is not None
    assert np.allclose(soft.targets.sum(axis=1), 1)
    assert not hard.is_official


def test_votes_of_another_order_are_refused(faces: Dataset, tmp_path: Path) -> None:
    path = write_votes(tmp_path / "fer2013new.csv", faces, {})
    lines = path.read_text().splitlines()
    train = [line for line in lines if line.startswith("Training")]
    only_train = take_images(faces, faces.splits == 0, source_row=np.arange(480, dtype=np.int32))
    (tmp_path / "turned").write_text("\n".join([lines[0], *train[7:], *train[:7]]) + "\n")
    with pytest.raises(DatasetLayoutError, match="other images"):
        join_votes(read_votes(tmp_path / "turned"), only_train)
    for name, content, reason in (
        ("swapped", [lines[0], *lines[:0:-1]], "does not go with"),
        ("short", lines[:100], "rows"),
    ):
        odd = tmp_path / name
        odd.write_text("\n".join(content) + "\n")
        with pytest.raises(DatasetLayoutError, match=reason):
            join_votes(read_votes(odd), faces)
    for name, text in (
        ("no-table", "a,b\n1,2\n"),
        ("minus", f"{VOTES_HEADER}\nTraining,x,{'-1,' * 9}0\n"),
        ("many", f"{VOTES_HEADER}\nTraining,x,{'500,' * 9}0\n"),
        ("usage", f"{VOTES_HEADER}\nTest,x,{'1,' * 9}0\n"),
        ("long", f"{VOTES_HEADER}\nTraining,x,{'1,' * 9}{'1' * 5000}\n"),
        ("cut", f"{VOTES_HEADER}\nTraining,x,1,2\n"),
        ("empty", f"{VOTES_HEADER}\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DatasetLayoutError):
            read_votes(tmp_path / name)


def test_findings_name_every_image(messy: Dataset, tmp_path: Path) -> None:
    votes = {row: [0] * 9 + [10] if row == 9 else [10] + [0] * 9 for row in (4, 9)}
    audit = check_dataset(
        messy, near=True, votes=read_votes(write_votes(tmp_path / "votes.csv", messy, votes))
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


def test_agreement_with_the_voters_is_counted(faces: Dataset, tmp_path: Path) -> None:
    votes = read_votes(write_votes(tmp_path / "votes.csv", faces, ODD))

    report = summarize(check_dataset(faces, near=False, votes=votes), []).ferplus

    assert report is not None
    train = report.splits["train"]
    assert train["n_images"] == 480
    assert sum(row["n_not_a_face"] for row in report.splits.values()) == 1
    judged = sum(row["n_with_majority"] for row in report.splits.values())
    assert judged == faces.n_images - 2
    assert sum(noise or 0 for noise in report.label_noise.values()) > 0
