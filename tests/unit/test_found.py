"""What `nox -s fuzz` and `nox -s rot` found, each built anew."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import fercli
from fercli.config_files import merge_config
from fercli.data import load_data
from fercli.errors import ConfigError, DataError, DatasetLayoutError, ModelFileError
from fercli.model_files import ModelFile, load_train_digests, read_metadata
from fercli.networks import build_network
from fercli.prediction.merge import merge_parts
from fercli.runs import RunFolder, read_scores
from fercli.settings import build_config
from fercli.storage import RECORD_DIGEST, load_tensors, save_tensors, seal_json
from fercli.training.checkpoint import find_checkpoints, restore_newest
from fercli.training.state import TrainingState, build_state

if TYPE_CHECKING:
    from fercli.config import TrainConfig


def test_a_member_of_a_zip_without_a_name_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("train/angry/a.png", b"x")
        archive.writestr("Q", b"x")
    path = tmp_path / "odd.zip"
    # What zipfile takes for an empty name.
    path.write_bytes(stream.getvalue().replace(b"Q", b"\0"))

    with pytest.raises(DatasetLayoutError, match=r"the member name '.x00' is refused"):
        load_data(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dropout = " + "9" * 400, "dropout must be"),
        ("widths = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_odd_values_of_a_configuration_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=message):
        merge_config(path, None, [], {})


def test_digests_of_other_content_are_refused(trained: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    model = ModelFile(run.onnx, run.path, assumed=False)
    _, header = load_tensors(run.train_digests, ModelFileError)
    save_tensors(run.train_digests, {"others": np.zeros(3)}, header)

    with pytest.raises(ModelFileError, match="does not say which images"):
        load_train_digests(model, read_metadata(model))


def begin(config: TrainConfig) -> TrainingState:
    return build_state(build_network(config.model, 7), config, torch.device("cpu"))


@pytest.mark.parametrize("change", [{"epoch": "2"}, {"history": [{}]}, {"step": -1}])
def test_a_checkpoint_of_odd_progress_is_skipped_aloud(
    trained: RunFolder, tiny_config: TrainConfig, tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = shutil.copytree(trained.checkpoints, tmp_path / "checkpoints")
    newest, *others = find_checkpoints(folder)
    arrays, header = load_tensors(newest, ModelFileError)
    save_tensors(newest, arrays, {**header, "progress": {**header["progress"], **change}})
    notes: list[str] = []

    found = restore_newest(folder, begin(tiny_config), notes.append)

    (note,) = notes
    assert note.startswith(f"skipped a checkpoint: {newest}: ")
    assert found == (others[0] if others else None)


def test_a_checkpoint_of_another_network_is_refused(trained: RunFolder, tmp_path: Path) -> None:
    folder = shutil.copytree(trained.checkpoints, tmp_path / "checkpoints")
    wider = build_config({"recipe": "fast", "stem_width": 4, "widths": (8, 24), "device": "cpu"})

    with pytest.raises(ModelFileError, match=r"from another training than run\.json describes"):
        restore_newest(folder, begin(wider), pytest.fail)


def reseal(side: Path, **changes: Any) -> None:
    first, _, rest = side.read_text().partition("\n")
    record = {**json.loads(first), **changes}
    del record[RECORD_DIGEST]
    side.write_text(json.dumps(seal_json(record)) + "\n" + rest)


@pytest.mark.parametrize("place", [20, -20])
def test_a_damaged_parquet_with_a_right_digest_is_refused(
    trained: RunFolder, face_files: Path, tmp_path: Path, place: int
) -> None:
    rows = fercli.load(trained.onnx).predict_files(face_files, shard=(0, 1))
    path = rows.save_part(tmp_path / "parts", "parquet")
    content = bytearray(path.read_bytes())
    content[place : place + 8] = b"\xff" * 8
    path.write_bytes(content)
    side = path.with_name(f"{path.stem}.side.jsonl")
    reseal(side, n_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    with pytest.raises(DataError, match="not a readable Parquet file"):
        merge_parts(tmp_path / "parts", tmp_path / "all.parquet")


def test_columns_whose_names_are_no_text_are_refused(
    trained: RunFolder, face_files: Path, tmp_path: Path
) -> None:
    rows = fercli.load(trained.onnx).predict_files(face_files, shard=(0, 1))
    path = rows.save_part(tmp_path / "parts", "parquet")
    content = path.read_bytes().replace(b"image_width", b"image\xffwidth")
    path.write_bytes(content)
    side = path.with_name(f"{path.stem}.side.jsonl")
    reseal(side, n_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    with pytest.raises(DataError, match="not a readable Parquet file"):
        merge_parts(tmp_path / "parts", tmp_path / "all.parquet")


@pytest.mark.parametrize("order", ["[0,1.0]", "[0,true]", "[0,-1]"])
def test_odd_numbers_of_a_side_file_are_refused(
    trained: RunFolder, face_files: Path, tmp_path: Path, order: str
) -> None:
    rows = fercli.load(trained.onnx).predict_files(next(face_files.iterdir()), shard=(0, 1))
    path = rows.save_part(tmp_path / "parts")
    side = path.with_name(f"{path.stem}.side.jsonl")
    side.write_text(f"{side.read_text().splitlines()[0]}\n{order}\n")
    reseal(side, order_sha256=hashlib.sha256(f"{order}\n".encode()).hexdigest())

    with pytest.raises(DataError, match="damaged: it does not match its digest"):
        merge_parts(tmp_path / "parts", tmp_path / "all.jsonl")


def test_a_changed_count_of_a_side_file_is_noticed(
    trained: RunFolder, face_files: Path, tmp_path: Path
) -> None:
    rows = fercli.load(trained.onnx).predict_files(face_files, shard=(0, 1))
    path = rows.save_part(tmp_path / "parts")
    side = path.with_name(f"{path.stem}.side.jsonl")
    text = side.read_text()
    assert '"n_faces": 5' in text
    side.write_text(text.replace('"n_faces": 5', '"n_faces": 7'))

    with pytest.raises(DataError, match="damaged: it does not match its digest"):
        merge_parts(tmp_path / "parts", tmp_path / "all.jsonl")


def test_a_changed_score_is_left_out(trained: RunFolder, faces: Any, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    # Other tests may have scored the run.
    run.scores.unlink(missing_ok=True)
    model = fercli.load(run.path)
    for split in ("public", "private"):
        model.evaluate(faces, split=split)
    first, second = run.scores.read_text().splitlines()
    score = json.loads(first)["accuracy"]
    whole = read_scores(run)

    run.scores.write_text(first.replace(str(score), "0.99", 1) + "\n" + second + "\n")

    assert len(whole) == 2
    assert list(read_scores(run).values()) == list(whole.values())[1:]
    # An older fercli wrote no digest.
    bare = {key: value for key, value in json.loads(first).items() if key != RECORD_DIGEST}
    run.scores.write_text(json.dumps(bare) + "\n")
    assert list(read_scores(run).values()) == list(whole.values())[:1]
