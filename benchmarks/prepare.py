"""Preparing a dataset: time, memory, and how long the prepared file takes to open.

python benchmarks/prepare.py SOURCE [--n 20]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from _report import measure, print_header, read_peak_mib

from fercli.data import load_source, open_dataset, save_dataset


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="anything that `fer data prepare` reads")
    parser.add_argument("--n", type=int, default=20, help="openings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.safetensors"
        with measure() as preparing:
            dataset = load_source(options.source).dataset
            save_dataset(path, dataset)
        peak = read_peak_mib()
        openings = []
        for _ in range(options.n):
            with measure() as opening:
                open_dataset(path)
            openings.append(opening.wall_s)
        with measure() as checking:
            open_dataset(path).check_digest()
    print_header(f"fer data prepare, {dataset.n_images:,} images")
    print(f"prepare: {preparing}; peak memory {peak:.0f} MiB; n = 1")
    print(
        f"open, mapped: median {statistics.median(openings) * 1000:.1f} ms, "
        f"worst {max(openings) * 1000:.1f} ms, n = {options.n}"
    )
    print(f"open and check every byte: {checking}; n = 1")


if __name__ == "__main__":
    main()
