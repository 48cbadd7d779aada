"""Folders and archives as one thing: a sorted list of names, and the bytes behind each."""

from __future__ import annotations

import contextlib
import errno
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol

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

_NOWHERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_UNREAD: Final = "nothing was written; make it readable, or remove it"


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
    """A folder; links are followed, and what cannot be listed is refused, never left out.

    Args:
        root: The folder.
        name: What to call it; default: its own name.
    """

    def __init__(self, root: Path, name: str = "") -> None:
        self.name = name or root.name or str(root)
        self._root = root

    @property
    def names(self) -> list[PurePosixPath]:
        """Relative names of all regular files, sorted.

        Raises:
            DatasetLayoutError: A folder cannot be listed, or a link leads nowhere or in a circle.
        """
        found: list[PurePosixPath] = []
        # With the identities of the folders that each lies in: a link may lead back to one.
        pending: list[tuple[Path, frozenset[tuple[int, int]]]] = [(self._root, frozenset())]
        while pending:
            folder, above = pending.pop()
            with _explain_unread(folder):
                status = folder.stat()
            mark = (status.st_dev, status.st_ino)
            if mark in above:
                message = f"{folder} is a link to a folder that contains it"
                raise DatasetLayoutError(message, hint=_UNREAD)
            folders, files = _list_folder(folder)
            pending += [(Path(path), above | {mark}) for path in folders]
            relative = PurePosixPath(folder.relative_to(self._root).as_posix())
            found += [relative / name for name in files]
        return sorted(found)

    def open(self, name: PurePosixPath) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a file for reading."""
        return (self._root / name).open("rb", buffering=0)

    def read(self, name: PurePosixPath) -> bytes:
        """Return a file's whole content.

        Raises:
            DatasetLayoutError: It cannot be read, or is longer than any image.
        """
        path = self._root / name
        with _explain_unread(path):
            check_length(self.name, name, self.size(name))
            return path.read_bytes()

    def size(self, name: PurePosixPath) -> int:
        """Return a file's size in bytes."""
        return (self._root / name).stat().st_size


def _list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Return the paths of the folders in a folder, and the names of its regular files."""
    folders, files = [], []
    with _explain_unread(folder), os.scandir(folder) as entries:
        for entry in entries:
            if not is_wanted(entry.name):
                continue
            with _explain_unread(Path(entry.path)):
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.is_file():
                    files.append(entry.name)
                else:
                    # A link that leads nowhere fails here. Pipes and devices hold nothing to read.
                    Path(entry.path).stat()
    return folders, files


@contextlib.contextmanager
def _explain_unread(path: Path) -> Iterator[None]:
    """Name what cannot be read: without it a dataset would be smaller, and nobody told."""
    try:
        yield
    except OSError as reason:
        nowhere = reason.errno in _NOWHERE and path.is_symlink()
        what = "is a broken link" if nowhere else "cannot be read"
        message = f"{path} {what} ({reason.strerror or reason})"
        raise DatasetLayoutError(message, hint=_UNREAD) from reason
