"""What a word stands for that names a model."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fercli.errors import ConfigError, ModelFileError, ModelNotFoundError
from fercli.metadata import ModelMetadata, RunRecord
from fercli.model_files import (
    ModelFile,
    choose_bundled,
    describe_model,
    describe_provenance,
    find_bundled_weights,
    find_model,
    find_weights_file,
    identify_member,
    list_bundled,
    list_selection_splits,
    load_train_digests,
    read_metadata,
    resolve_model_name,
)
from fercli.runs import RunFolder
from fercli.storage import save_tensors

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def make_run(path: Path, *names: str, finished_at: str | None = "2026-01-01") -> RunFolder:
    """Return a run of which there are a record and some files, empty."""
    run = RunFolder(path)
    record = RunRecord.from_json(load("run"), path=path)
    run.write_record(record.replace(finished_at=finished_at))
    for name in names:
        (path / name).touch()
    return run


BOTH = ("model.safetensors", "model.onnx")


def test_a_run_gives_the_form_that_is_preferred(tmp_path: Path) -> None:
    both, one = make_run(tmp_path / "both", *BOTH), make_run(tmp_path / "one", BOTH[0])

    for run, prefer_onnx, path in (
        (both, False, both.model), (both, True, both.onnx),
        (one, False, one.model), (one, True, one.model),
    ):  # fmt: skip
        found = find_model(str(run.path), prefer_onnx=prefer_onnx)
        assert found == ModelFile(path, run.path, assumed=False)
    assert not find_model(str(both.path)).is_onnx
    assert find_model(str(both.path), prefer_onnx=True).is_onnx


@pytest.mark.parametrize(
    ("finished_at", "reason"), [(None, "does not yet have a"), ("2026-01-01", "has lost its")]
)
def test_a_run_without_its_model_says_what_became_of_it(
    tmp_path: Path, finished_at: str | None, reason: str
) -> None:
    make_run(tmp_path / "run", "model.onnx", finished_at=finished_at)

    with pytest.raises(ModelFileError, match=reason) as caught:
        find_model(str(tmp_path / "run"))

    assert caught.value.hint == f"go on with it: fer train --resume {tmp_path / 'run'}"


def test_without_a_word_it_is_the_newest_run_or_a_bundled_model(
    tmp_path: Path, bundled: None
) -> None:
    assert bundled is None
    assert [find_model(None, for_photos=wanted).bundled for wanted in (False, True)] == [
        "base", "plus"
    ]  # fmt: skip
    assert find_model(None) == find_model(None, for_photos=False)
    assert find_model(None).assumed
    make_run(tmp_path / "runs" / "old", *BOTH)
    make_run(tmp_path / "runs" / "new", *BOTH, finished_at="2026-01-02")
    make_run(tmp_path / "runs" / "running", *BOTH, finished_at=None)

    for prefer_onnx, name in ((False, "model.safetensors"), (True, "model.onnx")):
        found = find_model(None, prefer_onnx=prefer_onnx)
        assert found == ModelFile(Path("runs/new") / name, Path("runs/new"), assumed=True)


def test_without_a_word_and_without_models_the_ways_on_are_named() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no finished run under \./runs") as caught:
        find_model(None)

    assert "fer train" in caught.value.hint


@pytest.mark.parametrize("there", [(), ("base",), ("plus",), ("base", "plus", "tiny")])
def test_a_bundled_model_stands_in_where_its_better_is_missing(
    there: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.model_files._ASSETS", tmp_path)
    for name in there:
        (tmp_path / f"{name}.onnx").touch()

    assert list_bundled() == list(there)
    best = {"photos": "plus", "scores": "base"} if len(there) > 1 else {}
    only = there[0] if there else None
    assert choose_bundled(for_photos=True) == best.get("photos", only)
    assert choose_bundled(for_photos=False) == best.get("scores", only)


def test_what_is_no_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").touch()
    os.mkfifo(tmp_path / "pipe.onnx")

    for word, error, reason in (
        (tmp_path / "model.pt", ModelFileError, "neither a .safetensors nor an .onnx"),
        (tmp_path / "pipe.onnx", ModelFileError, "is not a file that a model can be read from"),
        (tmp_path / "gone.onnx", ModelNotFoundError, r"there is no model at .*gone\.onnx"),
        ("a\0b", ModelNotFoundError, "there is no model at"),
        ("x" * 5000, ModelNotFoundError, "File name too long"),
        ("hf:owner", ConfigError, "'hf:owner' is not a hub model"),
        ("hf:a/b@", ConfigError, "is not a hub model"),
        (tmp_path, ModelFileError, "is not a run"),
    ):
        with pytest.raises(error, match=reason):
            find_model(str(word))


def test_a_file_is_itself(tmp_path: Path) -> None:
    for name in BOTH:
        (tmp_path / name).touch()
        found = find_model(str(tmp_path / name))
        assert found == ModelFile(tmp_path / name, None, assumed=False)
        assert found.title == found.origin == str(tmp_path / name)
        assert found.remark == ""


def test_what_was_not_named_is_said() -> None:
    run = ModelFile(Path("runs/a/model.onnx"), Path("runs/a"), assumed=True)
    brought = ModelFile(Path("x/base.onnx"), None, assumed=True, bundled="base")
    hub = ModelFile(Path("x/model.onnx"), None, assumed=False, hub="hf:a/b@c", pinned=False)

    assert run.remark == "model: runs/a/model.onnx, of the newest finished run"
    assert run.title == "runs/a/model.onnx"
    assert brought.remark == "model: base, which comes with fercli"
    assert (brought.title, replace(brought, assumed=False).remark) == ("base", "")
    assert hub.title == "hf:a/b@c"
    assert hub.remark.startswith("model: hf:a/b@c; this name, with its commit,")
    assert replace(hub, pinned=True).remark == ""


def test_no_output_lands_on_what_belongs_to_a_model() -> None:
    alone = ModelFile(Path("x/a.onnx"), None, assumed=False)
    run = ModelFile(Path("r/model.onnx"), Path("r"), assumed=False)

    assert alone.files == [
        Path("x/a.onnx"), Path("x/a.train-digests.safetensors"),
        Path("x/train-digests.safetensors"),
    ]  # fmt: skip
    assert set(run.files) == {*RunFolder(Path("r")).files}
    assert run.files[0] == run.path


def test_a_model_is_named_from_any_folder(tmp_path: Path, bundled: None) -> None:
    assert bundled is None
    run = ModelFile(Path("r/model.onnx"), Path("r"), assumed=False).resolve()

    assert (run.path, run.run) == (tmp_path / "r" / "model.onnx", tmp_path / "r")
    assert ModelFile(Path("a.onnx"), None, assumed=True).resolve() == ModelFile(
        tmp_path / "a.onnx", None, assumed=True
    )
    assert resolve_model_name("tiny") == "tiny"
    assert resolve_model_name("r") == str(tmp_path / "r")


def test_weights_are_taken_where_a_run_has_them(tmp_path: Path) -> None:
    both, one = make_run(tmp_path / "both", *BOTH), make_run(tmp_path / "one", BOTH[1])

    for run, path in ((both, both.model), (one, one.onnx)):
        taken = ModelFile(run.onnx, run.path, assumed=False)
        assert find_weights_file(taken) == replace(taken, path=path)
    for other in (
        ModelFile(both.onnx, None, assumed=False), ModelFile(both.model, both.path, assumed=False)
    ):  # fmt: skip
        assert find_weights_file(other) is other


def test_bundled_models_say_what_they_are(bundled: None) -> None:
    assert bundled is None
    tiny = find_model("tiny")
    about = describe_model(tiny)
    metadata = read_metadata(tiny)

    assert (about.kind, about.verified, about.labels) == ("onnx", True, metadata.labels)
    assert about.parameters == metadata.parameters
    assert about.trained.dataset == metadata.source
    assert about.trained.validation is not None
    assert about.trained.validation.split == "public"
    assert tiny.compute_digest() != metadata.sha256
    assert not tiny.assumed
    for name in list_bundled():
        weights = find_bundled_weights(name)
        assert weights is not None
        assert weights.path.name == f"{name}.safetensors"
        assert (weights.bundled, weights.assumed) == (name, False)
        stored = read_metadata(weights)
        assert weights.compute_digest() == stored.sha256 == read_metadata(find_model(name)).sha256
        assert stored.labels == read_metadata(find_model(name)).labels


def test_what_a_model_was_chosen_on_is_that_of_all_it_was_made_from() -> None:
    metadata = ModelMetadata.from_json(load("model"), path=Path("a"))
    taught = replace(metadata.teachers[0], chosen_on=("validation",))

    assert list_selection_splits(ModelMetadata(labels=("a", "b"))) == []
    assert list_selection_splits(metadata) == ["0.2", "public"]
    assert list_selection_splits(replace(metadata, teachers=(taught,))) == [
        "0.2", "public", "validation"
    ]  # fmt: skip
    ensemble = ModelMetadata.from_json(load("ensemble"), path=Path("a"))
    assert list_selection_splits(ensemble) == ["public"]


@pytest.mark.parametrize(
    ("run", "name"),
    [(None, "model.onnx"), ("runs/mine", "mine"), ("runs/mine/members/2", "members/2")],
)
def test_a_teacher_is_named_without_the_folders_of_who_trained_it(
    tmp_path: Path, run: str | None, name: str
) -> None:
    path = tmp_path / (run or "") / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    model = ModelFile(path, None if run is None else path.parent, assumed=False)
    metadata = ModelMetadata.from_json(load("model"), path=path)

    teacher, member = describe_provenance(model, metadata), identify_member(model, metadata)

    assert (teacher.model, teacher.sha256) == (name, model.compute_digest())
    assert teacher.validation == metadata.validation
    assert teacher.chosen_on == ("0.2", "public")
    assert (member.model, member.recipe, member.seed, member.epochs) == (name, "fast", 0, 2)


def test_digests_of_training_images_are_a_models_own(tmp_path: Path) -> None:
    model = ModelFile(tmp_path / "a.onnx", None, assumed=False)
    metadata = ModelMetadata.from_json(load("model"), path=model.path)
    own, shared = tmp_path / "a.train-digests.safetensors", tmp_path / "train-digests.safetensors"
    of = {"dataset_sha256": load("model")["dataset"]["sha256"]}
    assert load_train_digests(model, metadata) is None

    save_tensors(shared, {"digests": np.array([1, 2], dtype=np.uint64)}, of)
    found = load_train_digests(model, metadata)
    assert found is not None
    assert found.tolist() == [1, 2]
    # Of another model in the same folder.
    assert load_train_digests(model, replace(metadata, dataset=None)) is None
    save_tensors(own, {"digests": np.array([3], dtype=np.uint64)}, of)
    found = load_train_digests(model, metadata)
    assert found is not None
    assert found.tolist() == [3]
    for odd in (np.array([3]), np.array([[3]], dtype=np.uint64)):
        save_tensors(own, {"digests": odd}, of)
        with pytest.raises(ModelFileError, match="does not say which images"):
            load_train_digests(model, metadata)
