"""One training in several ways: one process, two, and batches computed in parts.

The same recipe, seed and data each time, without dropout. Printed are the loss curves and how far
each lies from the first, the CPU seconds of all processes (start and export included), and the
largest memory of one.

python benchmarks/train_processes.py --data SOURCE [--recipe fast] [--epochs 4] [--threads 1]
    [--write]
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import add_write_option, print_header, publish

WAYS = {
    "1 process": (),
    "2 processes": ("--processes", "2"),
    "--accumulate 2": ("--accumulate", "2"),
    "--accumulate 4": ("--accumulate", "4"),
    "2 processes, --accumulate 2": ("--processes", "2", "--accumulate", "2"),
}


def main() -> None:
    """Train in every way, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", default="4")
    parser.add_argument("--threads", default="1", help="of each process")
    add_write_option(parser)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = arguments.threads
    data = str(Path(arguments.data).resolve())
    words = ["--data", data, "--recipe", arguments.recipe, "--epochs", arguments.epochs]
    words += ["--dropout", "0", "--device", "cpu", "--precision", "fp32", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with publish("training in parts and processes", write=arguments.write):
            print_header(
                f"{arguments.recipe}, {arguments.epochs} epochs, fp32, no dropout, "
                f"{arguments.threads} thread(s) in each process"
            )
            compare(words)


def compare(words: list[str]) -> None:
    """Print the curves of every way, and what it cost."""
    first: list[dict[str, float]] = []
    for number, (way, extra) in enumerate(WAYS.items()):
        run = Path(f"run-{number}")
        command = [sys.executable, "-m", "fercli", "train", *words, *extra, "--output", str(run)]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, spent = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        if status:
            sys.exit(f"{way}: status {os.waitstatus_to_exitcode(status)}")
        curve = read_curve(run)
        first = first or curve
        for name in ("train_loss", "validation_loss"):
            shown = ", ".join(f"{epoch[name]:.6f}" for epoch in curve)
            print(f"{way}: {name.replace('_', ' ')} {shown}; off by {find_gap(first, curve, name)}")
        accuracy = ", ".join(f"{epoch['validation_accuracy']:.2%}" for epoch in curve)
        print(f"{way}: validation accuracy {accuracy}")
        print(
            f"{way}: {spent.ru_utime + spent.ru_stime:.0f} s CPU, {wall_s:.0f} s wall, largest "
            f"memory {spent.ru_maxrss / 1024:.0f} MiB"
        )


def read_curve(run: Path) -> list[dict[str, float]]:
    """Return the epochs of a run."""
    with (run / "metrics.csv").open(encoding="utf-8") as stream:
        return [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)
        ]


def find_gap(first: list[dict[str, float]], curve: list[dict[str, float]], name: str) -> str:
    """Return the relative distance of two curves, epoch by epoch."""
    pairs = zip(first, curve, strict=True)
    return ", ".join(f"{abs(two[name] - one[name]) / one[name]:.0e}" for one, two in pairs)


if __name__ == "__main__":
    main()
