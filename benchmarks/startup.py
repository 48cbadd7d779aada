"""Time of `fer --help`, a new process each time.

python benchmarks/startup.py [--n 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from _report import print_header

PROBE = "import sys; from fercli.cli import app; print('torch' in sys.modules)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=15, help="processes")
    n = parser.parse_args().n
    times = []
    for _ in range(n):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "fercli", "--help"], check=True, stdout=subprocess.DEVNULL
        )
        times.append(time.perf_counter() - start)
    done = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    print_header("fer --help")
    print(f"median {statistics.median(times):.3f} s, worst {max(times):.3f} s, n = {n}")
    print(f"torch imported: {done.stdout.strip()}")


if __name__ == "__main__":
    main()
