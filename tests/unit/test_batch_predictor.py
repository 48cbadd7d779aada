from __future__ import annotations

import doctest
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import fercli
from fercli import batch_predictor
from fercli.errors import ConfigError, ModelNotFoundError
from fercli.model import Model

if TYPE_CHECKING:
    from fercli.batch_predictor import BatchPredictor
    from fercli.data import Dataset
    from fercli.runs import RunFolder


@pytest.fixture
def predictor(trained: RunFolder) -> BatchPredictor:
    """Of face crops."""
    return fercli.BatchPredictor(trained.onnx, faces="whole")


def test_the_docstring_is_true(trained: RunFolder, face_files: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(trained.onnx.read_bytes())
    (face_files / "face-0.png").rename(tmp_path / "face.png")

    assert doctest.testmod(batch_predictor).failed == 0


def test_tables_hold_what_files_are_said_to_be(
    predictor: BatchPredictor, trained: RunFolder, face_files: Path, tmp_path: Path
) -> None:
    files = sorted(face_files.iterdir())
    stream = fercli.load(trained.onnx).predict_files(face_files, faces="whole", batch_size=1)
    stream.save(tmp_path / "rows.parquet")

    table = predictor([path.read_bytes() for path in files], list(map(str, files)))

    expected = pa.parquet.read_table(tmp_path / "rows.parquet")
    assert table.schema.names == ["image", *expected.schema.names] == predictor.schema.names
    assert table["image"].to_pylist() == list(range(len(files)))
    for name in ("path", "status", "label", "box_width", "image_width"):
        assert table[name].to_pylist() == expected[name].to_pylist()
    for label in predictor.labels:
        assert np.allclose(table[f"p_{label}"], expected[f"p_{label}"], rtol=0, atol=1e-6)


def test_bad_images_are_rows_with_their_status(
    predictor: BatchPredictor, faces: Dataset, face_files: Path
) -> None:
    content = (face_files / "face-0.png").read_bytes()
    images = [b"", None, content, content[:50], faces.images[0], np.zeros((2, 3)), "face-0.png",
              np.zeros((0, 4), dtype=np.uint8)]  # fmt: skip

    rows = predictor(images).to_pylist()

    assert [row["image"] for row in rows] == list(range(len(images)))
    assert [row["path"] for row in rows] == [str(index) for index in range(len(images))]
    ok = {2, 4}
    assert [row["status"] == "ok" for row in rows] == [index in ok for index in range(len(images))]
    for index, row in enumerate(rows):
        assert (row["reason"] is None) == (index in ok)
    assert rows[1]["reason"] == "there is no image"
    assert "str" in rows[6]["reason"]


def test_what_asks_for_too_much_is_refused(trained: RunFolder, face_files: Path) -> None:
    small = fercli.BatchPredictor(trained.onnx, max_pixels=100)

    [row] = small([(face_files / "face-0.png").read_bytes()]).to_pylist()

    assert row["status"] == "refused"


def test_photos_have_as_many_rows_as_faces(trained: RunFolder, photo: Path) -> None:
    haar = fercli.BatchPredictor(trained.onnx, faces="haar")
    black = np.zeros((300, 300, 3), dtype=np.uint8)

    table = haar([black, photo.read_bytes()], ["s3://bucket/black.png", None])

    assert table["status"].to_pylist()[:2] == ["no_face", "ok"]
    assert table["path"].to_pylist()[:2] == ["s3://bucket/black.png", "1"]


def test_columns_of_arrow_and_arrays_of_many_are_batches(
    predictor: BatchPredictor, faces: Dataset, face_files: Path
) -> None:
    contents = [path.read_bytes() for path in sorted(face_files.iterdir())]
    column = pa.chunked_array([pa.array(contents, type=pa.large_binary())])

    assert predictor(column).equals(predictor(contents))
    assert predictor(faces.images[:5]).num_rows == 5
    empty = predictor([])
    assert (empty.num_rows, empty.schema) == (0, predictor.schema)


def test_what_is_no_batch_is_refused(predictor: BatchPredictor, trained: RunFolder) -> None:
    with pytest.raises(TypeError, match="a list of images"):
        predictor(b"one image")
    with pytest.raises(ValueError, match="zip"):
        predictor([b"", b""], ["one"])
    with pytest.raises(ModelNotFoundError):
        fercli.BatchPredictor("nothing.onnx")
    with pytest.raises(ConfigError):
        fercli.BatchPredictor(trained.onnx, min_confidence=2)


def test_it_is_small_and_opens_one_session_in_a_process(
    trained: RunFolder, faces: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[Model] = []
    open_file = Model._open_file  # noqa: SLF001  # counted

    def count(self: Model, n_threads: int) -> Any:
        opened.append(self)
        return open_file(self, n_threads)

    monkeypatch.setattr(Model, "_open_file", count)
    monkeypatch.setattr(batch_predictor, "_OPENED", {})
    monkeypatch.chdir(trained.path)
    predictor = fercli.BatchPredictor("model.onnx", faces="whole")
    monkeypatch.chdir(tmp_path)
    assert opened == []

    content = pickle.dumps(predictor)
    copies = [pickle.loads(content) for _ in range(8)]  # noqa: S301  # our own
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda copy: copy(faces.images[:3]), copies))

    assert len(content) < 1000
    assert len(opened) == 1
    assert all(table.equals(tables[0]) for table in tables)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_open_it_themselves(method: str, predictor: BatchPredictor, faces: Dataset) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    expected = predictor(faces.images[:4])["label"].to_pylist()
    context = multiprocessing.get_context(method)

    with context.Pool(1) as pool:
        # The predictor itself: a worker that is spawned need not find this module.
        table = pool.apply_async(predictor, (faces.images[:4],)).get(timeout=60)

    assert table["label"].to_pylist() == expected
