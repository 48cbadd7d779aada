from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fercli.audit import check_dataset, summarize
from fercli.data.dataset import take_images
from fercli.data.ferplus import find_majority, join_votes, read_votes, relabel, share
from fercli.emotions import FERPLUS_LABELS, LABELS
from fercli.errors import DatasetLayoutError

if TYPE_CHECKING:
    from fercli.data import Dataset

MakeVotes = Callable[..., Path]
HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)

# In the order of HEADER: neutral, happiness, surprise, sadness, anger, disgust, fear,
# contempt, unknown, not a face.
ODD = {
    0: [0, 6, 0, 0, 1, 1, 1, 1, 0, 0],  # happy: the single votes are slips
    1: [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],  # no majority
    2: [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # no face
    3: [2, 0, 0, 0, 0, 0, 0, 6, 2, 0],  # contempt
}


def test_votes_become_labels(faces: Dataset, tmp_path: Path, make_votes: MakeVotes) -> None:
    votes = read_votes(make_votes(tmp_path / "fer2013new.csv", faces, ODD))
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


def test_a_relabelled_dataset_says_so(
    faces: Dataset, tmp_path: Path, make_votes: MakeVotes
) -> None:
    votes = read_votes(make_votes(tmp_path / "fer2013new.csv", faces, ODD))

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


def test_votes_of_another_order_are_refused(
    faces: Dataset, tmp_path: Path, make_votes: MakeVotes
) -> None:
    path = make_votes(tmp_path / "fer2013new.csv", faces, {})
    lines = path.read_text().splitlines()
    train = [line for line in lines if line.startswith("Training")]
    only_train = take_images(faces, faces.splits == 0, source_row=np.arange(480, dtype=np.int32))
    (tmp_path / "turned").write_text("\n".join([lines[0], *train[7:], *train[:7]]) + "\n")
    with pytest.raises(DatasetLayoutError, match="other images"):
        join_votes(read_votes(tmp_path / "turned"), only_train)
    for name, content, reason in (
        ("swapped", [lines[0], *lines[:0:-1]], "does not match"),
        ("short", lines[:100], "rows"),
    ):
        odd = tmp_path / name
        odd.write_text("\n".join(content) + "\n")
        with pytest.raises(DatasetLayoutError, match=reason):
            join_votes(read_votes(odd), faces)
    for name, text in (
        ("no-table", "a,b\n1,2\n"),
        ("minus", f"{HEADER}\nTraining,x,{'-1,' * 9}0\n"),
        ("many", f"{HEADER}\nTraining,x,{'500,' * 9}0\n"),
        ("usage", f"{HEADER}\nTest,x,{'1,' * 9}0\n"),
        ("long", f"{HEADER}\nTraining,x,{'1,' * 9}{'1' * 5000}\n"),
        ("cut", f"{HEADER}\nTraining,x,1,2\n"),
        ("empty", f"{HEADER}\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DatasetLayoutError):
            read_votes(tmp_path / name)


def test_agreement_with_the_voters_is_counted(
    faces: Dataset, tmp_path: Path, make_votes: MakeVotes
) -> None:
    votes = read_votes(make_votes(tmp_path / "votes.csv", faces, ODD))

    report = summarize(check_dataset(faces, near=False, votes=votes), []).ferplus

    assert report is not None
    train = report.splits["train"]
    assert train["n_images"] == 480
    assert sum(row["n_not_a_face"] for row in report.splits.values()) == 1
    judged = sum(row["n_with_majority"] for row in report.splits.values())
    assert judged == faces.n_images - 2
    assert sum(noise or 0 for noise in report.label_noise.values()) > 0
