from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from fercli.prediction import columns

if TYPE_CHECKING:
    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


@pytest.fixture
def contents(face_files: Path) -> list[bytes]:
    """Five images."""
    return [path.read_bytes() for path in sorted(face_files.iterdir())]


def write(path: str, group: int = 2, **values: Any) -> None:
    pq.write_table(pa.table(values), path, row_group_size=group)


def list_rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_rows_of_a_column_are_rows(run: Run, trained: RunFolder, contents: list[bytes]) -> None:
    words = ["--model", trained.onnx, "--format", "jsonl"]
    write("bytes.parquet", photo=contents, label=[0, 1, 2, 3, 4])
    write("hub.parquet", image=[{"bytes": one, "path": "a.png"} for one in contents])
    write("large.parquet", photo=pa.array(contents, pa.large_binary()))

    folder = list_rows(run("predict", "faces", *words))

    for name in ("bytes.parquet", "hub.parquet", "large.parquet"):
        result = run("predict", name, *words)
        rows = list_rows(result)
        assert result.exit_code == 0, result.output
        assert [row["path"] for row in rows] == [f"{name}!/{number}" for number in range(5)]
        for row, plain in zip(rows, folder, strict=True):
            assert row["probabilities"] == plain["probabilities"]


def test_rows_without_an_image_say_so(run: Run, trained: RunFolder, contents: list[bytes]) -> None:
    images = [
        {"bytes": contents[0], "path": None}, None, {"bytes": None, "path": "photos/1.jpg"},
        {"bytes": b"nothing", "path": None}, {"bytes": None, "path": None},
        {"bytes": contents[1], "path": None},
    ]  # fmt: skip
    write("a.parquet", image=images)

    result = run("predict", "a.parquet", "--model", trained.onnx, "--format", "jsonl")

    rows = list_rows(result)
    assert result.exit_code == 7
    assert [row["status"] for row in rows] == ["ok", *["unreadable"] * 4, "ok"]
    assert rows[1]["reason"] == rows[4]["reason"] == "the row has no image: null"
    assert rows[2]["reason"] == "the row has no image, only its path 'photos/1.jpg'"
    assert rows[3]["reason"].startswith("not a JPEG")


@pytest.mark.parametrize(
    ("values", "words", "reason"),
    [
        ({"label": [1]}, [], "it has no column of bytes; its columns: label"),
        ({"a": [b"x"], "b": [b"y"]}, [], "several columns hold bytes: a, b; --image-column"),
        ({"a": [b"x"]}, ["--image-column", "c"], "'c' is not among its columns: a"),
        ({"a": [b"x"], "c": [1]}, ["--image-column", "c"], "'c' holds no bytes: a, c"),
    ],
)
def test_a_file_without_the_column_is_one_row(
    run: Run, trained: RunFolder, values: dict[str, Any], words: list[str], reason: str
) -> None:
    write("a.parquet", **values)

    result = run("predict", "a.parquet", "--model", trained.onnx, "--format", "jsonl", *words)

    (row,) = list_rows(result)
    assert result.exit_code == 7
    assert (row["path"], row["status"]) == ("a.parquet", "refused")
    assert reason in row["reason"]


def test_a_column_is_chosen_by_name(run: Run, trained: RunFolder, contents: list[bytes]) -> None:
    write("a.parquet", thumbnail=[b"x"], photo=contents[:1])
    words = ["predict", "a.parquet", "--model", trained.onnx, "--format", "jsonl"]

    (row,) = list_rows(run(*words, "--image-column", "photo"))

    assert (row["path"], row["status"]) == ("a.parquet!/0", "ok")


def test_a_damaged_file_gives_its_rows_and_one_more(
    run: Run, trained: RunFolder, contents: list[bytes]
) -> None:
    write("a.parquet", group=1, image=contents)
    whole = Path("a.parquet").read_bytes()
    at = whole.index(contents[3])
    Path("torn.parquet").write_bytes(whole[: at - 60] + bytes(60) + whole[at:])
    Path("cut.parquet").write_bytes(whole[:2000])
    Path("text.parquet").write_text("hello")
    words = ["--model", trained.onnx, "--format", "jsonl"]

    rows = list_rows(run("predict", "torn.parquet", *words))
    others = list_rows(run("predict", "cut.parquet", "text.parquet", *words))

    assert [row["path"] for row in rows] == [
        *(f"torn.parquet!/{number}" for number in range(3)), "torn.parquet"
    ]  # fmt: skip
    assert "not a readable Parquet, or readable in part" in rows[-1]["reason"]
    assert [row["status"] for row in others] == ["unreadable"] * 2


def test_what_unpacks_to_far_too_much_is_refused(
    run: Run, trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_FREE_BYTES", 1 << 20)
    pq.write_table(pa.table({"image": [bytes(16 << 20)]}), "a.parquet", compression="zstd")

    (row,) = list_rows(run("predict", "a.parquet", "--model", trained.onnx, "--format", "jsonl"))

    assert (row["status"], row["path"]) == ("refused", "a.parquet")
    assert "unpacks to far more" in row["reason"]


def test_tables_of_a_folder_are_passed_over(
    run_json: RunJson, trained: RunFolder, contents: list[bytes]
) -> None:
    """Most tables hold no image: they are read where they are named, or a pattern's."""
    write("faces/a.parquet", image=contents)
    words = ["--model", trained.onnx]

    folder = run_json("predict", "faces", *words)["data"]
    pattern = run_json("predict", "faces/*.parquet", *words)["data"]

    assert (folder["n_inputs"], folder["n_other"]) == (5, 1)
    assert pattern["n_inputs"] == 5


def test_a_column_is_gone_on_with_and_split_by_its_rows(
    run: Run, run_json: RunJson, trained: RunFolder, contents: list[bytes]
) -> None:
    write("a.parquet", image=contents * 3)
    words = ["predict", "a.parquet", "--model", trained.onnx, "--batch-size", 1]
    run(*words, "--output", "one.jsonl")
    whole = Path("one.jsonl").read_bytes()
    Path("two.jsonl.partial").write_bytes(b"".join(whole.splitlines(keepends=True)[:7]))

    resumed = run_json(*words, "--output", "two.jsonl", "--resume")["data"]
    for k in range(2):
        assert run(*words, "--shard", f"{k}/2", "--output", "parts").exit_code == 0
    again = run_json(*words, "--shard", "0/2", "--output", "parts", "--resume")["data"]
    assert run("merge", "parts", "--output", "all.jsonl").exit_code == 0

    assert (resumed["n_resumed"], resumed["n_inputs"]) == (6, 9)
    assert again["n_inputs"] == 0
    assert Path("two.jsonl").read_bytes() == Path("all.jsonl").read_bytes() == whole
