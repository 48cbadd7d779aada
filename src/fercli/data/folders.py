"""Read image folders: `train/<emotion>/name.jpg`, `test/<emotion>/name.jpg`.

The popular Kaggle copy pools FER2013's two test splits in one folder, but its file names still
begin with `PublicTest_` or `PrivateTest_`: the prefix decides the split. Without prefixes the
split is `test`, and the output says that the halves cannot be told apart. Labels are mapped by
folder name, never by position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.emotions import LABELS, find_label
from fercli.errors import DatasetLayoutError, ImageDecodeError
from fercli.images import SUFFIXES, load_face_crop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data.trees import Tree

__all__ = ["FaceFile", "find_face_files", "read_face_files"]

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


def find_face_files(tree: Tree) -> list[FaceFile]:
    """Return the images laid out as `.../<split>/<emotion>/<image>`, sorted by name.

    Raises:
        DatasetLayoutError: A folder between a split and its images has no emotion's name.
    """
    files = []
    for name in tree.names:
        if name.suffix.lower() not in SUFFIXES or len(name.parts) < 3:
            continue
        folder = _SPLIT_FOLDERS.get(name.parts[-3].lower())
        if folder is None:
            continue
        label = find_label(name.parts[-2])
        if label is None:
            message = f"{tree.name}: {name.parts[-2]!r} in {str(name)!r} is no known emotion"
            hint = f"folders are named {', '.join(LABELS)}"
            raise DatasetLayoutError(message, hint=hint)
        files.append(FaceFile(name=name, split=_find_split(name.name, folder), label=label))
    return files


def read_face_files(
    tree: Tree, files: Sequence[FaceFile], on_row: Callable[[int], None]
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Decode images into arrays.

    Args:
        tree: Where the files are.
        files: What `find_face_files` found, at least one.
        on_row: Called with the number of images read, now and then.

    Returns:
        The arrays of `tables.read_table`, with `splits` as indices into the second value, the
        names of the splits that occur.

    Raises:
        DatasetLayoutError: Images cannot be read; the message names the first three.
    """
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
        "labels": np.array([LABELS.index(file.label) for file in files], dtype=np.uint8),
        "splits": np.array([split_names.index(file.split) for file in files], dtype=np.uint8),
        "source_row": np.arange(len(files), dtype=np.int32),
    }
    return arrays, split_names


def _find_split(file_name: str, folder: str) -> str:
    """Return the split of an image: its prefix where it has one, else its folder's."""
    prefix, underscore, _ = file_name.lower().partition("_")
    return _PREFIXES.get(prefix, folder) if underscore else folder
