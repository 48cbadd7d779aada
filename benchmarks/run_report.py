"""What a finished run reached, by its own record: accuracy, time, command.

python benchmarks/run_report.py RUN [--write=SECTION]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _report import print_header, publish

from fercli.metrics import compute_wilson_interval
from fercli.recipes import write_command
from fercli.runs import read_run_record


def main() -> None:
    """Print what `run.json` holds, in the words of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--write", metavar="SECTION", help="put it into that part of results.md")
    options = parser.parse_args()
    record = read_run_record(options.run)
    result, config, dataset = record.result, record.config, record.dataset
    if result is None:
        parser.error(f"{options.run} is not finished")
    with publish(options.write or "", write=options.write is not None):
        n_images = dataset.n_validation
        n_correct = round(result.validation_accuracy * n_images)
        low, high = compute_wilson_interval(n_correct, n_images)
        print_header("what a finished run reached, by its own record")
        print(f"trained by: {write_command(record, public=True)}")
        print(f"{config['recipe']}, {result.network}, {result.parameters:,} parameters")
        print(f"trained on {record.device}, {result.precision}, seed {result.seed}")
        print(f"torch {record.versions['torch']}, data sha256 {dataset.sha256}")
        print(
            f"best epoch {result.best_epoch} of {result.epochs}: "
            f"{result.validation_accuracy:.2%} on {result.validation_split} plain "
            f"({low:.2%} to {high:.2%}, n = {n_images:,})"
        )
        spent = f"{result.duration_s / 60:.1f} minutes wall, {result.cpu_s / 60:.1f} CPU"
        print(f"{spent}; {result.images_per_s:,.0f} images/s in the training steps")


if __name__ == "__main__":
    main()
