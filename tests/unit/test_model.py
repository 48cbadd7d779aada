from __future__ import annotations

import dataclasses
import doctest
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import fercli
import fercli.model.models
import fercli.run
from fercli.errors import (
    ConfigError,
    DeviceUnavailableError,
    ImageDecodeError,
    ModelNotFoundError,
)
from fercli.model_files import open_runtime

if TYPE_CHECKING:
    from fercli.data import Dataset
    from fercli.inference.runtime import Runtime
    from fercli.model_files import ModelFile
    from fercli.runs import RunFolder


@pytest.fixture
def model(trained: RunFolder) -> fercli.Model:
    """The synthetic faces' model, as a program would have it."""
    return fercli.load(trained.onnx)


def test_the_docstrings_are_true(trained: RunFolder, face_files: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(trained.onnx.read_bytes())
    (face_files / "face-0.png").rename(tmp_path / "face.png")

    results = doctest.testmod(fercli.model.models)

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
        model.predict(np.zeros((48, 48), dtype=np.uint8), faces="harr")  # type: ignore[arg-type]  # what is wrong is the point
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


def test_a_bad_image_gets_its_reason_instead_of_ending_the_batch(
    model: fercli.Model, faces: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("hello")
    images: list[Any] = [faces.images[0], tmp_path / "text.png", "missing.png", None, b"torn"]

    found = model.predict(images, errors="skip")

    assert [face.image for face in found] == [0]
    assert list(found.skipped) == [1, 2, 3, 4]
    assert found.skipped[2] == "image 2, missing.png: there is no such file"
    with pytest.raises(FileNotFoundError, match="no such file"):
        model.predict("missing.png")
    with pytest.raises(fercli.ImageNotFoundError):
        model.predict(["missing.png"])
    with pytest.raises(TypeError, match="images must be paths, arrays, bytes or Pillow images"):
        model.predict(None)  # type: ignore[arg-type]  # what is wrong is the point
    with pytest.raises(ValueError, match="errors must be one of raise, skip"):
        model.predict(images, errors="ignore")  # type: ignore[arg-type]  # likewise


def test_arrays_say_the_order_of_their_colors(model: fercli.Model, photo: Path) -> None:
    rgb = np.asarray(Image.open(photo).convert("RGB"))
    opaque = np.dstack([rgb[:, :, ::-1], np.full(rgb.shape[:2], 255, dtype=np.uint8)])

    expected = model.predict(rgb)

    assert model.predict(np.ascontiguousarray(rgb[:, :, ::-1]), color="bgr") == expected
    assert model.predict(opaque, color="bgr") == expected
    assert model.predict(rgb, color="bgr") != expected
    with pytest.raises(ValueError, match="color must be one of rgb, bgr"):
        model.predict(rgb, color="BGR")  # type: ignore[arg-type]  # what is wrong is the point


def test_bytes_and_open_files_are_images(model: fercli.Model, face_files: Path) -> None:
    path = face_files / "face-0.png"
    content = path.read_bytes()

    with path.open("rb") as stream:
        answers = [model.predict(form) for form in (path, content, io.BytesIO(content), stream)]

    assert all(answer == answers[0] for answer in answers)
    assert len(model.predict([content, content])) == 2


def test_files_are_streamed_as_the_command_line_streams_them(
    model: fercli.Model, face_files: Path, run: Any, tmp_path: Path
) -> None:
    (face_files / "text.jpg").write_text("hello")
    run("predict", face_files, "--model", model.path, "--output", "cli.csv")

    model.predict_files(face_files).save("rows.csv")
    frame = model.predict_files([face_files / "face-1.png"]).to_frame()

    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "cli.csv").read_bytes()
    assert list(frame["status"]) == ["ok"]
    assert list(frame.columns)[:3] == ["path", "status", "reason"]
    with pytest.raises(fercli.OutputExistsError):
        model.predict_files(face_files).save("rows.csv")
    with pytest.raises(ValueError, match="not to rows"):
        model.predict_files(face_files).save("rows.txt")


def test_several_threads_share_a_model(model: fercli.Model, faces: Dataset) -> None:
    expected = model.predict_crops(faces.images[:40])
    fresh = fercli.Model(model.file)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(fresh.predict_crops, [faces.images[:40]] * 12))

    assert all(np.array_equal(answer, expected) for answer in answers)


def test_a_model_explains_while_it_predicts(trained: RunFolder, faces: Dataset) -> None:
    model = fercli.load(trained.model, device="cpu")
    expected = [model.explain(image).layer_cam for image in faces.images[:3]]

    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(model.predict_crops, faces.images[:24]) for _ in range(40)]
        explained = [pool.submit(model.explain, image) for image in faces.images[:3]]
        for want, one in zip(expected, explained, strict=True):
            for label, heat in one.result(60).layer_cam.items():
                assert np.allclose(heat, want[label], atol=1e-5)
    assert all(one.result().shape == (24, 7) for one in others)


def test_a_model_is_opened_again_for_another_device_or_fewer_labels(
    trained: RunFolder, faces: Dataset, bundled: None
) -> None:
    assert bundled is None
    model = fercli.load(trained.onnx)
    assert fercli.load(model) is model
    with pytest.raises(DeviceUnavailableError):
        fercli.load(model, device="cuda:99")
    eight = fercli.load("plus")
    seven = fercli.load(eight.file.path.with_suffix(".safetensors"), labels_of="fer2013")
    assert fercli.load(eight, labels_of="fer2013").labels == seven.labels
    explained = seven.explain(np.zeros((48, 48), dtype=np.uint8), ["sad"])
    assert "contempt" not in explained.probabilities
    assert set(explained.layer_cam) == {explained.label, "sad"}
    again = fercli.load(seven, device="cpu")
    assert again.labels == seven.labels
    # It is compared as it was opened: eight labels would not fit these faces.
    voted = dataclasses.replace(faces, labeling="ferplus", source="fer2013.csv")
    compared = fercli.compare([seven, again], voted, split="private")
    assert tuple(compared.result.models[0].labels) == seven.labels


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_a_spawned_process_opens_the_model_anew(
    trained: RunFolder, faces: Dataset, kind: str
) -> None:
    model = fercli.load(trained.onnx if kind == "onnx" else trained.model)
    expected = model.predict_crops(faces.images[:8])

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answer = pool.apply_async(model.predict_crops, (faces.images[:8],)).get(timeout=60)

    assert answer == pytest.approx(expected, abs=1e-6)


FORKING = """
import multiprocessing, os, sys, warnings
import numpy as np
import fercli

# Newer Pythons warn of every fork in a process with threads, which is what this is about.
warnings.simplefilter("ignore", DeprecationWarning)
images = np.random.default_rng(0).integers(0, 256, (8, 48, 48), dtype=np.uint8)
model = fercli.load(sys.argv[1])
expected = model.predict_crops(images)
with multiprocessing.get_context("fork").Pool(1) as pool:
    answer = pool.apply_async(model.predict_crops, (images,)).get(timeout=60)
assert np.allclose(answer, expected, atol=1e-6)
child = os.fork()
if child == 0:
    os._exit(int(not np.allclose(model.predict_crops(images), expected, atol=1e-6)))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_forked_children_use_the_model_they_inherited(trained: RunFolder, kind: str) -> None:
    """In a process of its own: a fork copies the locks of whatever runs beside, here pytest's."""
    path = trained.onnx if kind == "onnx" else trained.model

    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_a_model_evaluates_explains_and_exports(
    trained: RunFolder, faces: Dataset, dataset_path: Path, tmp_path: Path
) -> None:
    run_folder = shutil.copytree(trained.path, tmp_path / "run")
    model = fercli.load(run_folder)

    evaluation = model.evaluate(str(dataset_path), split="public")
    explanation = model.explain(faces.images[0], ["sad"])
    result = model.export("face.onnx", check_on=faces)

    assert evaluation.accuracy == evaluation.result.scores.accuracy
    assert list(evaluation.per_class.columns) == ["precision", "recall", "f1", "support"]
    assert evaluation.confusion_matrix.to_numpy().sum() == evaluation.n_images
    assert "accuracy" in evaluation._repr_html_()
    assert fercli.Run(run_folder).scores["public"]["accuracy"] == evaluation.accuracy
    assert set(explanation.layer_cam) >= {"sad"}
    assert explanation.plot().axes
    assert (result.label_agreement, result.n_checked) == (1, 60)
    assert fercli.load("face.onnx").labels == model.labels
    with pytest.raises(fercli.OutputExistsError):
        model.export("face.onnx")
    with pytest.raises(ValueError, match="label must be one of"):
        model.explain(faces.images[0], ["sadness"])
    evaluation.save("scores")
    assert (tmp_path / "scores" / "report.html").exists()
    with pytest.raises(fercli.OutputExistsError):
        evaluation.save("scores")


def test_weights_are_opened_once_for_all_explanations(
    trained: RunFolder, faces: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def open_and_note(file: ModelFile, *, device: str, n_threads: int = 0) -> Runtime:
        opened.append((file.path.name, device))
        return open_runtime(file, device=device, n_threads=n_threads)

    monkeypatch.setattr("fercli.model.models.open_runtime", open_and_note)
    model = fercli.load(trained.path, device="cpu")
    for image in faces.images[:2]:
        assert model.explain(image).layer_cam

    assert opened == [("model.onnx", "cpu"), ("model.safetensors", "cpu")]


def test_models_are_compared_by_name_or_as_they_are(
    trained: RunFolder, faces: Dataset, tmp_path: Path
) -> None:
    shutil.copy(trained.onnx, tmp_path / "copy.onnx")

    comparison = fercli.compare([fercli.load(trained.path), "copy.onnx"], faces, split="public")

    assert list(comparison.table.index) == [str(trained.path), "copy.onnx"]
    assert list(comparison.pairs["p_value"]) == [1.0]
    assert comparison.plot().axes
    with pytest.raises(ConfigError, match="at least two"):
        fercli.compare(["copy.onnx"], faces)


def test_nothing_is_guessed_from_the_working_folder(trained: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(trained.path, tmp_path / "runs" / "mine")

    # Tests have no bundled models, and ./runs is not looked at.
    with pytest.raises(ModelNotFoundError, match="plus"):
        fercli.load()


def test_a_read_only_array_is_no_reason_for_a_warning(trained: RunFolder, faces: Dataset) -> None:
    model = fercli.load(trained.model)
    crops = faces.images[:3].copy()
    crops.flags.writeable = False

    # Warnings are errors here.
    assert len(model.predict(crops)) == 3
    assert model.explain(crops[0]).label in model.labels
