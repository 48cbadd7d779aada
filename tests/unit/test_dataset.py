from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from fercli.data import (
    Dataset,
    build_dataset,
    find_warnings,
    load_data,
    open_dataset,
    save_dataset,
)
from fercli.emotions import FER2013_COUNTS, LABELS
from fercli.errors import DataError, DatasetLayoutError, DatasetNotFoundError
from fercli.storage import read_tensor_header, save_tensors


def build(
    labels: list[int],
    splits: list[int],
    split_names: tuple[str, ...],
    label_names: tuple[str, ...] = LABELS,
) -> Dataset:
    n_images = len(labels)
    arrays: dict[str, Any] = {
        "images": np.zeros((n_images, 48, 48), dtype=np.uint8),
        "labels": np.array(labels, dtype=np.uint8),
        "splits": np.array(splits, dtype=np.uint8),
        "source_row": np.arange(n_images, dtype=np.int32),
    }
    return build_dataset(arrays, label_names=label_names, split_names=split_names, source="built")


def test_round_trip(faces: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "faces.safetensors"
    save_dataset(path, faces)

    opened = open_dataset(path)

    for name in ("images", "labels", "splits", "source_row"):
        assert np.array_equal(getattr(opened, name), getattr(faces, name))
    assert opened.sha256 == faces.sha256
    assert opened.label_names == LABELS
    opened.check_digest()


def test_a_notebook_shows_counts_and_no_markup_of_the_data() -> None:
    arrays: dict[str, Any] = {
        "images": np.zeros((3, 48, 48), np.uint8),
        "labels": np.array([0, 1, 1], np.uint8),
        "splits": np.zeros(3, np.uint8),
        "source_row": np.arange(3, dtype=np.int32),
    }
    faces = build_dataset(
        arrays, label_names=("<b>", "calm"), split_names=("train",), source="<script>"
    )

    shown = faces._repr_html_()

    assert "<td>train</td><td>1</td><td>2</td>" in shown
    assert "<script>" not in shown
    assert "<th>&lt;b&gt;</th>" in shown


def test_images_are_mapped_not_read(dataset_path: Path) -> None:
    opened = open_dataset(dataset_path)

    assert isinstance(opened.images.base, np.memmap) or isinstance(opened.images, np.memmap)


def test_a_flipped_bit_is_noticed(dataset_path: Path, tmp_path: Path) -> None:
    content = bytearray(dataset_path.read_bytes())
    content[-5000] ^= 1
    path = tmp_path / "rot.safetensors"
    path.write_bytes(content)

    with pytest.raises(DatasetLayoutError, match="damaged"):
        load_data(str(path))


@pytest.mark.parametrize("keep", [0, 4, 100, 100_000])
def test_cut_off_files_are_refused(dataset_path: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(dataset_path.read_bytes()[:keep])

    with pytest.raises(DataError):
        open_dataset(path)


ODD: list[Any] = [None, True, -1, 2**70, 0.5, "", "\ud800", [], ["a", 1], {}, {"a": {}}, [[[]]]]


def nest(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("key", ["schema", "kind", "labels", "splits", "source", "labeling",
                                 "dropped", "counts", "targets", "sha256"])  # fmt: skip
def test_odd_headers_are_refused_or_read(tmp_path: Path, key: str) -> None:
    path = tmp_path / "odd.safetensors"
    dataset = build([0, 1], [0, 0], ("train",))
    save_dataset(path, dataset)
    header = read_tensor_header(path, DatasetLayoutError)
    for value in ODD:
        write_header(path, dataset, json.dumps({**header, key: value}))
        with contextlib.suppress(DatasetLayoutError):
            opened = open_dataset(path)
            assert all(type(name) is str for name in (*opened.label_names, *opened.split_names))
            assert (type(opened.source), type(opened.labeling)) == (str, str)
            assert opened.count()
            opened.select("train")


@pytest.mark.parametrize("levels", [30, 900, 5_000, 100_000])
def test_headers_nested_deeply_are_refused(tmp_path: Path, levels: int) -> None:
    path = tmp_path / "deep.safetensors"
    write_header(path, build([0], [0], ("train",)), f'{{"sha256": {nest(levels)}}}', signed=False)

    with pytest.raises(DatasetLayoutError, match="deep"):
        open_dataset(path)


@pytest.mark.parametrize("name", ["images", "labels", "splits", "source_row", "targets"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_arrays_of_another_type_are_refused(tmp_path: Path, name: str, dtype: type[Any]) -> None:
    path = tmp_path / "odd.safetensors"
    arrays: dict[str, Any] = {
        **{key: getattr(build([0, 1], [0, 0], ("train",)), key) for key in ARRAYS},
        "targets": np.full((2, 7), 1 / 7, dtype=np.float32),
    }
    own = arrays[name].dtype
    header = {"schema": 1, "kind": "dataset", "labels": LABELS, "splits": ["train"], "source": "x"}
    save_tensors(path, {**arrays, name: arrays[name].astype(dtype)}, header)

    if own == dtype:
        assert open_dataset(path).n_images == 2
    else:
        with pytest.raises(
            DatasetLayoutError, match=f"{name} must be {own}, not {np.dtype(dtype)}"
        ):
            open_dataset(path)


@pytest.mark.parametrize("shape", [(), (1,), (2, 2)])
@pytest.mark.parametrize("name", ["images", "labels", "splits", "source_row"])
def test_arrays_of_another_shape_are_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "odd.safetensors"
    dataset = build([0, 1], [0, 0], ("train",))
    array = np.zeros(shape, dtype=getattr(dataset, name).dtype)
    arrays = {**{key: getattr(dataset, key) for key in ARRAYS}, name: array}
    header = {"schema": 1, "kind": "dataset", "labels": ["a", "b"], "splits": ["train"]}
    save_tensors(path, arrays, {**header, "source": "x"})

    with pytest.raises(DatasetLayoutError, match="fit together"):
        open_dataset(path)


ARRAYS = ("images", "labels", "splits", "source_row")


def write_header(path: Path, dataset: Dataset, text: str, *, signed: bool = True) -> None:
    """Write a dataset whose header is any text, with a digest of it that is right."""
    if signed:
        values = json.loads(text)
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        text = json.dumps({**values, "header_sha256": digest})
    arrays = {key: getattr(dataset, key) for key in ARRAYS}
    save_file(arrays, path, metadata={"fercli": text})


def test_test_means_both_halves() -> None:
    whole = build([0, 1, 2, 3], [0, 1, 2, 1], ("train", "public", "private"))
    half = build([0, 1], [0, 1], ("train", "public"))
    real = build([0, 1], [0, 1], ("train", "test"))

    assert whole.find_split("test") is not None
    assert whole.select("test").labels.tolist() == [1, 2, 3]
    assert half.find_split("test") is None
    assert real.select("test").labels.tolist() == [1]
    with pytest.raises(DatasetNotFoundError, match="has no private split"):
        half.select("private")


def test_the_complete_fer2013_is_recognized() -> None:
    labels = [k for split in FER2013_COUNTS.values() for k, n in enumerate(split) for _ in range(n)]
    splits = [s for s, split in enumerate(FER2013_COUNTS.values()) for _ in range(sum(split))]

    whole = build(labels, splits, tuple(FER2013_COUNTS))
    partial = build(labels[:-1], splits[:-1], tuple(FER2013_COUNTS))

    assert whole.is_official
    assert find_warnings(whole) == []
    assert not partial.is_official
    (warning,) = find_warnings(partial)
    assert "private has 3588 of 3589" in warning


def test_without_private_the_way_to_an_honest_score_is_named() -> None:
    without = build([0, 1, 0], [0, 0, 1], ("train", "public", "private"), LABELS)
    train_alone = build([0, 1], [0, 0], ("train", "public", "private"), LABELS)

    incomplete, way = find_warnings(without)

    assert "private has 0 of 3589" in incomplete
    assert "fer train --validation 0.1" in way
    assert len(find_warnings(train_alone)) == 1


def test_labels_that_cannot_be_learned_are_warned_of() -> None:
    names = ("calm", "tense", "odd")
    splits = ("train", "test")

    typo = build([0, 1, 0, 2], [0, 0, 1, 1], splits, names)
    single = build([0, 0], [0, 1], splits, names)

    assert find_warnings(typo) == ["odd has images in test, but none in train"]
    assert "same label" in find_warnings(single)[0]
