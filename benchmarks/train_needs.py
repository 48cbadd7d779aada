"""What a training takes of a machine: the most memory that it holds, and the size of its run.

Each recipe is trained by the command for two epochs at full size, after which its run holds two
checkpoints as that of a longer one does, in a process of its own. The faces are synthetic, so
FER2013's own pixels (79 MiB, mapped) come on top; a longer training holds no more, and writes no
more than its curves.

python benchmarks/train_needs.py [--recipe NAME]... [--images 1300] [--write]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import add_write_option, print_header, publish

from fercli.recipes import RECIPES


def train(recipe: str, data: str, folder: Path) -> tuple[float, float, int]:
    """Return seconds, the largest resident set in MiB, and the bytes of the run folder."""
    run = folder / recipe
    words = [
        "train", "--recipe", recipe, "--data", data, "--epochs", "2", "--set", "sizes_px=48",
        "--device", "cpu", "--output", str(run), "-q",
    ]  # fmt: skip
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "fercli", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"fer {' '.join(words)}: status {process.returncode}")
    written = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    return time.perf_counter() - start, usage.ru_maxrss / 1024, written


def main() -> None:
    """Measure the recipes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="default: all")
    parser.add_argument("--images", type=int, default=1300, help="synthetic faces")
    add_write_option(parser)
    options = parser.parse_args()
    with (
        publish("what a training takes", write=options.write),
        tempfile.TemporaryDirectory() as folder,
    ):
        print_header("memory and disk of a training")
        print(f"two epochs of {options.images:,} synthetic faces at 48 px, the default batch")
        for recipe in options.recipe or RECIPES:
            seconds, memory_mib, written = train(
                recipe, f"synthetic:{options.images}", Path(folder)
            )
            print(
                f"{recipe:10}{memory_mib:8,.0f} MiB held at most, {written / 1e6:6.1f} MB written, "
                f"{seconds:4.0f} s"
            )


if __name__ == "__main__":
    main()
