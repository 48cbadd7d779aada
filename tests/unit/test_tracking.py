from __future__ import annotations

import math

import pytest

from fercli.prediction.tracking import Box, Tracker, compute_overlap

HERE: Box = (0, 0, 100, 100)
NEAR: Box = (20, 0, 100, 100)
FAR: Box = (300, 0, 100, 100)
SURE = {"happy": 1.0, "sad": 0.0}
OTHER = {"happy": 0.0, "sad": 1.0}


def number(tracker: Tracker, time_s: float, *boxes: Box) -> list[int]:
    return [track for track, _ in tracker.update(time_s, boxes, [SURE] * len(boxes))]


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        (HERE, HERE, 1.0),
        (HERE, FAR, 0.0),
        (HERE, (50, 0, 100, 100), 50 / 150),
        (HERE, (25, 25, 50, 50), 0.25),
        (HERE, (100, 0, 100, 100), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
    ],
)
def test_overlap_is_the_shared_area_over_the_covered(
    first: Box, second: Box, overlap: float
) -> None:
    assert compute_overlap(first, second) == pytest.approx(overlap)
    assert compute_overlap(second, first) == pytest.approx(overlap)


def test_a_face_keeps_its_track_while_it_overlaps() -> None:
    tracker = Tracker(every_s=0.2)

    assert number(tracker, 0.0, HERE, FAR) == [0, 1]
    assert number(tracker, 0.2, FAR, NEAR) == [1, 0]
    assert number(tracker, 0.4, (600, 0, 50, 50)) == [2]


def test_the_best_overlap_gets_the_track() -> None:
    tracker = Tracker(every_s=0.2)
    number(tracker, 0.0, HERE)

    assert number(tracker, 0.2, (40, 0, 100, 100), (10, 0, 100, 100)) == [1, 0]


@pytest.mark.parametrize(
    ("every_s", "away_s", "track"), [(0.2, 0.9, 0), (0.2, 1.2, 1), (3.0, 5.9, 0), (3.0, 6.2, 1)]
)
def test_a_face_that_was_away_too_long_is_another_track(
    every_s: float, away_s: float, track: int
) -> None:
    tracker = Tracker(every_s=every_s)
    number(tracker, 1.0, HERE)

    assert number(tracker, 1.0 + away_s, HERE) == [track]


def test_without_smoothing_there_is_no_average() -> None:
    assert Tracker(every_s=0.2).update(0.0, [HERE], [SURE]) == [(0, None)]


def test_smoothing_forgets_by_time_not_by_frames() -> None:
    tracker = Tracker(every_s=0.1, smooth_s=0.5)
    tracker.update(0.0, [HERE], [SURE])
    [(_, after_one)] = tracker.update(0.5, [HERE], [OTHER])
    finer = Tracker(every_s=0.1, smooth_s=0.5)
    finer.update(0.0, [HERE], [SURE])
    finer.update(0.1, [HERE], [OTHER])
    [(_, after_two)] = finer.update(0.5, [HERE], [OTHER])

    assert after_one is not None
    assert after_one["sad"] == pytest.approx(1 - math.exp(-1))
    assert sum(after_one.values()) == pytest.approx(1)
    assert after_two == pytest.approx(after_one)


def test_tracks_are_smoothed_apart() -> None:
    tracker = Tracker(every_s=0.1, smooth_s=10)
    tracker.update(0.0, [HERE, FAR], [SURE, OTHER])

    [(_, here), (_, far)] = tracker.update(0.1, [HERE, FAR], [SURE, OTHER])

    assert here == pytest.approx(SURE)
    assert far == pytest.approx(OTHER)
