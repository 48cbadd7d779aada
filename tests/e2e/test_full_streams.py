"""Streams that take nothing and words that are too long: one sentence or none, the right status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fercli.runs import RunFolder

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
LONG = "a" * 100_000


def call(*words: str, full: str = "") -> subprocess.CompletedProcess[bytes]:
    """Call `fer` with a stream that is full."""
    with FULL.open("wb") as stream:
        return subprocess.run(
            [sys.executable, "-m", "fercli", *words],
            stdout=stream if full == "stdout" else subprocess.PIPE,
            stderr=stream if full == "stderr" else subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["predict", "--help"], ["info"]])
def test_a_full_disk_under_stdout_is_one_sentence(words: list[str]) -> None:
    done = call(*words, full="stdout")

    assert done.returncode == 8
    assert done.stderr.startswith(b"error: ")
    assert b"No space left on device" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("words", "status"),
    [(["predict", "nowhere", "--model", "M"], 3), (["nosuch"], 2), ([], 2),
     (["predict", "FACES", "--model", "M"], 0), (["info", "nowhere", "-v"], 4)],
    ids=["nowhere", "no command", "nothing", "predict", "traceback"],
)  # fmt: skip
def test_a_full_disk_under_stderr_changes_no_status(
    trained: RunFolder, face_files: Path, words: list[str], status: int
) -> None:
    named = {"M": str(trained.onnx), "FACES": str(face_files)}

    done = call(*(named.get(word, word) for word in words), full="stderr")

    assert done.returncode == status
    assert bool(done.stdout) == (status == 0)


@pytest.mark.parametrize(
    ("words", "status"),
    [(["predict", LONG, "--model", "tiny"], 3), ([LONG], 2), (["info", LONG], 4),
     (["predict", "x", "--format", LONG], 2), (["train", "--data", LONG], 3)],
    ids=["path", "command", "model", "choice", "data"],
)  # fmt: skip
def test_words_that_are_too_long_are_not_echoed(words: list[str], status: int) -> None:
    plain, enveloped = call(*words), call(*words, "--json")

    for done in (plain, enveloped):
        assert done.returncode == status
        assert b"characters]aaa" in done.stderr
        assert len(done.stderr) < 1500
    assert len(json.dumps(json.loads(enveloped.stdout)["errors"])) < 1500


@pytest.mark.skipif(sys.platform != "linux", reason="of file names that are bytes")
def test_a_name_that_is_not_utf8_comes_back_byte_for_byte(
    trained: RunFolder, face_files: Path
) -> None:
    name = b"fa\xffce.png"
    Path(os.fsdecode(name)).write_bytes((face_files / "face-0.png").read_bytes())

    done = subprocess.run(
        [sys.executable, "-m", "fercli", "predict", "-", "--model", trained.onnx, "--format",
         "jsonl"],
        input=name + b"\n", capture_output=True, check=True,
    )  # fmt: skip

    assert os.fsencode(json.loads(done.stdout)["path"]) == name
