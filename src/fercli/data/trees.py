"""Folders and zip files as one thing: a sorted list of names, and the bytes behind each.

Zip members are read in place, never unpacked, so no archive can write outside a folder. Sizes in
an archive are claims, so the budget counts the bytes that really come out.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol

from fercli.errors import DatasetLayoutError

__all__ = ["FolderTree", "Tree", "ZipTree", "open_tree"]

MAX_MEMBERS: Final = 1_000_000
MAX_TOTAL_BYTES: Final = 4 << 30
"""Bytes that may come out of one archive; FER2013 is 301 MB as CSV."""
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
)
"""What Python's readers of compressed data raise, each on its own kind of damage."""
_LINK_MODE: Final = 0o120000


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
    """Open a folder or a zip file.

    Raises:
        DatasetLayoutError: The archive is broken, or has members that we do not read.
    """
    if path.is_dir():
        yield FolderTree(path)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            yield ZipTree(path.name, archive)
    except _DAMAGE as reason:
        message = f"{path} is not a readable zip file ({reason})"
        raise DatasetLayoutError(message) from reason


class FolderTree:
    """A folder; links to files are followed, linked folders are not.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.name = root.name or str(root)
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
                if _is_wanted(name) and (Path(folder) / name).is_file()
            )
        return sorted(found)

    def open(self, name: PurePosixPath) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a file for reading."""
        return (self._root / name).open("rb", buffering=0)

    def read(self, name: PurePosixPath) -> bytes:
        """Return a file's whole content."""
        return (self._root / name).read_bytes()

    def size(self, name: PurePosixPath) -> int:
        """Return a file's size in bytes."""
        return (self._root / name).stat().st_size


class ZipTree:
    """A zip file, its members checked before any is read.

    Args:
        name: The archive's name, for messages.
        archive: The opened archive.

    Raises:
        DatasetLayoutError: A member's name leaves the archive, occurs twice or is not a file.
    """

    def __init__(self, name: str, archive: zipfile.ZipFile) -> None:
        self.name = name
        self._archive = archive
        self._left_bytes = MAX_TOTAL_BYTES
        self._members: dict[PurePosixPath, zipfile.ZipInfo] = {}
        infos = archive.infolist()
        if len(infos) > MAX_MEMBERS:
            message = f"{name} has more than {MAX_MEMBERS} members"
            raise DatasetLayoutError(message)
        for info in infos:
            if info.is_dir():
                continue
            member = _check_member(name, info)
            if member in self._members:
                message = f"{name}: {str(member)!r} is in it twice"
                raise DatasetLayoutError(message)
            self._members[member] = info

    @property
    def names(self) -> list[PurePosixPath]:
        """Relative names of all members, sorted."""
        return sorted(
            name
            for name in self._members
            if all(_is_wanted(part) for part in name.parts) and name.parts[0] != "__MACOSX"
        )

    @contextlib.contextmanager
    def open(self, name: PurePosixPath) -> Iterator[IO[bytes]]:
        """Open a member for reading; its bytes are not counted against the budget."""
        with self._archive.open(self._members[name]) as stream:
            yield stream

    def read(self, name: PurePosixPath) -> bytes:
        """Return a member's whole content.

        Raises:
            DatasetLayoutError: More came out of the archive than any FER2013 copy holds.
        """
        with self._archive.open(self._members[name]) as stream:
            content = stream.read(self._left_bytes + 1)
        self._left_bytes -= len(content)
        if self._left_bytes < 0:
            message = f"{self.name} unpacks to more than {MAX_TOTAL_BYTES} bytes"
            raise DatasetLayoutError(message)
        return content

    def size(self, name: PurePosixPath) -> int:
        """Return the size in bytes that the archive claims for a member."""
        return self._members[name].file_size


def _is_wanted(name: str) -> bool:
    return not name.startswith(".")


def _check_member(archive: str, info: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(info.filename)
    raw = info.orig_filename
    escapes = name.is_absolute() or ".." in name.parts or "\\" in raw or ":" in raw or "\0" in raw
    if escapes or not name.parts:
        message = f"{archive}: the member name {raw!r} is refused"
        raise DatasetLayoutError(message)
    mode = info.external_attr >> 16
    if mode & 0o170000 == _LINK_MODE:
        message = f"{archive}: {raw!r} is a link, which is refused"
        raise DatasetLayoutError(message)
    if info.flag_bits & 1:
        message = f"{archive}: {raw!r} is encrypted"
        raise DatasetLayoutError(message, hint="unpack it with its password first")
    return name
