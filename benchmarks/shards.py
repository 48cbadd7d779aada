"""What shards lose when their processes are killed: nothing.

Crops are drawn and predicted by one process, then as shards, several at a time. Some shards are
killed with SIGKILL in the middle of their rows; all are started again with `--resume`, and merged.
The file has to be the one process's, byte for byte. Printed are times, and the memory of the merge.
The crops lie in a folder, in four tars, in four files of Parquet, or in a bucket on this machine.

python benchmarks/shards.py [--source folder|tar|parquet|s3] [--images 10000] [--shards 8]
    [--killed 2] [--at-once 2] [--model tiny] [--format jsonl] [--write]
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
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--killed", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--format", default="jsonl", choices=["jsonl", "csv", "parquet"])
    add_write_option(parser)
    arguments = parser.parse_args()
    source = arguments.source
    section = "shards" if source == "folder" else f"shards from {source}"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        os.chdir(folder)
        draw(arguments.images)
        words = ["crops"] if source == "folder" else pack(source)
        if source == "s3":
            os.environ |= servers.enter_context(serve(Path("crops")))
        with publish(section, write=arguments.write):
            print_header(
                f"{arguments.images:,} crops, {arguments.shards} shards, {arguments.model}"
            )
            compare(arguments, words)


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


def compare(arguments: argparse.Namespace, sources: list[str]) -> None:
    """Print what one process and what shards take, and whether they write the same."""
    kind, count = arguments.format, arguments.shards
    words = ["predict", *sources, "--model", arguments.model, "--quiet"]
    with measure() as alone:
        run(*words, "--output", f"one.{kind}")
    print(f"one process: {alone.wall_s:.1f} s")
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
    same = filecmp.cmp(f"one.{kind}", f"all.{kind}", shallow=False)
    size = Path(f"one.{kind}").stat().st_size
    print(f"byte for byte what one process wrote ({size:,} bytes): {'yes' if same else 'NO'}")
    if not same:
        sys.exit(1)


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
