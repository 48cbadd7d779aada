"""What it costs to read images from where they lie: a folder, a tar, a Parquet file, a store.

The same crops are predicted from each, by a process of its own, so that reading is what differs;
rows have to be the same but for their paths. Printed are images per second with the start, seconds
of processor and the largest memory of that process. The store is `_store.py` on this machine,
which takes its share of the cores; once more each of its answers waits for some time, as answers
from afar do.

python benchmarks/store.py [--images 10000] [--model tiny] [--repeats 3] [--delay-ms 20] [--write]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from _report import add_write_option, print_header, publish
from _store import serve
from shards import draw

MEASURED = """
import json, os, resource, subprocess, sys, time
started = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, time.perf_counter() - started,
                  spent.ru_utime + spent.ru_stime, spent.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Ran:
    """What a command took."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def main() -> None:
    """Draw, pack, serve, predict from each in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--delay-ms", type=float, default=20)
    add_write_option(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        os.chdir(folder)
        draw(arguments.images)
        pack(sorted(Path("crops").rglob("*.png")))
        near = servers.enter_context(serve(Path("crops")))
        far = servers.enter_context(serve(Path("crops"), delay_ms=arguments.delay_ms))
        packed = servers.enter_context(serve(Path("packed")))
        sources: dict[str, tuple[str, Mapping[str, str]]] = {
            "folder": ("crops", os.environ),
            "tar": ("packed/crops.tar", os.environ),
            "parquet": ("packed/crops.parquet", os.environ),
            "s3": ("s3://bucket/", near),
            f"s3, {arguments.delay_ms:g} ms": ("s3://bucket/", far),
            "tar in s3": ("s3://bucket/crops.tar", packed),
            "parquet in s3": ("s3://bucket/crops.parquet", packed),
        }
        with publish("inputs", write=arguments.write):
            print_header(
                f"{arguments.images:,} crops of 48 x 48 as PNG, {arguments.model}, "
                f"median of {arguments.repeats}"
            )
            compare(arguments, sources)


def compare(
    arguments: argparse.Namespace, sources: Mapping[str, tuple[str, Mapping[str, str]]]
) -> None:
    """Print what each source takes."""
    ran: dict[str, list[Ran]] = {name: [] for name in sources}
    for _ in range(arguments.repeats):
        for number, (name, (word, environment)) in enumerate(sources.items()):
            ran[name].append(run(word, arguments.model, f"rows-{number}.jsonl", environment))
    answers = {name: read_answers(f"rows-{number}.jsonl") for number, name in enumerate(sources)}
    for name, times in ran.items():
        rate, cpu_s, peak_mib = (
            statistics.median(values)
            for values in (
                [arguments.images / one.wall_s for one in times],
                [one.cpu_s for one in times],
                [one.peak_mib for one in times],
            )
        )
        same = "" if answers[name] == answers["folder"] else ", OTHER ROWS"
        print(f"{name:14} {rate:6,.0f} images/s, {cpu_s:5.1f} s CPU, {peak_mib:4.0f} MiB{same}")
    if any(given != answers["folder"] for given in answers.values()):
        sys.exit(1)


def run(word: str, model: str, output: str, environment: Mapping[str, str]) -> Ran:
    """Predict from a source, and return what that took."""
    fer = [sys.executable, "-m", "fercli", "predict", word, "--model", model, "--quiet"]
    command = [sys.executable, "-c", MEASURED, *fer, "--output", output, "--force"]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=dict(environment)
    )
    status, wall_s, cpu_s, peak_mib = json.loads(done.stdout)
    if status:
        sys.exit(f"{word}: status {status}")
    return Ran(wall_s, cpu_s, peak_mib)


def read_answers(path: str) -> list[object]:
    """Return what the rows of a file say, in order, without what they call their images."""
    rows = map(json.loads, Path(path).read_text(encoding="utf-8").splitlines())
    return [[row["status"], row["label"], row["probabilities"]] for row in rows]


def pack(files: list[Path]) -> None:
    """Write the files as one tar, and as one table as Hugging Face writes them."""
    Path("packed").mkdir()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    with (
        tarfile.open("packed/crops.tar", "w") as archive,
        pq.ParquetWriter("packed/crops.parquet", pa.schema([("image", kind)])) as table,
    ):
        for at in range(0, len(files), 1000):
            images = [(one.name, one.read_bytes()) for one in files[at : at + 1000]]
            for name, content in images:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            column = pa.array([{"bytes": one, "path": name} for name, one in images], kind)
            table.write_table(pa.table({"image": column}))


if __name__ == "__main__":
    main()
