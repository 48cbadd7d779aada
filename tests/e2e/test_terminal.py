"""What a person sees: the commands on a pseudo-terminal, narrow, usual and wide."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from fercli.runs import RunFolder

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

COMMANDS = """
import json, sys
from fercli.cli import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["fer", *words]
    try:
        main()
    except SystemExit as ended:
        assert ended.code in {0, 2, None}, (words, ended.code)
"""
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

CUT = re.compile(r"(?<![0-9a-f]{12})…")
"""What Rich puts where it leaves something out; heads of digests have it on purpose."""


def show(width: int, *commands: list[str]) -> list[str]:
    """Return the lines that stay on a terminal of so many columns, and those of bars."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}
    }
    child = subprocess.Popen(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        stdin=follower, stdout=follower, stderr=follower,
        env={**environment, "TERM": "xterm", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 65_536)
        except OSError:
            # How Linux says that the other end was closed.
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    text = b"".join(parts).decode()
    assert child.wait() == 0, text
    # A bar is drawn over itself: what begins a line anew is a line of its own here.
    return [CODES.sub("", line) for line in re.split(r"[\r\n]+|\x1b\[2K", text)]


def is_copied(line: str) -> bool:
    """Return whether a line holds one long word, or a command, which stay whole to be copied."""
    words = line.split()
    return line.startswith("hint: ") or "  fer " in line or len(words[-1]) > 30


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_or_broken_in_a_terminal(
    trained: RunFolder, dataset_path: Path, face_files: Path, width: int
) -> None:
    run, data = str(trained.path), str(dataset_path)
    lines = show(
        width,
        ["compare", run, "base", "tiny", "--data", data],
        ["evaluate", run, "--data", data, "--split", "public", "--tta"],
        ["data", "check", data],
        ["predict", str(face_files), "--model", run],
        ["models", "list"],
        ["info"],
        ["info", run],
        ["train", "--data", data, "--recipe", "fast", "--dry-run"],
        ["train", "--data", data, "--epochs", "0", "--set", "dropout=7", "--set", "foo=0"],
    )

    wide = [line for line in lines if len(line) > width and not is_copied(line)]
    assert not wide
    assert not list(filter(CUT.search, lines))
    assert any("macro F1" in line for line in lines)


def test_a_training_fits_into_a_narrow_terminal(tmp_path: Path, dataset_path: Path) -> None:
    lines = show(60, [
        "train", "--data", str(dataset_path), "--recipe", "fast", "--epochs", "2", "--device",
        "cpu", "--set", "widths=8,16", "--set", "stem_width=8", "--output", str(tmp_path / "run"),
    ])  # fmt: skip

    assert not [line for line in lines if len(line) > 60 and not is_copied(line)]
    assert any(
        re.fullmatch(r"epoch 2/2  train \S+ \S+  validation \S+ \S+", line) for line in lines
    )


def test_a_terminal_that_does_not_know_its_width_breaks_no_line() -> None:
    lines = show(0, ["train", "--data", "synthetic:100", "--epochs", "0", "--set", "dropout=7"])

    assert any(line.startswith("error: epochs must be") for line in lines)
