"""Auditing a dataset: time with and without the search for near copies, and memory.

python benchmarks/audit.py [--data SOURCE] [--images 35887] [--write]

A dataset with fewer images than `--images` is filled up with shifted ones of its own: the search
compares each with each, whatever they show.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np
from _report import add_write_option, measure, print_header, publish, read_peak_mib

from fercli.audit import check_dataset, summarize
from fercli.data import build_dataset, load_data

if TYPE_CHECKING:
    from fercli.data import Dataset


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--images", type=int, default=35_887)
    add_write_option(parser)
    options = parser.parse_args()
    dataset = load_data(options.data)
    with publish("audit", write=options.write):
        print_header("fer data check")
        report(dataset)
        if dataset.n_images < options.images:
            report(fill_up(dataset, options.images))
        print(f"peak memory {read_peak_mib():.0f} MiB")


def report(dataset: Dataset) -> None:
    """Audit twice and print."""
    with measure() as quick:
        summarize(check_dataset(dataset, near=False), [])
    with measure() as whole:
        found = summarize(check_dataset(dataset, near=True), [])
    n_pairs = found.near_duplicates.n_pairs if found.near_duplicates else 0
    print(f"{dataset.n_images:,} images without near copies: {quick}; n = 1")
    print(f"{dataset.n_images:,} images, {n_pairs:,} near pairs: {whole}; n = 1")


def fill_up(dataset: Dataset, n_images: int) -> Dataset:
    """Return a dataset of that many images."""
    missing = n_images - dataset.n_images
    rows = np.resize(np.arange(dataset.n_images), missing)
    shifted = np.roll(np.asarray(dataset.images[rows]), 5, axis=2)
    arrays = {
        "images": np.concatenate([dataset.images, shifted]),
        "labels": np.concatenate([dataset.labels, dataset.labels[rows]]),
        "splits": np.concatenate([dataset.splits, dataset.splits[rows]]),
        "source_row": np.arange(n_images, dtype=np.int32),
    }
    return build_dataset(
        arrays,
        label_names=dataset.label_names,
        split_names=dataset.split_names,
        source=f"{dataset.source}, filled up",
    )


if __name__ == "__main__":
    main()
