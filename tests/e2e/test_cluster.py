"""`fer predict --engine ray` on real clusters, whose processes are killed: `nox -s cluster`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from typer.testing import Result

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("bundled")]

Run = Callable[..., "Result"]

PATIENCE_S = 600
TINY = ("--model", "tiny")
# Ray lets its workers wait for everybody else; tests have no time for that.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of crops: some seconds of work, one of them broken."""
    folder = tmp_path_factory.mktemp("many")
    generator = np.random.default_rng(0)
    for number in range(6000):
        pixels = generator.integers(0, 256, (48, 48), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.png", compress_level=1)
    (folder / "00100.png").write_bytes(b"nothing")
    return folder


@pytest.fixture
def crops(many: Path, tmp_path: Path) -> Path:
    """The same, by a short name."""
    (tmp_path / "many").symlink_to(many)
    return Path("many")


@pytest.fixture(scope="session")
def alone(many: Path) -> bytes:
    """What one process writes of them."""
    folder = many.with_name("alone")
    folder.mkdir()
    (folder / "many").symlink_to(many)
    words = [sys.executable, "-m", "fercli", "predict", "many", *TINY, "--output", "rows.jsonl"]
    done = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False)
    assert done.returncode == 7, done.stderr
    return (folder / "rows.jsonl").read_bytes()


@contextlib.contextmanager
def two_machines() -> Iterator[dict[str, Any]]:
    """Start a cluster of two machines with a processor each."""
    for _ in range(3):
        script = Path(__file__).with_name("cluster.py")
        process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env=ENVIRONMENT,
        )  # fmt: skip
        assert process.stdout is not None
        # Of a machine that is too busy Ray thinks that it does not start.
        if line := process.stdout.readline():
            break
        process.wait()
    else:
        pytest.fail("no cluster could be started")
    yield {**json.loads(line), "pid": process.pid}
    process.communicate()


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Act on Ctrl-C, which a shell has what runs in its background, and its children, ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def drive() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start commands that predict by Ray; what they say goes to `said` and `shown`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: object, program: str = "-m fercli") -> subprocess.Popen[bytes]:
        command = [sys.executable, *program.split(), "predict", *map(str, words)]
        command += ["--engine", "ray"]
        with Path("shown").open("wb") as shown, Path("said").open("wb") as said:
            process = subprocess.Popen(command, stdout=shown, stderr=said, env=ENVIRONMENT)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def list_processes() -> dict[int, tuple[int, bytes]]:
    """Return parent and command of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                status = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                if status[0] != b"Z":
                    command = (folder / "cmdline").read_bytes()
                    found[int(folder.name)] = (int(status[1]), command)
    return found


def list_below(pid: int, word: bytes = b"") -> list[int]:
    """Return the processes below one whose command begins with a word."""
    every = list_processes()
    below, left = set(), {pid}
    while left:
        left = {one for one, (parent, _) in every.items() if parent in left}
        below |= left
    return sorted(one for one in below if every[one][1].startswith(word))


def wait_until(is_so: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for something, as long as a process runs."""
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert process is None or process.poll() is None, Path("said").read_text()
        assert time.monotonic() < until
        time.sleep(0.02)


def has_rows(partial: str) -> Callable[[], object]:
    path = Path(partial)
    return lambda: path.exists() and path.stat().st_size


def read_said() -> str:
    return Path("said").read_text()


def test_rows_are_those_of_one_process(
    run: Run,
    drive: Callable[..., subprocess.Popen[bytes]],
    face_files: Path,
    photo: Path,
    make_clip: Callable[..., Path],
) -> None:
    """Crops, photos, videos and archives, some of them broken."""
    shutil.copy(photo, face_files / "astronaut.png")
    shutil.make_archive("more", "tar", face_files)
    Path("more.tar").rename(face_files / "more.tar")
    (face_files / "cut.tar").write_bytes((face_files / "more.tar").read_bytes()[:90_000])
    with zipfile.ZipFile(face_files / "texts.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
        archive.write(face_files / "face-1.png", "face.png")
    (face_files / "broken.png").write_bytes(b"nothing")
    make_clip(face_files / "clip.mp4", "fbf-", "mp4v")
    words = ["faces", *TINY, "--smooth", "1s"]

    one = run("predict", *words, "--output", "one.jsonl", "--json")
    spread = drive(*words, "--output", "ray.jsonl", "--json")

    assert spread.wait(PATIENCE_S) == one.exit_code == 7, read_said()
    assert Path("ray.jsonl").read_bytes() == Path("one.jsonl").read_bytes()
    said, wanted = json.loads(Path("shown").read_text()), json.loads(one.stdout)
    for envelope in (said, wanted):
        del envelope["data"]["images_per_s"], envelope["data"]["output"]
    assert said == wanted
    assert [line for line in read_said().splitlines() if "ray" in line.lower()] == [
        "starting a Ray cluster of this machine's processors"
    ]


def test_rows_on_stdout_are_those_of_one_process(
    run: Run,
    drive: Callable[..., subprocess.Popen[bytes]],
    face_files: Path,
) -> None:
    words = [face_files.name, *TINY, "--format", "csv"]

    spread = drive(*words)

    assert spread.wait(PATIENCE_S) == 0, read_said()
    assert Path("shown").read_bytes() == run("predict", *words).stdout_bytes


def test_a_shard_may_be_spread(
    run: Run,
    drive: Callable[..., subprocess.Popen[bytes]],
    face_files: Path,
) -> None:
    """Parts of both engines go together."""
    shutil.make_archive(str(face_files / "more"), "zip", face_files)
    words = [face_files.name, *TINY, "--output", "parts", "--format", "parquet"]

    one = run("predict", face_files.name, *TINY, "--output", "one.parquet")
    here = run("predict", *words, "--shard", "0/2")
    spread = drive(*words, "--shard", "1/2")

    assert spread.wait(PATIENCE_S) == one.exit_code == here.exit_code == 0, read_said()
    assert run("merge", "parts", "--output", "all.parquet").exit_code == 0
    assert Path("all.parquet").read_bytes() == Path("one.parquet").read_bytes()
    # A finished part needs no cluster.
    again = drive(*words, "--shard", "1/2", "--resume", "--address", "127.0.0.1:1")
    assert again.wait(PATIENCE_S) == 0, read_said()


def test_actors_are_killed(
    drive: Callable[..., subprocess.Popen[bytes]], crops: Path, alone: bytes
) -> None:
    """One that predicts, and the one that counts; what Ray says of them is not in the JSON."""
    process = drive(crops, *TINY, "--output", "ray.jsonl", "--json")
    wait_until(has_rows("ray.jsonl.partial"), process)

    for name in (b"ray::MapWorker", b"ray::Tries"):
        os.kill(list_below(process.pid, name)[0], signal.SIGKILL)

    assert process.wait(PATIENCE_S) == 7, read_said()
    assert Path("ray.jsonl").read_bytes() == alone
    assert json.loads(Path("shown").read_text())["data"]["n_inputs"] == 6000
    assert len([line for line in read_said().splitlines() if "ray" in line.lower()]) == 1


def test_the_driver_is_killed_and_resumed(
    drive: Callable[..., subprocess.Popen[bytes]], crops: Path, alone: bytes
) -> None:
    process = drive(crops, *TINY, "--output", "ray.jsonl")
    wait_until(has_rows("ray.jsonl.partial"), process)
    workers = list_below(process.pid)

    process.kill()
    process.wait()
    kept = Path("ray.jsonl.partial").stat().st_size
    # Nobody is left behind.
    wait_until(lambda: not set(workers) & set(list_processes()))
    again = drive(crops, *TINY, "--output", "ray.jsonl", "--resume", "--json")

    # The broken one may be among those that had their rows.
    assert again.wait(PATIENCE_S) in {0, 7}, read_said()
    assert 0 < kept < len(alone)
    assert Path("ray.jsonl").read_bytes() == alone
    data = json.loads(Path("shown").read_text())["data"]
    assert data["n_resumed"] > 0
    assert data["n_resumed"] + data["n_inputs"] == 6000


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_signal_ends_all(
    drive: Callable[..., subprocess.Popen[bytes]], crops: Path, number: int, status: int
) -> None:
    process = drive(crops, *TINY, "--output", "ray.jsonl")
    wait_until(has_rows("ray.jsonl.partial"), process)
    workers = list_below(process.pid)

    process.send_signal(number)

    assert process.wait(PATIENCE_S) == status, read_said()
    assert Path("ray.jsonl.partial").stat().st_size
    assert "Traceback" not in read_said()
    wait_until(lambda: not set(workers) & set(list_processes()))


DYING = """
import os
from fercli import ray_engine
from fercli.cli import main

class Dying(ray_engine.Actor):
    def answer(self, block):
        if any("05000" in str(source) for source in block.sources):
            os._exit(9)
        return super().answer(block)

ray_engine.cluster.Actor = Dying
main()
"""


def test_a_file_that_ends_every_actor_ends_the_command(
    drive: Callable[..., subprocess.Popen[bytes]], crops: Path, alone: bytes
) -> None:
    """The rows before it are kept, and gone on with."""
    Path("dying.py").write_text(DYING)

    process = drive(crops, *TINY, "--output", "ray.jsonl", program="dying.py")

    assert process.wait(PATIENCE_S) == 8, read_said()
    assert "4 Ray actors died over the same block of files: many/0" in read_said()
    again = drive(crops, *TINY, "--output", "ray.jsonl", "--resume")
    # The broken one may be among those that had their rows.
    assert again.wait(PATIENCE_S) in {0, 7}, read_said()
    assert Path("ray.jsonl").read_bytes() == alone


BROKEN = """
from fercli import ray_engine
from fercli.cli import main

class Broken(ray_engine.Actor):
    def answer(self, block):
        raise KeyError("a defect")

ray_engine.cluster.Actor = Broken
main()
"""


def test_a_defect_is_seen_as_one(
    drive: Callable[..., subprocess.Popen[bytes]], face_files: Path
) -> None:
    Path("broken.py").write_text(BROKEN)

    process = drive(face_files.name, *TINY, program="broken.py")

    assert process.wait(PATIENCE_S) == 1
    assert "KeyError: 'a defect'" in read_said().splitlines()
    assert "Traceback" in read_said()


def test_nobody_at_the_address(
    drive: Callable[..., subprocess.Popen[bytes]], face_files: Path
) -> None:
    started = time.monotonic()
    process = drive(face_files.name, *TINY, "--address", "127.0.0.1:1", "--output", "rows.jsonl")

    assert process.wait(PATIENCE_S) == 5
    assert time.monotonic() - started < 60
    assert read_said().splitlines() == [
        "error: no Ray cluster answers at 127.0.0.1:1 (Connection refused)",
        "hint: run ray status on a machine of the cluster to see whether it is up",
    ]
    assert not list(Path().glob("rows*"))


def test_gpus_that_are_not_there(
    drive: Callable[..., subprocess.Popen[bytes]], face_files: Path
) -> None:
    process = drive(face_files.name, *TINY, "--device", "cuda", "--json")

    assert process.wait(PATIENCE_S) == 5
    [error] = json.loads(Path("shown").read_text())["errors"]
    assert error["code"] == "device-unavailable"


def test_a_machine_is_lost(
    drive: Callable[..., subprocess.Popen[bytes]], crops: Path, alone: bytes
) -> None:
    """What was on it is done again on the other."""
    with two_machines() as cluster:
        address = cluster["address"]
        process = drive(crops, *TINY, "--output", "ray.jsonl", "--address", address)
        wait_until(has_rows("ray.jsonl.partial"), process)

        os.kill(cluster["machine"], signal.SIGKILL)

        assert process.wait(PATIENCE_S) == 7, read_said()
        assert Path("ray.jsonl").read_bytes() == alone
