"""Datasets: sources in every layout, the prepared file, and synthetic faces."""

from __future__ import annotations

from fercli.data.dataset import Dataset, Subset, build_dataset, open_dataset, save_dataset
from fercli.data.mapping import map_labels
from fercli.data.sources import (
    LoadedSource,
    check_source,
    find_warnings,
    list_source_files,
    load_data,
    load_source,
)
from fercli.data.synthetic import build_synthetic, parse_synthetic, render_synthetic_faces

__all__ = [
    "Dataset",
    "LoadedSource",
    "Subset",
    "build_dataset",
    "build_synthetic",
    "check_source",
    "find_warnings",
    "list_source_files",
    "load_data",
    "load_source",
    "map_labels",
    "open_dataset",
    "parse_synthetic",
    "render_synthetic_faces",
    "save_dataset",
]
