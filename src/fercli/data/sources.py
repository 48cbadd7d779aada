"""From whatever a user has to a dataset in memory.

One entry, `load_source`: a prepared file, `synthetic[:N]`, a table, a zip or a folder. What it is
is decided by content, since names lie: gzip and zip by their first bytes, a prepared file by its
header, anything else must read as a table.
"""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

import numpy as np

from fercli.data.archives import Budget, Metered, is_tar
from fercli.data.dataset import FERPLUS, Dataset, build_dataset, open_dataset
from fercli.data.folders import find_face_files, read_face_files
from fercli.data.splitting import SAMPLED_SPLITS, sample_splits
from fercli.data.streams import decompress
from fercli.data.synthetic import build_synthetic, parse_synthetic
from fercli.data.tables import SPLITS, TABLE_NAMES, read_table
from fercli.data.trees import FolderTree, Tree, open_tree
from fercli.emotions import FER2013_COUNTS, LABELS
from fercli.errors import DatasetLayoutError, DatasetNotFoundError
from fercli.images import SUFFIXES
from fercli.paths import find_default_dataset, suggest_path

__all__ = [
    "LoadedSource",
    "check_source",
    "find_warnings",
    "list_source_files",
    "load_data",
    "load_source",
]

Progress = Callable[[int, int | None], None]
"""Called with images read so far, and how many there will be where that is known."""

_WAYS_ON: Final = (
    "`fer data download` downloads FER2013, `fer data prepare SOURCE` prepares your own copy, "
    "--data synthetic generates faces"
)
_PACKED: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
_OFFICIAL_ROWS: Final = sum(sum(counts) for counts in FER2013_COUNTS.values())


@dataclass(frozen=True)
class LoadedSource:
    """A dataset and what its reading brought to light."""

    dataset: Dataset
    """The images."""
    notes: list[str]
    """Sentences for the user about choices that were made while reading."""


def load_data(
    spec: str | None,
    on_progress: Progress | None = None,
    note: Callable[[str], None] = lambda _text: None,
) -> Dataset:
    """Return the dataset that `--data` names; without one, the prepared default.

    Args:
        spec: A prepared file or any source, or None.
        on_progress: Told how far the reading is; not called for a prepared file.
        note: Told of choices that were made while reading.

    Raises:
        DatasetNotFoundError: There is nothing at `spec`, or no default yet.
        DatasetLayoutError: It is damaged or not a layout that we read.
    """
    if spec is not None:
        loaded = load_source(spec, on_progress)
        for text in loaded.notes:
            note(text)
        dataset = loaded.dataset
    else:
        path = find_default_dataset()
        if not path.exists():
            message = f"there is no prepared dataset at {path}"
            raise DatasetNotFoundError(message, hint=_WAYS_ON)
        dataset = open_dataset(path)
        dataset.check_digest()
    return dataset


def load_source(
    spec: str, on_progress: Progress | None = None, renames: Mapping[str, str] | None = None
) -> LoadedSource:
    """Read a source of any layout.

    Args:
        spec: `synthetic[:N]`, or the path of a prepared file, a table (plain, gzip or zip), a zip
            of images or a folder of either.
        on_progress: Told how far the reading is.
        renames: What image folders mean whose names say nothing, `{"1": "surprise"}`.

    Raises:
        DatasetNotFoundError: There is nothing at that path.
        DatasetLayoutError: It is damaged or not a layout that we read.
        ConfigError: The N of `synthetic:N` is not a number of images that can be drawn.
    """
    report = on_progress or (lambda _done, _total: None)
    check_source(spec)
    n_synthetic = parse_synthetic(spec)
    if n_synthetic is not None:
        return LoadedSource(build_synthetic(n_synthetic, on_progress=report), [])
    path = Path(spec)
    try:
        before = _identify(path)
        loaded = _read_path(path, report, renames or {})
        after = _identify(path)
    except OSError as reason:
        message = f"{reason.filename or spec} cannot be read ({reason.strerror or reason})"
        raise DatasetLayoutError(message) from reason
    if after != before:
        message = f"{path} was changed while it was read"
        raise DatasetLayoutError(message, hint="try again when no program is writing it")
    return loaded


def _identify(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to; nothing of a folder."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def check_source(spec: str) -> None:
    """Tell at once whether there is anything to read.

    Raises:
        DatasetNotFoundError: There is nothing at that path.
        DatasetLayoutError: A folder above it cannot be looked into.
        ConfigError: The N of `synthetic:N` is not a number of images that can be drawn.
    """
    if parse_synthetic(spec) is not None:
        return
    try:
        is_there = Path(spec).exists()
    except OSError as reason:
        message = f"{spec} cannot be read ({reason.strerror or reason})"
        raise DatasetLayoutError(message) from reason
    if not is_there:
        message = f"there is nothing at {spec}"
        raise DatasetNotFoundError(message, hint=suggest_path(spec) or _WAYS_ON)


def list_source_files(spec: str | None) -> Iterator[Path]:
    """Yield the files that a source consists of, which no output may land on.

    Args:
        spec: As `load_data` takes it.

    Raises:
        DatasetNotFoundError: There is nothing at that path.
        DatasetLayoutError: A folder cannot be listed.
        ConfigError: The N of `synthetic:N` is not a number of images that can be drawn.
    """
    if spec is not None:
        check_source(spec)
        if parse_synthetic(spec) is not None:
            return
    path = find_default_dataset() if spec is None else Path(spec)
    if path.is_dir():
        # Prepared datasets in a folder are not read: one may lie there, and be made again.
        names = FolderTree(path).names
        yield from (path / name for name in names if name.suffix != ".safetensors")
    else:
        yield path


def _read_path(path: Path, report: Progress, renames: Mapping[str, str]) -> LoadedSource:
    """Read what lies at a path, told by its content."""
    if path.is_dir():
        return _read_tree(path, report, renames)
    if not path.is_file():
        message = f"{path} is neither a file nor a folder"
        raise DatasetLayoutError(message)
    with path.open("rb") as stream:
        head = stream.read(64)
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06"} or is_tar(path):
        return _read_tree(path, report, renames)
    if b'{"__metadata__"' in head[8:] or head[8:9] == b"{":
        dataset = open_dataset(path)
        # Or a new digest would be written over rotten pixels.
        dataset.check_digest()
        return LoadedSource(dataset, [])
    if path.suffix.lower() in SUFFIXES:
        message = f"{path} is a picture, not a dataset"
        hint = "`fer predict` reads it; a dataset is a table, or folders of pictures named by label"
        raise DatasetLayoutError(message, hint=hint)
    with path.open("rb", buffering=0) as raw:
        size = path.stat().st_size
        return LoadedSource(_read_table_dataset(raw, size, path.name, report), [])


def find_warnings(dataset: Dataset) -> list[str]:
    """Return what a user should know about a dataset before trusting a score on it."""
    if dataset.is_synthetic:
        return ["these faces are synthetic: scores on them say nothing about real faces"]
    if dataset.labeling == FERPLUS:
        return ["the labels are FER+'s, a different task: do not compare scores with FER2013's"]
    if dataset.is_official:
        return []
    warnings = _warn_of_unlearned(dataset)
    counts = {split: sum(labels.values()) for split, labels in dataset.count().items()}
    # No copy of FER2013 has a split of that name: such are somebody's own faces.
    if dataset.label_names != LABELS or counts.get("validation"):
        return warnings
    return warnings + _warn_of_missing(counts)


def _warn_of_missing(counts: Mapping[str, int]) -> list[str]:
    """Return what is to be said of a copy of FER2013 whose counts are not the official ones."""
    warnings = []
    if counts.get("test") and not counts.get("public"):
        warnings.append(
            "the test images carry no PublicTest_ or PrivateTest_ prefix: public and private "
            "cannot be told apart, so their split is `test`"
        )
    official = {split: sum(numbers) for split, numbers in FER2013_COUNTS.items()}
    missing = [
        f"{split} has {counts.get(split, 0)} of {number}"
        for split, number in official.items()
        if counts.get(split, 0) != number and not counts.get("test")
    ]
    total = sum(counts.values())
    if missing:
        warnings.append(f"this is not the complete FER2013: {', '.join(missing)} images")
    elif total != _OFFICIAL_ROWS:
        warnings.append(f"this is not the complete FER2013: {total} of {_OFFICIAL_ROWS} images")
    if missing and counts.get("public") and not counts.get("private"):
        warnings.append(
            "there is no private split: use fer train --validation 0.1 to keep public held out, "
            "so that its score can be reported"
        )
    return warnings


def _warn_of_unlearned(dataset: Dataset) -> list[str]:
    """Return a warning for each label that has images, and none to learn from."""
    counts = dataset.count()
    warnings = []
    for label in dataset.label_names:
        elsewhere = [split for split, labels in counts.items() if labels[label]]
        if elsewhere and "train" in counts and "train" not in elsewhere:
            warnings.append(f"{label} has images in {' and '.join(elsewhere)}, but none in train")
    if len({label for labels in counts.values() for label, n in labels.items() if n}) == 1:
        warnings.append("every image has the same label: there is nothing to classify")
    return warnings


def _read_tree(path: Path, report: Progress, renames: Mapping[str, str]) -> LoadedSource:
    """Read a folder or an archive: the first table of `TABLE_NAMES`, else the image folders."""
    with open_tree(path) as tree:
        table = _find_table(tree)
        if table is not None:
            notes = _note_other_tables(tree, table)
            with tree.open(table) as stream:
                size = tree.size(table)
                return LoadedSource(_read_table_dataset(stream, size, table.name, report), notes)
        found = find_face_files(tree, renames)
        if not found.files:
            message = f"{path} has no layout of FER2013 that fercli can read"
            hint = (
                f"expected one of {', '.join(TABLE_NAMES)}, "
                "or images in train/<label>/ and test/<label>/, or in <label>/"
            )
            hint = "; ".join([hint, *_note_archives(tree)[:3]])
            raise DatasetLayoutError(message, hint=hint)
        n_files = len(found.files)
        arrays, splits = read_face_files(tree, found, lambda done: report(done, n_files))
        notes = [f"ignored {folder}, which is in no split's folder" for folder in found.ignored]
        notes += _note_archives(tree)
        if not found.has_splits:
            splits = SAMPLED_SPLITS
            arrays["splits"] = sample_splits(arrays["images"], arrays["labels"])
            notes.append(
                "there are no split folders: of each label, 8 of 10 images were assigned to train, "
                "1 to validation and 1 to test; copies of an image stay together"
            )
        dataset = build_dataset(
            arrays, label_names=found.label_names, split_names=splits, source=tree.name
        )
        return LoadedSource(dataset, notes)


def _find_table(tree: Tree) -> PurePosixPath | None:
    """Return the table to read: by the order of `TABLE_NAMES`, then the shortest path."""
    tables = [name for name in tree.names if _table_rank(name) is not None]
    return min(tables, key=lambda name: (_table_rank(name), len(name.parts)), default=None)


def _table_rank(name: PurePosixPath) -> int | None:
    plain = name.name.lower().removesuffix(".gz")
    return TABLE_NAMES.index(plain) if plain in TABLE_NAMES else None


def _note_archives(tree: Tree) -> list[str]:
    """Say what is not looked into."""
    packed = [name for name in tree.names if name.name.lower().endswith(_PACKED)]
    return [f"ignored {name}, an inner archive: prepare it separately" for name in packed]


def _note_other_tables(tree: Tree, table: PurePosixPath) -> list[str]:
    notes = _note_archives(tree)
    others = [name for name in tree.names if name.name.lower().endswith((".csv", ".csv.gz"))]
    for name in others:
        if name == table:
            continue
        reason = " (it has no labels)" if name.name.lower().startswith("test.csv") else ""
        notes.append(f"read {table}, ignored {name}{reason}")
    return notes


def _read_table_dataset(raw: IO[bytes], size: int, name: str, report: Progress) -> Dataset:
    """Read a table, compressed or not; `size` is that of `raw`, for the estimate of the rows."""

    def estimate(done: int) -> None:
        report(done, max(done, round(done * size / max(1, raw.tell()))))

    try:
        with decompress(raw) as plain:
            metered = Metered(plain, Budget(name, size))
            arrays = read_table(io.BufferedReader(metered), name, estimate)
    except (gzip.BadGzipFile, zlib.error, EOFError) as reason:
        message = f"{name} is damaged ({reason})"
        raise DatasetLayoutError(message, hint="nothing was written") from reason
    # Only splits that occur are named, so that a table and its image folder count alike.
    occurring, splits = np.unique(arrays["splits"], return_inverse=True)
    arrays["splits"] = splits.astype(np.uint8)
    names = tuple(SPLITS[index] for index in occurring)
    return build_dataset(arrays, label_names=LABELS, split_names=names, source=name)
