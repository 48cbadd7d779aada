"""Read image folders: `train/<label>/name.jpg`, `test/<label>/name.jpg`, or `<label>/name.jpg`.

The popular Kaggle copy pools FER2013's two test splits in one folder, but its file names still
begin with `PublicTest_` or `PrivateTest_`: the prefix decides the split. Without prefixes the
split is `test`, and the output says that the halves cannot be told apart. Labels are mapped by
folder name, never by position; where no folder has an emotion's name, the names are the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.emotions import FERPLUS_LABELS, LABELS, find_label
from fercli.errors import ConfigError, DatasetLayoutError, ImageDecodeError
from fercli.images import SUFFIXES, load_face_crop
from fercli.names import safe_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data.trees import Tree

__all__ = ["FaceFile", "FaceFiles", "find_face_files", "read_face_files"]

_SPLIT_FOLDERS: Final = {
    "train": "train",
    "training": "train",
    "public": "public",
    "publictest": "public",
    "private": "private",
    "privatetest": "private",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_PREFIXES: Final = {"training": "train", "publictest": "public", "privatetest": "private"}
_LEAST_PARTS: Final = 2
_MOST_LABELS: Final = 256
"""What a byte can tell apart."""
_SPLIT_ORDER: Final = ("train", "public", "private", "validation", "test")


@dataclass(frozen=True)
class FaceFile:
    """An image in a split's and an emotion's folder."""

    name: PurePosixPath
    """Relative to its tree."""
    split: str
    """The split its prefix or folder says."""
    label: str
    """The label its folder says."""


@dataclass(frozen=True)
class FaceFiles:
    """The images of a source, sorted by name."""

    files: list[FaceFile]
    """Where they are, of which split and label."""
    label_names: tuple[str, ...]
    """All labels, in their order."""
    has_splits: bool
    """Whether the source says which images are for training and which for tests."""
    ignored: list[str]
    """Folders with images that belong to no split, where others do."""


def find_face_files(tree: Tree, renames: Mapping[str, str] | None = None) -> FaceFiles:
    """Return the images laid out as `.../<split>/<label>/<image>`, else as `.../<label>/<image>`.

    Args:
        tree: Where to look.
        renames: What folders mean whose names say nothing, `{"1": "surprise"}`.

    Raises:
        DatasetLayoutError: Some folders have emotions' names and some have not, they are too
            many, or have names that cannot be shown.
        ConfigError: `renames` names folders that are not there.
    """
    found = [
        name
        for name in tree.names
        if name.suffix.lower() in SUFFIXES and len(name.parts) >= _LEAST_PARTS
    ]
    split = [name for name in found if _find_folder_split(name) is not None]
    chosen = split or found
    folders = _list_folders(chosen)
    strange = sorted(set(renames or {}) - set(folders))
    if strange:
        message = f"{tree.name} has no folder {', '.join(map(repr, strange))} for --label-names"
        raise ConfigError(message)
    meanings = {folder: (renames or {}).get(folder, folder) for folder in folders}
    label_names, labels = _choose_labels(tree.name, meanings)
    files = [
        FaceFile(
            name=name,
            split=_find_split(name.name, _find_folder_split(name)),
            label=labels[name.parts[-2]],
        )
        for name in chosen
    ]
    says_split = bool(split) or any(_find_prefix(name.name) for name in chosen)
    ignored = sorted({str(name.parent) for name in found} - {str(name.parent) for name in chosen})
    return FaceFiles(files, label_names, says_split, ignored)


def _list_folders(names: Sequence[PurePosixPath]) -> list[str]:
    return sorted({name.parts[-2] for name in names})


def _find_folder_split(name: PurePosixPath) -> str | None:
    return _SPLIT_FOLDERS.get(name.parts[-3].lower()) if len(name.parts) > _LEAST_PARTS else None


def _choose_labels(
    source: str, meanings: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the label names, and which of them each folder stands for."""
    emotions = {folder: find_label(meaning) for folder, meaning in meanings.items()}
    strange = [folder for folder, label in emotions.items() if label is None]
    if not strange:
        known = {folder: label for folder, label in emotions.items() if label is not None}
        names = LABELS if set(known.values()) <= set(LABELS) else FERPLUS_LABELS
        return names, known
    if len(strange) < len(emotions):
        message = (
            f"{source}: the folder {strange[0]!r} is not named after an emotion, but others are"
        )
        hint = f"rename it, or say what it means: --label-names {strange[0]}=happy"
        raise DatasetLayoutError(message, hint=hint)
    own = sorted(set(meanings.values()), key=_order)
    odd = [name for name in own if safe_name(name) != name]
    if odd or len(own) > _MOST_LABELS:
        what = f"the name {odd[0]!r} is not printable" if odd else f"{len(own):,} folders"
        message = f"{source}: {what}; expected at most {_MOST_LABELS} folders with printable names"
        raise DatasetLayoutError(message)
    return tuple(own), dict(meanings)


def _order(name: str) -> tuple[bool, int, str]:
    """Put numbers before words, 2 before 10."""
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name


def read_face_files(
    tree: Tree, found: FaceFiles, on_row: Callable[[int], None]
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Decode images into arrays.

    Args:
        tree: Where the files are.
        found: What `find_face_files` found, at least one image.
        on_row: Called with the number of images read, now and then.

    Returns:
        The arrays of `tables.read_table`, with `splits` as indices into the second value, the
        names of the splits that occur.

    Raises:
        DatasetLayoutError: Images cannot be read; the message names the first three.
    """
    files = found.files
    split_names = tuple(split for split in _SPLIT_ORDER if any(f.split == split for f in files))
    images = np.empty((len(files), 48, 48), dtype=np.uint8)
    problems = []
    for row, file in enumerate(files):
        try:
            images[row] = load_face_crop(tree.read(file.name))[0]
        except ImageDecodeError as reason:
            problems.append(f"{file.name}: {reason}")
        if (row + 1) % 500 == 0 or row + 1 == len(files):
            on_row(row + 1)
    if problems:
        shown = "; ".join(problems[:3])
        message = f"{len(problems)} of {len(files)} images in {tree.name} cannot be read: {shown}"
        raise DatasetLayoutError(message, hint="nothing was written; remove or replace them")
    arrays: dict[str, NDArray[Any]] = {
        "images": images,
        "labels": np.array([found.label_names.index(file.label) for file in files], dtype=np.uint8),
        "splits": np.array([split_names.index(file.split) for file in files], dtype=np.uint8),
        "source_row": np.arange(len(files), dtype=np.int32),
    }
    return arrays, split_names


def _find_split(file_name: str, folder: str | None) -> str:
    """Return the split of an image: its prefix where it has one, else its folder's, else train."""
    return _find_prefix(file_name) or folder or "train"


def _find_prefix(file_name: str) -> str | None:
    prefix, underscore, _ = file_name.lower().partition("_")
    return _PREFIXES.get(prefix) if underscore else None
