from __future__ import annotations

import pytest

from fercli.emotions import FER2013_COUNTS, LABELS, find_label


def test_labels_stand_in_the_order_of_the_csv() -> None:
    assert LABELS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Angry", "angry"), ("anger", "angry"), (" disgusted ", "disgust"), ("fearful", "fear"),
        ("afraid", "fear"), ("scared", "fear"), ("joy", "happy"), ("HAPPINESS", "happy"),
        ("sadness", "sad"), ("surprised", "surprise"), ("neutral", "neutral"), ("bored", None),
        ("", None),
    ],
)  # fmt: skip
def test_names_elsewhere(name: str, label: str | None) -> None:
    assert find_label(name) == label


def test_counts_add_up_to_the_published_totals() -> None:
    totals = [sum(split[index] for split in FER2013_COUNTS.values()) for index in range(7)]

    assert totals == [4953, 547, 5121, 8989, 6077, 4002, 6198]
    sizes = [sum(split) for split in FER2013_COUNTS.values()]
    assert sizes == [28_709, 3_589, 3_589]
