from __future__ import annotations

import json
import os
import shutil
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess

    from typer.testing import Result

    from fercli.runs import RunFolder

Run = Callable[..., "Result"]
RunJson = Callable[..., dict[str, Any]]


def test_shards_merge_to_what_one_command_writes(
    run: Run,
    run_json: RunJson,
    trained: RunFolder,
    face_files: Path,
    make_clip: Callable[..., Path],
) -> None:
    """Videos, damaged archives and texts in archives stand where one process has them."""
    shutil.make_archive("more", "tar", face_files)
    Path("more.tar").rename(face_files / "more.tar")
    (face_files / "cut.tar").write_bytes((face_files / "more.tar").read_bytes()[:9000])
    (face_files / "damaged.zip").write_bytes(b"nothing")
    (face_files / "notes.txt").write_text("nothing")
    with tarfile.open(face_files / "texts.tar", "w") as archive:
        archive.add(face_files / "notes.txt", "notes.txt")
        archive.add(face_files / "face-0.png", "face.png")
    make_clip(face_files / "clip.mp4", "fbf", "mp4v")
    words = ["predict", "faces", "--model", trained.onnx, "--batch-size", 1, "--smooth", "1s"]

    one = run_json(*words, "--output", "one.csv", status=7)["data"]
    shown = [
        run(*words, "--shard", f"{k}/3", "--output", "parts", "--format", "csv", "--json")
        for k in range(3)
    ]
    parts = [json.loads(result.stdout)["data"] for result in shown]
    merged = run_json("merge", "parts", "--output", "all.csv")["data"]

    assert Path("all.csv").read_bytes() == Path("one.csv").read_bytes()
    assert [result.exit_code for result in shown] == [7 if p["n_skipped"] else 0 for p in parts]
    assert [part["shard"] for part in parts] == ["0/3", "1/3", "2/3"]
    assert parts[1]["output"] == str(Path("parts/part-00001-of-00003.csv"))
    for name in ("n_inputs", "n_frames", "n_faces", "n_no_face", "n_skipped"):
        assert merged[name] == one[name] == sum(part[name] for part in parts), name


def test_paths_on_stdin_are_sharded(run: Run, trained: RunFolder, face_files: Path) -> None:
    listed = "".join(f"{path}\n" for path in sorted(face_files.iterdir(), reverse=True))
    words = ["predict", "-", "--model", trained.onnx, "--batch-size", 1]

    assert run(*words, "--output", "one.jsonl", stdin=listed).exit_code == 0
    for k in range(2):
        shard = [*words, "--shard", f"{k}/2", "--output", "parts", "--resume"]
        assert run(*shard, stdin=listed).exit_code == 0
        # Gone through twice: compared, refused by its bytes, written anew.
        part = Path(f"parts/part-0000{k}-of-00002.jsonl")
        whole = part.read_bytes()
        part.write_bytes(b"")
        assert run(*shard, stdin=listed).exit_code == 0
        assert part.read_bytes() == whole
    assert run("merge", "parts", "--output", "all.jsonl").exit_code == 0

    assert Path("all.jsonl").read_bytes() == Path("one.jsonl").read_bytes()


def test_a_finished_shard_is_passed_over(
    run: Run, run_json: RunJson, trained: RunFolder, face_files: Path
) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--shard", "0/2", "--output", "parts"]
    first = run_json(*words)["data"]

    again = run_json(*words, "--resume")["data"]
    plain = run(*words)
    other = run(*words, "--resume", "--faces", "whole")
    forced = run_json(*words, "--resume", "--force", "--faces", "whole")["data"]

    assert (again["n_inputs"], again["n_resumed"]) == (0, first["n_inputs"])
    assert plain.exit_code == other.exit_code == 2
    assert "option faces auto, not whole" in other.stderr
    assert "--force" in other.stderr
    assert forced["n_inputs"] == first["n_inputs"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "2/2", "--output", "parts"], "shards are counted from 0"),
        (["--shard", "x", "--output", "parts"], "--shard is K/N"),
        (["--shard", "0/2"], "give --output DIR"),
        (["--shard", "0/2", "--output", "parts", "--format", "table"], "unknown format 'table'"),
        (["--shard", "0/2", "--output", "parts", "--excel"], "--excel writes CSV only"),
        (["--shard", "0/2", "--output", "parts", "--montage", "a.png"], "--montage needs all rows"),
        (["--shard", "0/2", "--output", "faces/face-0.png"], "is a file, and a folder is needed"),
    ],
)
def test_what_makes_no_shard_is_refused(
    words: list[str], said: str, run: Run, trained: RunFolder, face_files: Path
) -> None:
    if not Path("faces").exists():
        shutil.copytree(face_files, "faces")

    result = run("predict", "faces", "--model", trained.onnx, *words)

    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("parts").exists()


def test_a_live_source_has_no_shards(run: Run) -> None:
    result = run("predict", "0", "--shard", "0/2", "--output", "parts")

    assert result.exit_code == 2
    assert "a live source needs all rows in one process" in result.stderr


def test_parts_are_no_inputs(run: Run, trained: RunFolder, face_files: Path) -> None:
    parts = face_files / "parts"
    words = ["predict", face_files, "--model", trained.onnx, "--output", parts]
    assert [run(*words, "--shard", f"{k}/2").exit_code for k in range(2)] == [0, 0]
    part = parts / "part-00000-of-00002.jsonl"
    rows = part.read_bytes()

    own = run("predict", part, "--model", trained.onnx, "--shard", "0/2", "--output", parts,
              "--force")  # fmt: skip
    merged = run("merge", parts, "--output", "all.jsonl")

    assert own.exit_code == 2
    assert part.read_bytes() == rows
    assert merged.exit_code == 0


def test_merge_says_what_is_wrong(run: Run, run_json: RunJson) -> None:
    missing = run_json("merge", "parts", "--output", "all.jsonl", status=3)
    Path("parts").mkdir()
    empty = run("merge", "parts", "--output", "all.jsonl")

    assert missing["errors"][0]["code"] == "input-not-found"
    assert empty.exit_code == 3
    assert "--shard K/N" in empty.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_shard_leaves_no_part_and_is_written_whole(
    run: Run, start: Callable[..., subprocess.Popen[str]], trained: RunFolder, face_files: Path
) -> None:
    for number in range(3000):
        os.link(face_files / "face-0.png", face_files / f"copy-{number:04}.png")
    words = ["predict", face_files, "--model", trained.onnx, "--batch-size", "1"]
    shard = [*words, "--shard", "0/2", "--output", "parts", "--resume"]
    partial = Path("parts/part-00000-of-00002.jsonl.partial")

    process = start(*shard)
    until = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert [path.name for path in Path("parts").iterdir()] == [partial.name]
    assert run("merge", "parts", "--output", "all.jsonl").exit_code == 3
    assert run(*shard).exit_code == 0
    assert run(*words, "--shard", "1/2", "--output", "parts").exit_code == 0
    assert run("merge", "parts", "--output", "all.jsonl").exit_code == 0
    assert run(*words, "--output", "one.jsonl").exit_code == 0
    assert Path("all.jsonl").read_bytes() == Path("one.jsonl").read_bytes()
