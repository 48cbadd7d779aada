"""What shards, and a Ray cluster, lose when their processes are killed: nothing.

Crops are drawn and predicted by one process, then as shards, several at a time. Some shards are
killed with SIGKILL in the middle of their rows; all are started again with `--resume`, and merged.
The file has to be the one process's, byte for byte. Printed are times, and the memory of the merge.
The crops lie in a folder, in four tars, in four files of Parquet, or in a bucket on this machine.

With `--engine ray` the actors of a Ray cluster of this machine predict them: an actor is killed,
then the command itself; it is resumed, and an actor killed again (Linux alone).

python benchmarks/shards.py [--source folder|tar|parquet|s3] [--engine shards|ray]
    [--images 10000] [--shards 8] [--killed 2] [--at-once 2] [--model tiny] [--format jsonl]
    [--write]
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _report import add_write_option, measure, print_header, publish
from _store import serve
from PIL import Image

FER = [sys.executable, "-m", "fercli"]
PATIENCE_S = 60.0


def main() -> None:
    """Draw, predict, kill, resume, merge, compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--source", default="folder", choices=["folder", "tar", "parquet", "s3"])
    parser.add_argument("--engine", default="shards", choices=["shards", "ray"])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--killed", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--format", default="jsonl", choices=["jsonl", "csv", "parquet"])
    add_write_option(parser)
    arguments = parser.parse_args()
    source = arguments.source
    on_ray = arguments.engine == "ray"
    section = "shards by ray" if on_ray else "shards"
    section += "" if source == "folder" else f" from {source}"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        os.chdir(folder)
        draw(arguments.images)
        words = ["crops"] if source == "folder" else pack(source)
        if source == "s3":
            os.environ |= servers.enter_context(serve(Path("crops")))
        with publish(section, write=arguments.write):
            by = "a Ray cluster" if on_ray else f"{arguments.shards} shards"
            print_header(f"{arguments.images:,} crops, {by}, {arguments.model}")
            words = ["predict", *words, "--model", arguments.model, "--quiet"]
            with measure() as alone:
                run(*words, "--output", f"one.{arguments.format}")
            print(f"one process: {alone.wall_s:.1f} s")
            spread_out = spread if on_ray else shard
            spread_out(arguments, words)
            judge(arguments.format)


def pack(source: str) -> list[str]:
    """Put the crops where they are to be read, a fourth of them each, and return what is typed."""
    if source == "s3":
        return ["s3://bucket/"]
    files = sorted(Path("crops").rglob("*.png"))
    for part in range(4):
        some = files[part * len(files) // 4 : (part + 1) * len(files) // 4]
        if source == "tar":
            with tarfile.open(f"crops-{part}.tar", "w") as archive:
                for path in some:
                    archive.add(path)
        else:
            images = [{"bytes": path.read_bytes(), "path": path.name} for path in some]
            pq.write_table(
                pa.table({"image": images}), f"crops-{part}.parquet", row_group_size=1000
            )
    return [f"crops-{part}.{source}" for part in range(4)]


def judge(kind: str) -> None:
    """Print whether one process wrote the same."""
    same = filecmp.cmp(f"one.{kind}", f"all.{kind}", shallow=False)
    size = Path(f"one.{kind}").stat().st_size
    print(f"byte for byte what one process wrote ({size:,} bytes): {'yes' if same else 'NO'}")
    if not same:
        sys.exit(1)


def spread(arguments: argparse.Namespace, words: list[str]) -> None:
    """Predict by Ray, and print what is killed meanwhile."""
    target = f"all.{arguments.format}"
    words = [*words, "--engine", "ray", "--output", target]
    # Ray lets its workers wait for everybody else on the machine, which one process does not.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # as Ray reads it
    size = Path(f"one.{arguments.format}").stat().st_size
    partial = Path(f"{target}.partial")
    with measure() as first, start(*words) as driver:
        kill_actor(driver, partial, size // 10)
        wait_for(partial, size * 4 // 10, driver)
        driver.kill()
    kept = partial.stat().st_size
    print(f"the command killed with SIGKILL after {first.wall_s:.1f} s, {kept:,} bytes kept")
    with measure() as second, start(*words, "--resume") as driver:
        kill_actor(driver, partial, size * 7 // 10)
    if driver.returncode:
        sys.exit(f"it ended with {driver.returncode}")
    print(f"resumed: {second.wall_s:.1f} s")


def start(*words: str) -> subprocess.Popen[bytes]:
    """Start a command; what it shows is not wanted."""
    return subprocess.Popen([*FER, *words], stdout=subprocess.DEVNULL)


def kill_actor(driver: subprocess.Popen[bytes], partial: Path, size: int) -> None:
    """Kill an actor below a command once so many bytes are written."""
    wait_for(partial, size, driver)
    actor = list_actors(driver.pid)[0]
    os.kill(actor, signal.SIGKILL)
    print(f"an actor killed with SIGKILL after {partial.stat().st_size:,} bytes of rows")


def wait_for(partial: Path, size: int, driver: subprocess.Popen[bytes]) -> None:
    """Wait until so many bytes are written."""
    while not partial.exists() or partial.stat().st_size < size:
        if driver.poll() is not None:
            sys.exit(f"it ended before anything was killed, with {driver.returncode}")
        time.sleep(0.02)


def list_actors(pid: int) -> list[int]:
    """Return the processes below one that predict."""
    parents, commands = {}, {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            number = int(folder.name)
            parents[number] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            commands[number] = (folder / "cmdline").read_text()
    below, left = set(), {pid}
    while left:
        left = {number for number, parent in parents.items() if parent in left}
        below |= left
    return [number for number in below if commands[number].startswith("ray::MapWorker")]


def shard(arguments: argparse.Namespace, words: list[str]) -> None:
    """Predict as shards, some of which are killed, and merge them."""
    kind, count = arguments.format, arguments.shards
    shards = [
        [*words, "--shard", f"{k}/{count}", "--output", "parts", "--format", kind, "--resume"]
        for k in range(count)
    ]
    for k in range(arguments.killed):
        at = kill_midway(shards[k], Path(f"parts/part-{k:05}-of-{count:05}.{kind}.partial"))
        print(f"shard {k}/{count} killed with SIGKILL after {at:,} bytes of rows")
    left = sorted(path.name for path in Path("parts").iterdir())
    print(f"left of them: {', '.join(left) or 'nothing'}")
    with measure() as sharded, ThreadPoolExecutor(arguments.at_once) as pool:
        list(pool.map(lambda shard: run(*shard), shards))
    print(f"{count} shards, {arguments.at_once} at a time, resumed: {sharded.wall_s:.1f} s")
    with measure() as again:
        run(*shards[0])
    print(f"a finished shard once more: {again.wall_s:.1f} s")
    with measure() as merging:
        peak_mib = run_measured("merge", "parts", "--output", f"all.{kind}", "--quiet")
    print(f"merge: {merging.wall_s:.1f} s, largest memory {peak_mib:.0f} MiB")


def draw(count: int) -> None:
    """Write so many crops of noise, a thousand to a folder."""
    generator = np.random.default_rng(0)
    for numbers in (range(at, min(at + 1000, count)) for at in range(0, count, 1000)):
        folder = Path(f"crops/{numbers[0] // 1000:04}")
        folder.mkdir(parents=True)
        for number in numbers:
            pixels = generator.integers(0, 256, (48, 48), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:07}.png", compress_level=1)


def run(*words: str) -> None:
    """Run a command to its end; what it shows is not wanted."""
    subprocess.run([*FER, *words], check=True, stdout=subprocess.DEVNULL)


def run_measured(*words: str) -> float:
    """Run a command and return its largest resident size, MiB."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *FER, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout) / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def kill_midway(words: list[str], partial: Path) -> int:
    """Start a command, kill it once rows were written, and return how many bytes they took."""
    process = subprocess.Popen([*FER, *words], stdout=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        if partial.exists() and partial.stat().st_size:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode != -signal.SIGKILL:
        sys.exit(f"it ended before it was killed, with {process.returncode}")
    return partial.stat().st_size if partial.exists() else 0


if __name__ == "__main__":
    main()
