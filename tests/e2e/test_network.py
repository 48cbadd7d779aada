"""Nobody is asked for anything, unless a command is for that: connects are traced."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from PIL import Image

if TYPE_CHECKING:
    from fercli.data import Dataset

MakeClip = Callable[..., Path]

WATCH: Final = """
import os, sys

LOCAL = {None, "", "localhost", "127.0.0.1", "::1", b"127.0.0.1"}

def watch(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        # A path is a socket of this machine; sendmsg on a connected socket names nothing.
        if not isinstance(address, tuple):
            return
    elif event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}:
        address = arguments[:1]
    else:
        return
    if address[0] not in LOCAL:
        with open(os.environ["SEEN"], "a") as stream:
            stream.write(f"{event} {address[0]}\\n")
        raise OSError("no network here")

sys.addaudithook(watch)
"""
"""Read by every Python that starts, children too, before anything else."""

DRIVER: Final = """
import json, sys
from fercli.cli import main
statuses = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["fer", *words]
    try:
        main()
    except SystemExit as end:
        statuses.append(end.code or 0)
print("STATUSES " + json.dumps(statuses))
"""

IMPATIENT: Final = """
import fercli.download.fetch
fercli.download.fetch.sleep = lambda _: None
"""
"""Tries again without waiting."""

ASKED: Final = [["models", "fetch", "yunet"], ["data", "download", "--force"]]
"""What must be noticed, or nothing is."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a user who was never here, with the watch in it."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    paths = (str(tmp_path / "watch"), os.environ.get("PYTHONPATH", ""))
    kept = {
        name: value
        for name, value in os.environ.items()
        if "PROXY" not in name.upper() and name != "ORT_DISABLE_TELEMETRY"
    }
    return {
        **kept, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1",
        "SEEN": str(tmp_path / "seen.txt"), "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home" / "cache"),
    }  # fmt: skip


@pytest.fixture
def commands(
    tmp_path: Path, faces: Dataset, photo: Path, make_clip: MakeClip, make_external: Any
) -> list[list[str]]:
    """Every command that has no business in the network."""
    make_clip(tmp_path / "clip.webm", "f-")
    make_external(tmp_path / "other.onnx", ["N", 1, 48, 48], 7)
    Image.fromarray(faces.images[0]).save(tmp_path / "face.png")
    shutil.copyfile(photo, tmp_path / "photo.png")
    return [
        line.split()
        for line in (
            "info",
            "info base --json",
            "models list",
            "data prepare synthetic:300",
            "data check",
            "predict photo.png --faces haar --model tiny --annotate framed --output rows.jsonl",
            "predict photo.png --faces auto",
            "predict clip.webm --every 0 --model tiny --output clip.csv --timeline clip.html",
            "train --recipe tiny --epochs 1 --batch-size 64 --output runs/one",
            "evaluate --output scores",
            "export --output exported.onnx",
            "compare runs/one tiny other.onnx --labels other.onnx=fer2013 --output compared",
            "explain face.png --model runs/one --output explained",
        )
    ]


def run_commands(
    commands: list[list[str]], environment: dict[str, str], *before: str
) -> tuple[list[int], str]:
    """Run commands in one process; return their statuses and what they said."""
    driver = IMPATIENT + DRIVER if commands[0] in ASKED else DRIVER
    done = subprocess.run(
        [*before, sys.executable, "-c", driver, json.dumps(commands)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    told, _, statuses = done.stdout.rpartition("STATUSES ")
    assert statuses, done.stderr
    return json.loads(statuses), told + done.stderr


def read_seen(environment: dict[str, str]) -> list[str]:
    path = Path(environment["SEEN"])
    return sorted(set(path.read_text().splitlines())) if path.exists() else []


def test_nothing_but_downloads_asks_the_network(
    commands: list[list[str]], environment: dict[str, str]
) -> None:
    statuses, told = run_commands(commands, environment)
    seen = read_seen(environment)
    asked, _ = run_commands(ASKED, environment)

    assert statuses == [0] * len(commands), told
    assert seen == []
    assert asked == [3, 3]
    assert read_seen(environment) == [
        "socket.getaddrinfo api.kaggle.com",
        "socket.getaddrinfo huggingface.co",
    ]


def test_the_service_asks_nobody(environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "fercli", "serve", "--port", "0", "--model", "tiny"]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        while "serving on" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(signal.SIGTERM)
        process.stderr.read()

    assert read_seen(environment) == []


def list_connects(log: str) -> list[str]:
    """Return the calls of a trace that go to another machine."""
    calls = [line for line in log.splitlines() if re.search(r"\b(connect|send\w+)\(", line)]
    addresses = [line for line in calls if "sa_family=AF_INET" in line]
    return [line for line in addresses if '"127.' not in line and '"::1"' not in line]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace sees what libraries do themselves")
def test_no_library_asks_the_network_either(
    commands: list[list[str]], environment: dict[str, str], tmp_path: Path
) -> None:
    # With the network off, so that nothing is sent.
    off = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*off, "true"], check=False, capture_output=True).returncode:
        off = []
    log = tmp_path / "trace.txt"
    traced = [*off, "strace", "-f", "-qq", "-e", "trace=network", "-o", str(log)]
    (tmp_path / "watch" / "sitecustomize.py").unlink()
    everything = [*commands, ["demo", "--output", "shown"]]

    statuses, told = run_commands(everything, environment, *traced)
    seen = list_connects(log.read_text())
    asked, _ = run_commands(ASKED[:1], environment, *traced)

    assert statuses == [0] * len(everything), told
    assert seen == []
    if off:
        assert asked == [3]
        assert list_connects(log.read_text())
