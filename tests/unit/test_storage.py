from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fercli.errors import ConfigError, ModelFileError, OutputExistsError
from fercli.storage import (
    check_apart,
    check_output,
    check_outputs,
    digest_tensors,
    is_sealed,
    load_tensors,
    map_tensors,
    open_atomically,
    remove_others,
    save_tensors,
    seal_json,
    write_json,
    write_text,
)


@pytest.fixture
def arrays() -> dict[str, Any]:
    """Two arrays, one of them a scalar."""
    return {"weights": np.arange(12, dtype=np.float32).reshape(3, 4), "count": np.array(3)}


def test_round_trip(arrays: dict[str, Any], tmp_path: Path) -> None:
    digest = save_tensors(tmp_path / "a.safetensors", arrays, {"kind": "test"})

    loaded, metadata = load_tensors(tmp_path / "a.safetensors", ModelFileError)

    assert metadata == {"kind": "test", "sha256": digest}
    assert loaded["count"].shape == ()
    assert np.array_equal(loaded["weights"], arrays["weights"])


def test_every_flipped_bit_is_refused(arrays: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    digest = save_tensors(path, arrays, {"labels": ["happy"]})
    expected = {"labels": ["happy"], "sha256": digest}
    whole = path.read_bytes()
    accepted = []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        try:
            loaded, metadata = load_tensors(path, ModelFileError)
        except ModelFileError:
            continue
        same = all(np.array_equal(loaded[name], array) for name, array in arrays.items())
        accepted.append((position, same, metadata == expected))

    # Blanks that pad the header may change; nothing that is read may.
    assert all(tensors and header for _, tensors, header in accepted)
    assert len(accepted) < 20


def test_digest_sees_names_types_and_shapes(arrays: dict[str, Any]) -> None:
    digests = {
        digest_tensors(arrays),
        digest_tensors({"weights": arrays["weights"]}),
        digest_tensors({**arrays, "weights": arrays["weights"].reshape(4, 3)}),
        digest_tensors({**arrays, "weights": arrays["weights"].astype(np.float64)}),
        digest_tensors({"other": arrays["weights"], "count": arrays["count"]}),
    }

    assert len(digests) == 5
    assert digest_tensors(dict(reversed(arrays.items()))) == digest_tensors(arrays)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def write_half() -> None:
        with open_atomically(path) as stream:
            stream.write(b"new")
            message = "power cut"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="power"):
        write_half()

    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["file.txt"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    for odd in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="Out of range"):
            write_json(tmp_path / "a.json", {"loss": odd})
        with pytest.raises(ValueError, match="Out of range"):
            save_tensors(tmp_path / "a.safetensors", {}, {"loss": odd})

    assert list(tmp_path.iterdir()) == []


def test_json_is_for_people_too(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"scores": [0.5]})

    assert (tmp_path / "a.json").read_text() == '{\n  "scores": [\n    0.5\n  ]\n}\n'


def test_a_sealed_record_tells_whether_it_was_changed() -> None:
    record = {"split": "public", "scores": {"a": 0.5, "b": 0.25}}
    sealed = seal_json(record)

    assert is_sealed(sealed)
    assert {key: sealed[key] for key in record} == record
    # Whoever writes JSON may order its keys as they like.
    assert is_sealed({**dict(reversed(sealed.items())), "scores": {"b": 0.25, "a": 0.5}})
    assert not is_sealed({**sealed, "split": "private"})
    assert not is_sealed({**sealed, "new": None})
    assert not is_sealed(record)


def test_inputs_are_told_by_what_they_are(tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    source.touch()
    other.touch()
    (tmp_path / "soft").symlink_to("source")
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "loop").symlink_to("loop")

    for name in ("source", "soft", "hard", f"../{tmp_path.name}/source"):
        output = tmp_path / name
        with pytest.raises(ConfigError, match="would overwrite") as refusal:
            check_apart([other, output], [tmp_path, source])
        assert f"{output} " in refusal.value.message
        with pytest.raises(ConfigError):
            check_apart([source], [output])
    check_apart([other, tmp_path / "new", tmp_path, tmp_path / "loop"], [source, tmp_path])
    check_apart([tmp_path / "new"], iter(lambda: pytest.fail("nobody asks"), None))


def test_outputs_are_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "here"
    check_output(path, force=False)
    path.touch()

    with pytest.raises(OutputExistsError):
        check_output(path, force=False)
    check_output(path, force=True)


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "F4"])
def test_tensors_that_numpy_has_no_type_for_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": np.zeros(4, dtype=np.float32)}, {"kind": "test"})
    content = path.read_bytes()
    sizes = {"BF16": 8, "F8_E4M3": 16, "F4": 32}
    header = content[8 : 8 + int.from_bytes(content[:8], "little")].replace(
        b'"dtype":"F32","shape":[4]', f'"dtype":"{kind}","shape":[{sizes[kind]}]'.encode()
    )
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))

    with pytest.raises(ModelFileError, match=f"unexpected type {kind}"):
        load_tensors(path, ModelFileError)


def test_mapped_tensors_are_of_the_types_that_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    stored: dict[str, Any] = {
        "bytes": np.arange(5, dtype=np.uint8),
        "rows": np.array([[7, -8]], dtype=np.int32),
        "shares": np.array([0.25, 0.75], dtype=np.float32),
    }
    save_tensors(path, stored, {"kind": "test"})

    mapped = map_tensors(path, ModelFileError)

    assert {name: array.dtype for name, array in mapped.items()} == {
        name: array.dtype for name, array in stored.items()
    }
    for name, array in stored.items():
        assert np.array_equal(mapped[name], array)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [(np.float64, "F64"), (np.int64, "I64"), (np.uint16, "U16"), (np.bool_, "BOOL")],
)
def test_a_mapped_tensor_of_another_type_is_refused(tmp_path: Path, dtype: Any, kind: str) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"labels": np.zeros(4, dtype=dtype)}, {"kind": "test"})

    with pytest.raises(ModelFileError) as refusal:
        map_tensors(path, ModelFileError)

    assert refusal.value.message == f"{path}: tensor 'labels' has the unexpected type {kind}"


@pytest.mark.parametrize(
    "kind",
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16",
     "float32", "float64"],
)  # fmt: skip
def test_arrays_of_every_type_come_back(tmp_path: Path, kind: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(kind)

    save_tensors(tmp_path / "a.safetensors", {"a": array}, {})
    loaded, _ = load_tensors(tmp_path / "a.safetensors", ModelFileError)

    assert loaded["a"].dtype == array.dtype
    assert np.array_equal(loaded["a"], array)


def test_files_of_a_folder_are_not_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    check_outputs(None, ["a"], force=False)
    check_outputs(folder, ["a"], force=False)
    folder.mkdir()
    (folder / "b").touch()
    check_outputs(folder, ["a"], force=False)
    check_outputs(folder, ["a", "b"], force=True)

    with pytest.raises(OutputExistsError, match="b is already there"):
        check_outputs(folder, ["a", "b"], force=False)
    with pytest.raises(OutputExistsError, match="is a file, and a folder is needed"):
        check_outputs(folder / "b", ["a"], force=True)
    with pytest.raises(ConfigError, match="overwrite the input"):
        check_outputs(folder, ["b"], force=True, inputs=[folder / "b"])


def test_files_of_an_older_run_are_removed(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in "abc"}
    for path in (paths["a"], paths["b"]):
        path.touch()

    remove_others(paths, ["a"])

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_folders_are_made_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"

    for text in ("one", "two"):
        write_text(path, text)

    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]
