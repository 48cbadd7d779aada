from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fercli.errors import ModelFileError
from fercli.images import DecodedImage, Face, FaceFinder, cut_face, cut_faces, load_image
from fercli.images.detection import _drop_repeated, _Haar, _shrink, import_cv2

if TYPE_CHECKING:
    from numpy.typing import NDArray


def take(gray: NDArray[np.uint8]) -> DecodedImage:
    return DecodedImage(gray, 1)


def test_haar_finds_the_astronaut(photo: Path) -> None:
    image = load_image(photo)

    detector, faces = FaceFinder("auto").find(image)

    assert detector == "haar"
    (face,) = faces
    # Where her face is, by eye: centered near (225, 113), some 95 pixels wide.
    assert abs(face.x + face.width / 2 - 225) < 15
    assert abs(face.y + face.height / 2 - 113) < 15
    assert 80 < face.width < 120
    crop = cut_face(image, face, detector)
    assert crop.shape == (48, 48)
    assert crop.dtype == np.uint8


def test_faces_are_the_same_however_large_the_photo(photo: Path) -> None:
    picture = Image.open(photo).convert("L")
    finder = FaceFinder("haar")
    crops = []
    for factor in (1, 2, 5):
        side = 512 * factor
        image = take(np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS)))
        (face,) = finder.find(image)[1]
        assert abs(face.x / factor - 177) < 12
        crops.append(cut_face(image, face, "haar").astype(int))

    assert np.abs(crops[0] - crops[1]).mean() < 16
    assert np.abs(crops[0] - crops[2]).mean() < 16


def test_two_hits_on_one_face_are_one() -> None:
    boxes = [[100, 100, 40, 40], [105, 95, 42, 42], [100, 100, 60, 60], [300, 100, 40, 40]]

    kept = _drop_repeated(np.array(box, dtype=np.int32) for box in boxes)

    assert [list(map(int, box)) for box in kept] == [boxes[0], boxes[2], boxes[3]]


def test_largest_face_comes_first(photo: Path) -> None:
    picture = Image.open(photo).convert("L")
    sheet = Image.new("L", (900, 520), 128)
    sheet.paste(picture.resize((256, 256)), (0, 0))
    sheet.paste(picture, (380, 0))

    faces = FaceFinder("haar").find(take(np.asarray(sheet)))[1]

    assert [round(face.width / 50) for face in faces] == [2, 1]


@pytest.mark.parametrize(("size", "detector"), [((96, 96), "whole"), ((97, 40), "haar")])
def test_auto_takes_small_images_as_faces(size: tuple[int, int], detector: str) -> None:
    image = take(np.full(size, 90, dtype=np.uint8))

    found, faces = FaceFinder("auto").find(image)

    assert found == detector
    assert len(faces) == (1 if detector == "whole" else 0)


@pytest.mark.parametrize("kind", ["auto", "haar"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2), (97, 97)])
def test_odd_shapes_hold_no_face(kind: str, shape: tuple[int, int]) -> None:
    faces = FaceFinder(kind).find(take(np.zeros(shape, dtype=np.uint8)))[1]

    assert len(faces) <= 1


def test_threads_may_begin_at_once() -> None:
    code = (
        "import threading, numpy\n"
        "from fercli.images import DecodedImage, FaceFinder\n"
        "finder, start, found = FaceFinder('haar'), threading.Barrier(8), []\n"
        "image = DecodedImage(numpy.zeros((120, 120), dtype='uint8'), 1)\n"
        "def work():\n"
        "    start.wait()\n"
        "    found.append(finder.find(image))\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "print(len(found))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "8"
    assert done.stderr == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2), (20, 640), (33, 31)])
def test_yunet_finds_nothing_in_slivers(yunet_weights: Path, shape: tuple[int, int]) -> None:
    finder = FaceFinder("yunet", yunet_weights)
    generator = np.random.default_rng(0)

    for _ in range(5):
        noise = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
        assert finder.find(DecodedImage(noise[:, :, 0], 1, noise))[1] == []


def test_a_whole_image_is_its_own_crop() -> None:
    gray = np.arange(48 * 48, dtype=np.uint64).reshape(48, 48).astype(np.uint8)

    assert np.array_equal(cut_face(take(gray), Face(0, 0, 48, 48), "whole"), gray)


@pytest.mark.parametrize("x", [-20, 0, 30, 70])
@pytest.mark.parametrize("y", [-20, 0, 30, 70])
def test_edges_go_on_where_a_frame_leaves_the_image(x: int, y: int) -> None:
    gray = np.tile(np.arange(80, dtype=np.uint8), (80, 1))
    face = Face(max(x, 0), max(y, 0), 10 + min(x, 0) // 4, 10 + min(y, 0) // 4)

    crop = cut_face(take(gray), face, "haar")

    assert crop.shape == (48, 48)
    # Brightness is the column: it rises from left to right and stays within the image's.
    assert (np.diff(crop.astype(int), axis=1) >= 0).all()
    assert np.ptp(crop, axis=0).max() == 0


@pytest.mark.parametrize(("detector", "size", "down"), [("haar", 1.04, 0), ("yunet", 1.14, 0.02)])
@pytest.mark.parametrize("face", [Face(100, 40, 96, 96), Face(112, 24, 72, 128)])
def test_a_frame_is_cut_where_it_says(detector: str, size: float, down: float, face: Face) -> None:
    gray = (np.add.outer(np.arange(200), np.arange(300)) // 2).astype(np.uint8)

    crop = cut_face(take(gray), face, detector)

    side = 96 * size
    left, top = 148 - side / 2, 88 - side / 2 + down * side
    picture = Image.fromarray(gray)
    box = (left, top, left + side, top + side)
    expected = picture.resize((48, 48), Image.Resampling.BILINEAR, box=box)
    # The same frame, counted from another corner, is rounded in another way.
    assert np.abs(crop.astype(int) - np.asarray(expected).astype(int)).max() <= 1


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_weights_that_are_none_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ModelFileError, match="weights"):
        FaceFinder("yunet", path)


def test_another_network_is_no_detector(tmp_path: Path, make_external: Any) -> None:
    make_external(tmp_path / "other.onnx", [1, 3, 320, 320], 7)

    with pytest.raises(ModelFileError):
        FaceFinder("yunet", tmp_path / "other.onnx")


def test_yunet_finds_the_astronaut(photo: Path, yunet_weights: Path) -> None:
    finder = FaceFinder("yunet", yunet_weights)
    image = load_image(photo, color=finder.needs_color)

    detector, (face, *others) = finder.find(image)

    assert others == []
    assert abs(face.x + face.width / 2 - 225) < 15
    haar = cut_face(image, FaceFinder("haar").find(image)[1][0], "haar").astype(int)
    yunet = cut_face(image, face, detector).astype(int)
    assert np.abs(haar - yunet).mean() < 40


@pytest.mark.parametrize("factor", [1.0, 1.5])
@pytest.mark.parametrize("orientation", [1, 6])
def test_faces_of_reduced_photos_are_those_of_whole_ones(
    photo: Path, tmp_path: Path, factor: float, orientation: int
) -> None:
    sheet = Image.new("RGB", (2401, 1801), (90, 110, 130))
    side = round(512 * factor)
    sheet.paste(Image.open(photo).resize((side, side), Image.Resampling.LANCZOS), (1000, 700))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = sheet.rotate(90, expand=True) if orientation == 6 else sheet
    turned.save(tmp_path / "large.jpg", quality=95, exif=exif)
    finder = FaceFinder("haar")
    whole = load_image(tmp_path / "large.jpg")
    reduced = load_image(tmp_path / "large.jpg", enough_px=finder.enough_px)

    (face,), (other,) = finder.find(whole)[1], finder.find(reduced)[1]

    assert (reduced.reduction, reduced.gray.shape) == (2, (901, 1201))
    assert (reduced.width, reduced.height) == (whole.width, whole.height) == (2401, 1801)
    # A step between two sizes is a tenth.
    near = 0.11 * face.width
    assert abs(face.x - other.x) < near
    assert abs(face.y - other.y) < near
    assert abs(face.width - other.width) < near
    same = cut_face(whole, other, "haar").astype(int)
    (crop,) = cut_faces(reduced, [other], "haar")
    assert np.abs(crop - same).mean() < 2


def test_small_faces_are_cut_out_of_what_is_there(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1800, 2400), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.jpg", quality=95)
    small, large = Face(100, 200, 60, 60), Face(1000, 200, 400, 400)
    whole = load_image(tmp_path / "noise.jpg")
    reduced = load_image(tmp_path / "noise.jpg", enough_px=600)

    crops = cut_faces(reduced, [small, large], "haar")

    assert reduced.reduction == 4
    assert np.array_equal(crops[0], cut_face(whole, small, "haar"))
    assert np.array_equal(crops[1], cut_face(reduced, large, "haar"))
    assert cut_faces(reduced, [], "haar") == []


def test_who_has_weights_wants_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.FaceDetectorYN.create", lambda *_: NotedNetwork([]))

    for kind, weights, needs_color, enough_px in (
        ("yunet", "w", True, 640), ("auto", "w", True, 640), ("whole", "w", False, None),
        ("auto", None, False, 960), ("haar", None, False, 960),
    ):  # fmt: skip
        finder = FaceFinder(kind, Path(weights) if weights else None)
        assert (finder.needs_color, finder.enough_px) == (needs_color, enough_px)


def test_what_counts_as_a_whole_is_never_reduced() -> None:
    assert FaceFinder("whole").enough_px is None
    assert FaceFinder("auto").enough_px == FaceFinder("haar").enough_px == 960


class NotedCascade:
    """A cascade that notes how it is asked, and finds what is given in turn."""

    def __init__(self, *answers: list[list[int]]) -> None:
        self._answers = iter(answers)
        self.asked: list[tuple[Any, ...]] = []

    def detectMultiScale(self, gray: Any, **options: Any) -> Any:  # noqa: N802  # OpenCV's
        self.asked.append((gray.shape, *options.values()))
        return np.array(next(self._answers, []), dtype=np.int32).reshape(-1, 4)


def search(gray: Any, *answers: list[list[int]]) -> tuple[list[Face], list[tuple[Any, ...]]]:
    """Return the faces that are made of a cascade's answers, and how it was asked."""
    haar = _Haar()
    haar._cascade = cascade = NotedCascade(*answers)  # noqa: SLF001  # OpenCV's in its place
    return haar.detect(take(gray)), cascade.asked


def test_haar_looks_coarsely_and_then_around_what_it_found() -> None:
    gray = np.zeros((1000, 1920), dtype=np.uint8)

    faces, asked = search(
        gray, [[300, 200, 100, 100], [40, 10, 50, 50], [600, 90, 60, 60]],
        [[50, 44, 90, 90], [5, 4, 90, 90]], [], [[10, 30, 50, 50]],
    )  # fmt: skip

    # Twice as large as what was searched; in the corner of what was searched again.
    around = [(258 + 50, 158 + 44, 90, 90), (574 + 10, 64 + 30, 50, 50)]
    assert faces == [Face(*(2 * number for number in box)) for box in around]
    assert asked == [
        ((500, 960), 1.2, 2, (24, 24), (0, 0)),
        ((184, 184), 1.1, 3, (70, 70), (140, 140)),
        ((82, 94), 1.1, 3, (35, 35), (70, 70)),
        ((112, 112), 1.1, 3, (42, 42), (84, 84)),
    ]


def test_haar_looks_again_beyond_the_edges_for_a_face_that_fills_its_frame() -> None:
    gray = np.zeros((640, 480), dtype=np.uint8)

    faces, asked = search(gray, [], [[96 - 50, 96, 99, 99], [96 - 50, 96, 101, 101]])

    # The center of the first is in the border: a mirror image.
    assert faces == [Face(0, 0, 102, 202)]
    assert asked == [
        ((640, 480), 1.2, 2, (24, 24), (0, 0)),
        ((320 + 2 * 96, 240 + 2 * 96), 1.1, 5, (60, 60), (0, 0)),
    ]


def test_faces_of_one_size_come_in_the_order_of_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boxes = [[10.0, 90.0, 20.0, 20.0], [50.0, 20.0, 40.0, 10.0], [50.0, 10.0, 10.0, 40.0],
             [9.0, 9.0, 30.0, 20.0]]  # fmt: skip

    faces = search_colors(monkeypatch, np.zeros((200, 200, 3), dtype=np.uint8), *boxes)[0]

    assert [(face.x, face.y) for face in faces] == [(9, 9), (10, 90), (50, 10), (50, 20)]


def test_opencv_computes_on_one_thread() -> None:
    assert import_cv2().getNumThreads() == 1


def test_boxes_on_one_place_are_one_up_to_a_quarter_of_their_side() -> None:
    first, *others = [100, 100, 40, 40], [110, 90, 50, 30], [111, 100, 40, 40], [100, 100, 40, 51]

    kept = _drop_repeated(np.array(box, dtype=np.int32) for box in (first, *others))

    assert [list(map(int, box)) for box in kept] == [first, *others[1:]]


def test_boxes_in_the_border_are_mirror_images() -> None:
    gray = np.zeros((320, 320), dtype=np.uint8)
    inside = [[96 + 270, 96 + 270, 99, 99], [96 - 50, 96 - 50, 100, 100]]
    outside = [[96 + 270, 96, 100, 100], [96, 96 + 270, 100, 100], [96, 96 - 50, 99, 99]]

    assert len(search(gray, [], inside)[0]) == 2
    assert search(gray, [], outside)[0] == []


@pytest.mark.parametrize(
    ("shape", "side", "wanted"),
    [
        ((100, 50), 100, (100, 50)),
        ((1000, 500), 100, (100, 50)),
        ((500, 1000), 100, (50, 100)),
        ((5000, 1), 100, (100, 1)),
        ((1, 5000), 100, (1, 100)),
    ],
)
def test_what_is_searched_has_a_longest_side(
    shape: tuple[int, int], side: int, wanted: tuple[int, int]
) -> None:
    small, scale = _shrink(import_cv2(), np.zeros(shape, dtype=np.uint8), side)

    assert small.shape == wanted
    assert scale == max(shape) / side


@pytest.mark.parametrize(
    ("side", "channels", "is_area"),
    [(100, 1, True), (100, 3, False), (190, 3, False), (200, 3, True), (400, 3, True)],
)
def test_colors_are_shrunk_a_little_from_the_nearest_pixels(
    side: int,
    channels: int,
    is_area: bool,  # noqa: FBT001  # a case
) -> None:
    cv2 = import_cv2()
    noise = np.random.default_rng(0).integers(0, 256, (side, side, channels), dtype=np.uint8)
    pixels = noise[..., 0] if channels == 1 else noise
    way = cv2.INTER_AREA if is_area else cv2.INTER_LINEAR
    side_px = 90 if side == 100 else 100

    found = _shrink(cv2, pixels, side_px)[0]

    assert np.array_equal(found, cv2.resize(pixels, (side_px, side_px), interpolation=way))


class NotedNetwork:
    """A network that notes what it is shown, and finds what is given."""

    def __init__(self, answer: list[list[float]]) -> None:
        self._answer = np.array(answer, dtype=np.float32)
        self.shown: Any = None
        self.size: Any = None

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802  # OpenCV's
        self.size = size

    def detect(self, bgr: Any) -> tuple[int, Any]:
        self.shown = bgr
        return 1, self._answer if len(self._answer) else None


def search_colors(
    monkeypatch: pytest.MonkeyPatch, rgb: NDArray[np.uint8], *answer: list[float]
) -> tuple[list[Face], NotedNetwork]:
    """Return the faces that are made of what a network finds, and what it was shown."""
    network = NotedNetwork(list(answer))
    monkeypatch.setattr("cv2.FaceDetectorYN.create", lambda *_: network)
    finder = FaceFinder("yunet", Path("weights"))
    return finder.find(DecodedImage(rgb[..., 0], 1, rgb))[1], network


def test_yunet_sees_the_colors_of_a_smaller_image(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = np.zeros((640, 1280, 3), dtype=np.uint8)
    rgb[..., 0] = 200
    score = 0.9

    faces, network = search_colors(
        monkeypatch, rgb,
        [10, 20, 30, 40, score], [-5, -6, 20, 20, score], [600, 300, 99, 99, score],
        [640, 5, 9, 9, score], [5, 320, 9, 9, score], [float("nan"), 1, 9, 9, score],
        [1, 1, float("inf"), 9, score],
    )  # fmt: skip

    assert network.size == (640, 320)
    assert network.shown.shape == (320, 640, 3)
    assert network.shown[0, 0].tolist() == [0, 0, 200]
    # What is not within the image at all, or is no number, is no face.
    assert faces == [Face(20, 40, 60, 80), Face(1200, 600, 80, 40), Face(0, 0, 30, 28)]


@pytest.mark.parametrize(
    ("shape", "size"),
    [((20, 640), (640, 64)), ((640, 20), (64, 640)), ((63, 65), (65, 64)), ((64, 64), (64, 64))],
)
def test_yunet_is_shown_no_sliver(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    rgb = np.full((*shape, 3), 7, dtype=np.uint8)

    faces, network = search_colors(monkeypatch, rgb)

    assert faces == []
    assert network.size == size
    assert network.shown.shape == (size[1], size[0], 3)
    assert (network.shown[: shape[0], : shape[1]] == 7).all()
    assert network.shown.sum() == 7 * 3 * shape[0] * shape[1]
