"""Train what a list names, one run after the other, resumed wherever each was left.

python scripts/train_queue.py QUEUE.toml [--runs DIR] [--cores 1]

    [plus]
    arguments = "--recipe standard --data ferplus.safetensors --epochs 50"
    [student]
    arguments = "--data fer2013.csv.gz --epochs 120 --teacher base"

Each table becomes the run folder DIR/<name>. A finished run is passed over, one that was begun is
resumed, so that the same command goes on after every interruption; a run that fails is said and
left, and the next one begins. Relative paths are of the queue's folder, runs are best kept outside
the repository.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from fercli.runs import RunFolder, is_finished


def main() -> None:
    """Work through the list; the status is 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("queue", type=Path, metavar="QUEUE.toml")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="default: %(default)s")
    parser.add_argument(
        "--cores", type=int, default=1, help="threads of a training; default: %(default)s"
    )
    options = parser.parse_args()
    with options.queue.open("rb") as stream:
        queue = tomllib.load(stream)
    failed = [
        name
        for name, entry in queue.items()
        if train(
            (options.runs / name).resolve(),
            shlex.split(entry["arguments"]),
            options.cores,
            options.queue.resolve().parent,
        )
    ]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def train(folder: Path, words: list[str], n_cores: int, place: Path) -> int:
    """Begin a run or go on with it, and return its exit status; 0 for one that was finished."""
    if is_finished(RunFolder(folder)):
        print(f"{folder.name}: finished", flush=True)
        return 0
    begun = RunFolder(folder).record.exists()
    words = ["--resume", str(folder)] if begun else [*words, "--output", str(folder)]
    print(f"{folder.name}: fer train {shlex.join(words)}", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(n_cores)}
    command = [sys.executable, "-m", "fercli", "train", *words]
    # In the queue's own folder, which its relative paths are of.
    return subprocess.call(command, env=environment, cwd=place)  # noqa: S603  # of a list of ours


if __name__ == "__main__":
    main()
