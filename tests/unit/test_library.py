from __future__ import annotations

import doctest
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import fercli
from fercli import library
from fercli.errors import ConfigError, ImageDecodeError, ModelNotFoundError

if TYPE_CHECKING:
    from fercli.data import Dataset
    from fercli.runs import RunFolder


@pytest.fixture
def model(trained: RunFolder) -> fercli.Model:
    """The drawn faces' model, as a program would have it."""
    return fercli.load(trained.onnx)


def test_the_docstrings_are_true(trained: RunFolder, face_files: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(trained.onnx.read_bytes())
    (face_files / "face-0.png").rename(tmp_path / "face.png")

    results = doctest.testmod(library)

    assert results.attempted >= 8
    assert results.failed == 0


def test_one_image_or_many_in_any_form(model: fercli.Model, faces: Dataset, tmp_path: Path) -> None:
    images = faces.images[:3]
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    pictures = [Image.open(path) for path in paths]
    colored = np.stack([images] * 3, axis=3)
    forms: list[Any] = [
        images, list(images), paths, list(map(str, paths)), pictures, colored, iter(paths),
        [paths[0], pictures[1], images[2]],
    ]  # fmt: skip

    answers = [model.predict(form, faces="whole") for form in forms]
    singles = [model.predict(form[0]) for form in (images, paths, pictures, colored)]

    assert [face.image for face in answers[0]] == [0, 1, 2]
    assert all(answer == answers[0] for answer in answers)
    for (single,) in singles:
        assert single.label == answers[0][0].label
        assert single.probabilities == pytest.approx(answers[0][0].probabilities, abs=1e-6)


def test_crops_in_probabilities_out(model: fercli.Model, faces: Dataset) -> None:
    probabilities = model.predict_crops(faces.images[:300])

    assert probabilities.shape == (300, 7)
    assert probabilities.sum(1) == pytest.approx(np.ones(300), abs=1e-5)
    assert model.predict_crops(faces.images[:0]).shape == (0, 7)
    listed = [face.confidence for face in model.predict(faces.images[:300])]
    assert probabilities.max(1) == pytest.approx(listed, abs=1e-6)


def test_photos(model: fercli.Model, photo: Path) -> None:
    nothing = np.full((300, 200), 128, dtype=np.uint8)

    found = model.predict([nothing, str(photo), nothing])

    (face,) = found
    assert (face.image, face.detector) == (1, "haar")
    assert model.predict(photo, min_confidence=1.0)[0].label == "uncertain"


def test_what_is_no_image_is_refused(model: fercli.Model, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")

    wrongs: tuple[Any, ...] = (
        np.zeros((48, 48)), np.zeros((2, 48, 48, 5), dtype=np.uint8), [3.5],
        np.zeros((0, 5), dtype=np.uint8),
    )  # fmt: skip
    (tmp_path / "torn.png").write_bytes(_encode_noise()[:3000])
    with (
        Image.open(tmp_path / "torn.png") as torn,
        pytest.raises(ImageDecodeError, match="image 1: "),
    ):
        model.predict([np.zeros((48, 48), dtype=np.uint8), torn])
    with pytest.raises(ImageDecodeError, match="no pixels"):
        model.predict(Image.new("L", (0, 0)))
    with pytest.raises(ImageDecodeError, match=r"image 0, .*text\.png: not a"):
        model.predict([tmp_path / "text.png"])
    for wrong in wrongs:
        with pytest.raises(TypeError, match=r"image|Pillow"):
            model.predict(wrong)
    with pytest.raises(TypeError, match="crops"):
        model.predict_crops(np.zeros((3, 47, 48), dtype=np.uint8))
    with pytest.raises(ImageDecodeError):
        model.predict(tmp_path / "text.png")
    with pytest.raises(ConfigError, match="haar"):
        model.predict(np.zeros((48, 48), dtype=np.uint8), faces="harr")
    with pytest.raises(ModelNotFoundError):
        model.predict(np.zeros((48, 48), dtype=np.uint8), faces="yunet")
    with pytest.raises(ModelNotFoundError):
        fercli.load("nothing")
    with pytest.raises(AttributeError):
        fercli.nothing  # noqa: B018  # that is the point


def test_channels_are_no_images(model: fercli.Model, faces: Dataset) -> None:
    image = faces.images[0]
    opaque = np.dstack([image, image, image, np.full_like(image, 255)])

    answers = [model.predict(form) for form in (image, image[:, :, None], opaque)]

    assert [len(answer) for answer in answers] == [1, 1, 1]
    assert answers[0] == answers[1] == answers[2]


def _encode_noise() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (90, 90), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def test_it_says_what_it_is(model: fercli.Model) -> None:
    assert "happy" in repr(model)
    assert model.metadata["recipe"] == "fast"
    assert model.device == "cpu"


def test_neither_torch_nor_opencv_is_imported(trained: RunFolder) -> None:
    code = (
        "import sys, numpy, fercli; "
        f"model = fercli.load({str(trained.onnx)!r}); "
        "model.predict(numpy.zeros((2, 48, 48), dtype='uint8')); "
        "print(sorted({'torch', 'cv2', 'sklearn', 'matplotlib', 'onnx'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )

    assert done.stdout.strip() == "[]"
