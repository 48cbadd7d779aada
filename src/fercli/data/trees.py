"""Folders and archives as one thing: a sorted list of names, and the bytes behind each."""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from fercli.data.archives import (
    DAMAGE,
    Budget,
    ZipTree,
    check_length,
    is_tar,
    is_wanted,
    unpack_tar,
)
from fercli.errors import DatasetLayoutError

__all__ = ["FolderTree", "Tree", "open_tree"]


class Tree(Protocol):
    """A source with named files."""

    name: str
    """The folder's or archive's own name."""

    @property
    def names(self) -> list[PurePosixPath]:
        """Relative names of all regular files, sorted; hidden ones are left out."""

    def open(self, name: PurePosixPath) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a file for reading."""

    def read(self, name: PurePosixPath) -> bytes:
        """Return a file's whole content."""

    def size(self, name: PurePosixPath) -> int:
        """Return a file's size in bytes, as its source states it."""


@contextlib.contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder, a zip or a tar, plain or gzip.

    Raises:
        DatasetLayoutError: The archive is broken, or has members that we do not read.
    """
    if path.is_dir():
        yield FolderTree(path)
        return
    budget = Budget(path.name, path.stat().st_size)
    if is_tar(path):
        with tempfile.TemporaryDirectory(prefix="fercli-") as folder:
            with _explain_damage(path):
                unpack_tar(path, Path(folder), budget)
            yield FolderTree(Path(folder), path.name)
        return
    with _explain_damage(path), zipfile.ZipFile(path) as archive:
        yield ZipTree(path.name, archive, budget)


@contextlib.contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (*DAMAGE, tarfile.TarError) as reason:
        if getattr(reason, "errno", None) is not None:
            # The system's, not the archive's: a full disk, say.
            raise
        message = f"{path} is not a readable archive ({str(reason)[:200]})"
        raise DatasetLayoutError(message) from reason


class FolderTree:
    """A folder; links to files are followed, linked folders are not.

    Args:
        root: The folder.
        name: What to call it; default: its own name.
    """

    def __init__(self, root: Path, name: str = "") -> None:
        self.name = name or root.name or str(root)
        self._root = root

    @property
    def names(self) -> list[PurePosixPath]:
        """Relative names of all regular files, sorted."""
        found: list[PurePosixPath] = []
        for folder, folders, files in os.walk(self._root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            relative = PurePosixPath(Path(folder).relative_to(self._root).as_posix())
            # Pipes, devices and links that lead nowhere are no files to read.
            found.extend(
                relative / name
                for name in files
                if is_wanted(name) and (Path(folder) / name).is_file()
            )
        return sorted(found)

    def open(self, name: PurePosixPath) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a file for reading."""
        return (self._root / name).open("rb", buffering=0)

    def read(self, name: PurePosixPath) -> bytes:
        """Return a file's whole content.

        Raises:
            DatasetLayoutError: It is longer than any image.
        """
        check_length(self.name, name, self.size(name))
        return (self._root / name).read_bytes()

    def size(self, name: PurePosixPath) -> int:
        """Return a file's size in bytes."""
        return (self._root / name).stat().st_size
