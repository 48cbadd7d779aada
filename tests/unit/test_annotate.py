from __future__ import annotations

import itertools

import numpy as np
from PIL import Image

from fercli.prediction.annotate import _draw_faces, _find_place, _measure_overlap, choose_color
from fercli.results import PredictionRow


def test_labels_of_a_crowd_do_not_cover_each_other() -> None:
    size, picture = (90, 20), (1200, 900)
    boxes = [(40 + 140 * column, 60 + 130 * row, 70, 70) for row in range(6) for column in range(8)]
    laid: list[tuple[int, int, int, int]] = []

    for box in boxes:
        laid.append(_find_place(box, size, picture, laid))

    assert all(_measure_overlap(*pair) == 0 for pair in itertools.combinations(laid, 2))
    assert all(x >= 0 and y >= 0 and right <= 1200 and low <= 900 for x, y, right, low in laid)


def test_a_label_lies_above_its_face_where_there_is_room() -> None:
    assert _find_place((50, 50, 30, 30), (60, 20), (200, 200), []) == (50, 30, 110, 50)
    assert _find_place((50, 0, 30, 30), (60, 20), (200, 200), []) == (50, 0, 110, 20)
    above = (50, 30, 110, 50)
    assert _find_place((50, 50, 30, 30), (60, 20), (200, 200), [above]) == (50, 80, 110, 100)


def test_where_every_place_is_taken_the_least_covered_is_chosen() -> None:
    everything = (0, 0, 50, 50)

    place = _find_place((0, 0, 50, 50), (50, 20), (50, 50), [everything])

    assert 0 <= place[0] <= place[2] <= 50


def test_overlap_is_the_area_in_common() -> None:
    assert _measure_overlap((0, 0, 9, 9), (5, 5, 14, 14)) == 25
    assert _measure_overlap((0, 0, 9, 9), (10, 0, 19, 9)) == 0


def test_each_label_has_a_color_of_its_own() -> None:
    labels = ("calm", "tense", "happy")

    colors = [choose_color(label, labels) for label in ("calm", "tense", "happy", "uncertain")]

    assert len(set(colors)) == 4


def test_frames_are_drawn_on_the_picture() -> None:
    image = Image.fromarray(np.full((300, 300), 128, dtype=np.uint8))
    row = PredictionRow(
        path="a", status="ok", box=(100, 100, 80, 80), label="happy", confidence=0.5,
        probabilities={"happy": 0.5, "sad": 0.5},
    )  # fmt: skip

    drawn = np.asarray(_draw_faces(image, (row,))).astype(int)

    changed = np.argwhere((drawn != 128).any(axis=2))
    assert drawn.shape == (300, 300, 3)
    assert changed.min(axis=0).tolist() == [changed[:, 0].min(), 100]
    assert tuple(drawn[140, 101]) == choose_color("happy")
    assert (drawn[140, 140] == 128).all()
