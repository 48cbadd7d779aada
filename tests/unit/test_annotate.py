from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from fercli.errors import ConfigError
from fercli.prediction import FilePrediction
from fercli.prediction.annotate import (
    Annotator,
    Montage,
    _draw_faces,
    _find_place,
    _measure_overlap,
    _shorten_name,
    choose_color,
    is_montage,
)
from fercli.prediction.outputs import OutputFolder
from fercli.results import PredictionRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLACK = np.zeros((1, 48, 48), dtype=np.uint8)
INK = choose_color("sad")


def say(
    path: str, n_faces: int = 1, box: tuple[int, int, int, int] | None = None
) -> FilePrediction:
    row = PredictionRow(path=path, status="ok", label="sad", confidence=0.5, box=box)
    return FilePrediction(Path(path), (row,) * n_faces, np.repeat(BLACK, n_faces, axis=0))


def annotate(prediction: FilePrediction) -> tuple[Annotator, list[Path]]:
    annotator = Annotator(OutputFolder(Path("out"), []), max_pixels=10**6, every_s=0.2)
    annotator.add(prediction)
    return annotator, sorted(Path("out").glob("*"))


def find_ink(image: Image.Image) -> NDArray[np.bool_]:
    pixels = np.asarray(image.convert("RGB")).astype(int)
    near: NDArray[np.bool_] = np.abs(pixels - INK).max(axis=2) < 30
    return near


def test_the_frame_lies_where_the_face_is() -> None:
    Image.new("L", (400, 300), 120).save("a.png")

    _, (path,) = annotate(say("a.png", box=(100, 150, 80, 60)))

    with Image.open(path) as image:
        assert image.size == (400, 300)
        ink = find_ink(image)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    # The label stands above the frame and begins where it does.
    assert (rows.max(), columns.min()) == (208, 101)
    assert rows.min() < 150
    assert ink[151:209, 101].all()
    assert ink[208, 101:179].all()
    assert not ink[170:200, 110:170].any()


def test_a_small_image_is_enlarged_until_a_label_fits() -> None:
    for side, drawn in ((48, 240), (239, 478), (240, 240)):
        name = f"{side}.png"
        Image.new("L", (side, side), 120).save(name)
        annotate(say(name, box=(0, 0, side, side)))
        with Image.open(Path("out", name)) as image:
            assert image.size == (drawn, drawn), side
        Path("out", name).unlink()


@pytest.mark.parametrize(
    ("name", "written", "kind"),
    [("a.png", "a.png", "PNG"), ("a.jpeg", "a.jpeg", "JPEG"), ("a.bmp", "a.bmp.jpg", "JPEG")],
)
def test_the_format_follows_the_name(name: str, written: str, kind: str) -> None:
    Image.new("L", (300, 300)).save(name)

    annotator, (path,) = annotate(say(name))

    assert path.name == written
    with Image.open(path) as image:
        assert image.format == kind
    assert annotator.describe() == "1 picture written to out"


def test_what_was_not_read_is_left_out() -> None:
    row = PredictionRow(path="a.png", status="unreadable")
    unread = FilePrediction(Path("a.png"), (row,), BLACK[:0])

    for prediction in (unread, say("gone.png")):
        annotator, made = annotate(prediction)
        assert (annotator.describe(), made) == ("no pictures written to out", [])


@pytest.mark.parametrize(
    ("n_faces", "columns", "rows"), [(0, 1, 1), (1, 1, 1), (2, 2, 1), (5, 3, 2), (401, 20, 20)]
)
def test_a_sheet_is_nearly_square_and_holds_400_faces(
    n_faces: int, columns: int, rows: int
) -> None:
    montage = Montage(Path("sheet.png"))
    for _ in range(n_faces):
        montage.add(say("a.png"))

    montage.close()

    with Image.open("sheet.png") as sheet:
        assert sheet.size == (columns * 100 + 4, rows * 131 + 4)
        dark = np.asarray(sheet.convert("L")) == 0
    assert dark[4:100, 4:100].all() == (n_faces > 0)
    said = {1: "1 face", 401: "the first 400 of 401 faces"}.get(n_faces, f"{n_faces} faces")
    assert montage.describe() == f"{said} written to sheet.png"


def test_a_sheet_is_known_by_its_head() -> None:
    montage = Montage(Path("sheet.png"))
    montage.close()
    Image.new("L", (4, 4)).save("other.png")

    assert is_montage(Path("sheet.png").read_bytes()[:256])
    assert not is_montage(Path("other.png").read_bytes())
    assert not is_montage(b"fercli montage")
    assert not is_montage(b"\x89PNG" + bytes(300) + b"fercli montage")


def test_a_sheet_is_not_laid_over_an_input() -> None:
    Path("a.png").write_bytes(b"x")

    with pytest.raises(ConfigError, match="would overwrite"):
        Montage(Path("a.png")).add(say("a.png"))


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
    # The label stands above the frame; nothing is drawn beside it.
    assert changed[:, 0].min() < 100 == changed[:, 1].min()
    assert tuple(drawn[140, 101]) == choose_color("happy")
    assert (drawn[140, 140] == 128).all()


def test_a_sheet_names_the_file_below_each_face(tmp_path: Path) -> None:
    row = PredictionRow(path="a", status="ok", label="happy", confidence=0.5)
    crops = np.zeros((1, 48, 48), dtype=np.uint8)

    drawn = []
    for name in ("a.png", "b.png"):
        sheet = Montage(tmp_path / "sheet.png")
        sheet.add(FilePrediction(Path("deep", name), (row,), crops))
        sheet.close()
        drawn.append(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int))

    differs = np.argwhere((drawn[0] != drawn[1]).any(axis=2))
    # Below the face and its label alone.
    assert differs[:, 0].min() >= 4 + 96 + 18
    assert differs[:, 0].max() < drawn[0].shape[0] - 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.png", "a.png"),
        ("seventeen-123.png", "seventeen-123.png"),
        ("IMG_20260101_123456789.jpg", "IMG_202…56789.jpg"),
        ("a\x1b.png", "a\\x1b.png"),
    ],
)
def test_names_are_shortened_in_their_middle(name: str, shown: str) -> None:
    assert _shorten_name(name) == shown
