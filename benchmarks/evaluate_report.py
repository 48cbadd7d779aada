"""Evaluating with the whole report: how long it takes, process start included.

python benchmarks/evaluate_report.py [MODEL] [--data SOURCE] [--split public] [--n 3] [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import add_write_option, print_header, publish


def main() -> None:
    """Run `fer evaluate --output` several times and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="base")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--split", default="public")
    parser.add_argument("--n", type=int, default=3)
    add_write_option(parser)
    options = parser.parse_args()
    times = []
    data, page_bytes = {}, 0
    for _ in range(options.n):
        with tempfile.TemporaryDirectory() as folder:
            words = ["evaluate", options.model, "--split", options.split, "--output", folder]
            words += ["--json", "--force", *(["--data", options.data] if options.data else [])]
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "fercli", *words], capture_output=True, text=True, check=True
            )
            times.append(time.perf_counter() - started)
            data = json.loads(done.stdout)["data"]
            page_bytes = (Path(folder) / "report.html").stat().st_size
    with publish("the evaluation's report", write=options.write):
        print_header(f"fer evaluate {Path(options.model).name} --split {options.split} --output")
        print(f"{data['n_images']:,} images, {len(data['files'])} files, page {page_bytes:,} bytes")
        print(
            f"median {statistics.median(times):.1f} s, worst {max(times):.1f} s, n = {options.n}; "
            f"of it inference {data['duration_s']:.1f} s"
        )


if __name__ == "__main__":
    main()
