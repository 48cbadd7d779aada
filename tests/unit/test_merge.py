from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fercli
from fercli.errors import ConfigError, DataError, InputNotFoundError, OutputExistsError
from fercli.prediction import parts
from fercli.prediction.merge import merge_parts
from fercli.storage import RECORD_DIGEST, seal_json

if TYPE_CHECKING:
    from fercli.model import Model
    from fercli.runs import RunFolder

N = 3


@pytest.fixture
def model(trained: RunFolder) -> Model:
    """Predicts; alone, so that bits do not depend on who shares a call."""
    return fercli.load(trained.onnx)


@pytest.fixture
def files(face_files: Path, tmp_path: Path) -> Path:
    """Faces, by a relative name: it says which shard each is in."""
    return face_files.relative_to(tmp_path)


@pytest.fixture
def folder(model: Model, files: Path, tmp_path: Path) -> Path:
    """Three whole parts, each with rows."""
    (files / "bad.png").write_bytes(b"nothing")
    for index in range(N):
        rows = model.predict_files(files, batch_size=1, shard=(index, N))
        rows.save_part(tmp_path / "parts")
    return tmp_path / "parts"


def change_record(side: Path, change: Callable[[dict[str, object]], None]) -> None:
    first, *rest = side.read_text().splitlines(keepends=True)
    record = json.loads(first)
    change(record)
    bare = {key: value for key, value in record.items() if key != RECORD_DIGEST}
    side.write_text(json.dumps(seal_json(bare)) + "\n" + "".join(rest))


def name_side(folder: Path, index: int) -> Path:
    return folder / f"part-{index:05}-of-{N:05}.side.jsonl"


def name_part(folder: Path, index: int) -> Path:
    return folder / f"part-{index:05}-of-{N:05}.jsonl"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("block", [7, 1 << 16])
def test_parts_become_what_one_process_writes(
    kind: str,
    block: int,
    model: Model,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "_BLOCK_BYTES", block)
    (files / "bad.png").write_bytes(b"nothing")
    shutil.copy(files / "face-0.png", files / 'a "name",\nof lines.png')
    shutil.make_archive(str(files / "more"), "zip", files)
    # The same file twice is two inputs, wherever they stand.
    named = [files / "face-1.png", files, files / "face-1.png"]
    model.predict_files(named, batch_size=1).save(tmp_path / f"one.{kind}")

    for index in range(N):
        rows = model.predict_files(named, batch_size=1, shard=(index, N))
        rows.save_part(tmp_path / "parts", kind)  # type: ignore[arg-type]  # of the parameters
    done: list[tuple[int, int]] = []
    result = merge_parts(
        tmp_path / "parts", tmp_path / f"all.{kind}", on_progress=lambda *pair: done.append(pair)
    )

    assert (tmp_path / f"all.{kind}").read_bytes() == (tmp_path / f"one.{kind}").read_bytes()
    assert (result.n_parts, result.n_skipped) == (N, 2)
    assert result.n_inputs == result.n_rows == result.n_faces + result.n_skipped
    # The archive holds a file that is no image, itself as it was begun: listed, without a row.
    assert done[-1] == (result.n_rows + 1, result.n_rows + 1)


def test_large_tables_have_the_row_groups_of_one_process(
    model: Model, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.prediction.writers.ROWS_AT_ONCE", 3)
    monkeypatch.setattr("fercli.prediction.merge.ROWS_AT_ONCE", 3)
    model.predict_files(files, batch_size=1).save(tmp_path / "one.parquet")
    for index in range(2):
        rows = model.predict_files(files, batch_size=1, shard=(index, 2))
        rows.save_part(tmp_path / "parts", "parquet")

    merge_parts(tmp_path / "parts", tmp_path / "all.parquet")

    assert (tmp_path / "all.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_more_shards_than_inputs_leave_empty_parts(
    model: Model, files: Path, tmp_path: Path
) -> None:
    for kind in ("csv", "parquet"):
        model.predict_files(files / "face-0.png").save(tmp_path / f"one.{kind}")
        for index in range(4):
            rows = model.predict_files(files / "face-0.png", shard=(index, 4))
            rows.save_part(tmp_path / kind, kind)

        merge_parts(tmp_path / kind, tmp_path / f"all.{kind}")

        one, merged = (tmp_path / f"{name}.{kind}" for name in ("one", "all"))
        assert merged.read_bytes() == one.read_bytes()


def test_missing_parts_are_named(folder: Path, tmp_path: Path) -> None:
    name_part(folder, 1).unlink()
    name_side(folder, 2).unlink()

    with pytest.raises(InputNotFoundError, match=r"shard 1/3 is missing; .*00002.*not finished"):
        merge_parts(folder, tmp_path / "all.jsonl")
    with pytest.raises(InputNotFoundError, match=r"no parts in"):
        merge_parts(tmp_path, tmp_path / "all.jsonl")
    with pytest.raises(InputNotFoundError, match=r"no folder"):
        merge_parts(tmp_path / "nothing", tmp_path / "all.jsonl")
    assert not (tmp_path / "all.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(model="other"), "model other, not"),
        (lambda r: r.update(model_sha256="0" * 64), "digest of the model 000000000000, not"),
        (lambda r: r.update(labels=["a", "b"]), "labels a, b, not angry"),
        (lambda r: r["options"].update(faces="whole"), "option faces whole, not auto"),
        (lambda r: r["options"].update(new=True), "option new true, not null"),
        (lambda r: r["versions"].update(pillow="1.0"), "version of pillow 1.0, not"),
        (lambda r: r["list"].update(n_inputs=99), "a list of 99 inputs, not [0-9]+"),
        (lambda r: r["list"].update(sha256="0"), "list of [0-9]+ inputs, with others among them"),
        (lambda r: r.update(shard=1), "00000-of-00003.jsonl is shard 1/3 .* overlap"),
        (lambda r: r["inputs"].update(n_inputs=99), "parts cover [0-9]+ inputs, but the list has"),
        (lambda r: r.update(n_bytes=5), "bytes, but was written with 5"),
        (lambda r: r.update(sha256="0" * 64), "do not match their digest"),
        (lambda r: r.update(order_sha256="0" * 64), "damaged: it does not match its digest"),
        (lambda r: r.update(kind="else"), "not a fercli part"),
        (lambda r: r.pop("counts") and r.update(shards="x"), "must be a whole number"),
    ],
)
def test_what_differs_is_named_and_nothing_is_written(
    change: Callable[[dict[str, object]], None], said: str, folder: Path, tmp_path: Path
) -> None:
    change_record(name_side(folder, 0), change)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(DataError, match=said):
        merge_parts(folder, tmp_path / "all.jsonl")

    assert sorted(tmp_path.iterdir()) == before


def test_torn_parts_are_refused(folder: Path, tmp_path: Path) -> None:
    part, side = name_part(folder, 0), name_side(folder, 1)
    whole = part.read_bytes()

    part.write_bytes(whole[:-9])
    with pytest.raises(DataError, match="bytes, but was written with"):
        merge_parts(folder, tmp_path / "all.jsonl")
    part.write_bytes(whole.replace(b'"path"', b'"Path"', 1))
    with pytest.raises(DataError, match="do not match their digest"):
        merge_parts(folder, tmp_path / "all.jsonl")
    part.write_bytes(whole)
    side.write_text(side.read_text()[:-4])
    with pytest.raises(DataError, match=r"damaged|not the side file"):
        merge_parts(folder, tmp_path / "all.jsonl")
    side.write_text("{")
    with pytest.raises(DataError, match="not the side file of a part"):
        merge_parts(folder, tmp_path / "all.jsonl")
    assert not (tmp_path / "all.jsonl").exists()


def test_parts_of_two_predictions_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(name_part(folder, 0), folder / "part-00000-of-00008.jsonl")

    with pytest.raises(
        DataError, match=r"part-00000-of-00003\.jsonl and part-00000-of-00008\.jsonl"
    ):
        merge_parts(folder, tmp_path / "all.jsonl")


def test_the_output_is_neither_overwritten_nor_a_part(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "all.jsonl"
    target.write_text("mine")

    with pytest.raises(OutputExistsError):
        merge_parts(folder, target)
    with pytest.raises(ConfigError, match=r"parts are jsonl, and .*all.csv"):
        merge_parts(folder, tmp_path / "all.csv")
    with pytest.raises(ConfigError, match="overwrite the input"):
        merge_parts(folder, name_part(folder, 1), overwrite=True)
    assert target.read_text() == "mine"
    merge_parts(folder, target, overwrite=True)
    assert target.read_text() != "mine"


def test_a_finished_part_stays_and_another_is_refused(
    model: Model, files: Path, folder: Path
) -> None:
    part = name_part(folder, 0)
    written = part.stat().st_mtime_ns

    model.predict_files(files, batch_size=1, shard=(0, N)).save_part(folder, resume=True)
    with pytest.raises(OutputExistsError, match="already there"):
        model.predict_files(files, batch_size=1, shard=(0, N)).save_part(folder)
    with pytest.raises(OutputExistsError, match=r"option min_confidence 0\.0, not 0\.9"):
        model.predict_files(
            files, batch_size=1, min_confidence=0.9, shard=(0, N)
        ).save_part(folder, resume=True)  # fmt: skip
    with pytest.raises(OutputExistsError, match=r"holds part-00000-of-00003\.jsonl"):
        model.predict_files(files, shard=(0, 4)).save_part(folder)
    assert part.stat().st_mtime_ns == written


def test_a_torn_part_is_written_anew(model: Model, files: Path, folder: Path) -> None:
    part = name_part(folder, 0)
    whole = part.read_bytes()
    part.write_bytes(whole[:-9])

    model.predict_files(files, batch_size=1, shard=(0, N)).save_part(folder, resume=True)

    assert part.read_bytes() == whole


def test_inputs_of_others_move_a_part_and_its_own_refuse_it(
    model: Model, files: Path, folder: Path, tmp_path: Path
) -> None:
    """A list that grew costs the shards anew that it grew for."""
    new = files / "aa-new.png"
    shutil.copy(files / "face-0.png", new)
    outcomes = {}
    for index in range(N):
        rows = model.predict_files(files, batch_size=1, shard=(index, N))
        try:
            rows.save_part(folder, resume=True)
            outcomes[index] = "stays"
        except OutputExistsError as reason:
            assert "inputs, and now there are" in reason.message  # noqa: PT017  # two outcomes
            outcomes[index] = "refused"
            rows = model.predict_files(files, batch_size=1, shard=(index, N))
            rows.save_part(folder, resume=True, overwrite=True)

    merge_parts(folder, tmp_path / "all.jsonl")

    model.predict_files(files, batch_size=1).save(tmp_path / "one.jsonl")
    assert sorted(outcomes.values()) == ["refused", "stays", "stays"]
    assert (tmp_path / "all.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_only_whole_shards_become_parts(model: Model, files: Path, tmp_path: Path) -> None:
    begun = model.predict_files(files, shard=(0, 1))
    next(begun)

    for rows in (begun, model.predict_files(files)):
        with pytest.raises(ValueError, match="all rows of a shard"):
            rows.save_part(tmp_path / "parts")
