"""Archives from strangers: every name, kind and byte of theirs is looked at.

Zip members are read in place, never unpacked. A tar has no index, so its regular files are read as
they come, or copied into a folder of ours; nothing is left to `extractall`. Sizes in an archive are
claims, so the budget counts what really comes out.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from fercli.errors import DatasetLayoutError

__all__ = [
    "DAMAGE",
    "MAX_FILE_BYTES",
    "Budget",
    "Metered",
    "ZipTree",
    "check_length",
    "is_tar",
    "is_wanted",
    "read_tar",
    "unpack_tar",
]

MAX_MEMBERS: Final = 1_000_000
MAX_TOTAL_BYTES: Final = 4 << 30
"""Bytes that may come out of one archive; FER2013 is 301 MB as CSV."""
DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
)
"""What Python's readers of compressed data raise, each on its own kind of damage."""
_MOST_EXPANSION: Final = 200
"""Bytes that may come out for each byte of an archive; FER2013's tables give about four."""
_FREE_BYTES: Final = 64 << 20
"""Bytes that may come out of any archive, however small: short tables of one value pack well."""
MAX_FILE_BYTES: Final = 64 << 20
"""Of one image in a dataset."""
_CHUNK: Final = 1 << 20
_TAIL_BYTES: Final = 2 * tarfile.BLOCKSIZE
"""Of zeros at the end of a tar; one that was cut between two members has none."""
_SHOWN: Final = 200


def is_tar(path: Path) -> bool:
    """Return whether a file begins as a tar does, plain or within gzip."""
    try:
        with _open_plain(path) as stream:
            return stream.read(tarfile.BLOCKSIZE)[257:262] == b"ustar"
    except DAMAGE:
        return False


class Budget:
    """What may come out of an archive: so many members, so many bytes, so many for each byte.

    Args:
        name: The archive's, for messages.
        n_bytes: Its size.
        is_kept: Whether what comes out is kept; then all of it together has a bound, too.
    """

    def __init__(self, name: str, n_bytes: int, *, is_kept: bool = True) -> None:
        self._name = name
        self._n_members = 0
        self._left = max(_FREE_BYTES, _MOST_EXPANSION * n_bytes)
        if is_kept:
            self._left = min(MAX_TOTAL_BYTES, self._left)

    def take_member(self) -> None:
        """Count a member.

        Raises:
            DatasetLayoutError: It is one too many.
        """
        self._n_members += 1
        if self._n_members > MAX_MEMBERS:
            message = f"{self._name} has more than {MAX_MEMBERS:,} members"
            raise DatasetLayoutError(message)

    def take_bytes(self, n_bytes: int) -> None:
        """Count bytes.

        Raises:
            DatasetLayoutError: They are too many.
        """
        self._left -= n_bytes
        if self._left < 0:
            message = f"{self._name} unpacks to far more than such an archive should"
            raise DatasetLayoutError(message, hint="nothing was written")


class Metered(io.RawIOBase):
    """A stream whose bytes are taken from a budget as they are read.

    Args:
        stream: What is read; stays open.
        budget: What may be.

    Attributes:
        tail: The last bytes that were read, up to a kilobyte.
    """

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self.tail = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the stream within is."""
        return self._stream.tell()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer
        """Read into a buffer and return how many bytes.

        Raises:
            DatasetLayoutError: They are more than the budget has.
        """
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        self.tail = (self.tail + content[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        self._budget.take_bytes(len(content))
        return len(content)


class ZipTree:
    """A zip file, its members checked before any is read.

    Args:
        name: The archive's name, for messages.
        archive: The opened archive.
        budget: What may come out of it.

    Raises:
        DatasetLayoutError: A member's name leaves the archive, occurs twice or is not a file.
    """

    def __init__(self, name: str, archive: zipfile.ZipFile, budget: Budget) -> None:
        self.name = name
        self._archive = archive
        self._budget = budget
        self._members: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            budget.take_member()
            # As `is_dir`, which an empty name ends in an IndexError.
            if info.filename.endswith("/"):
                continue
            member = _check_name(name, info.orig_filename)
            _check_kind(name, info)
            if member in self._members:
                message = f"{name}: {_shorten(str(member))} is in it twice"
                raise DatasetLayoutError(message)
            self._members[member] = info

    @property
    def names(self) -> list[PurePosixPath]:
        """Relative names of all members, sorted."""
        return sorted(
            name
            for name in self._members
            if all(is_wanted(part) for part in name.parts) and name.parts[0] != "__MACOSX"
        )

    @contextlib.contextmanager
    def open(self, name: PurePosixPath) -> Iterator[IO[bytes]]:
        """Open a member for reading."""
        with self._archive.open(self._members[name]) as stream:
            yield cast("IO[bytes]", Metered(stream, self._budget))

    def read(self, name: PurePosixPath) -> bytes:
        """Return a member's whole content.

        Raises:
            DatasetLayoutError: It is longer than any image, or the archive than any copy.
        """
        with self._archive.open(self._members[name]) as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        self._budget.take_bytes(len(content))
        check_length(self.name, name, len(content))
        return content

    def size(self, name: PurePosixPath) -> int:
        """Return the size in bytes that the archive claims for a member."""
        return self._members[name].file_size


def check_length(source: str, name: PurePosixPath, n_bytes: int) -> None:
    """Refuse a file that is too long for an image.

    Raises:
        DatasetLayoutError: It is.
    """
    if n_bytes > MAX_FILE_BYTES:
        message = f"{source}: {_shorten(str(name))} is longer than {MAX_FILE_BYTES:,} bytes"
        raise DatasetLayoutError(message, hint="nothing was written")


def _shorten(name: str) -> str:
    """Return a name for a message; archives may hold names of megabytes."""
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}...")


def is_wanted(name: str) -> bool:
    """Return whether a file or folder is looked at: hidden ones are not."""
    return not name.startswith(".")


def _check_name(archive: str, raw: str) -> PurePosixPath:
    """Return a member's name; one that leads elsewhere, on any system, is refused."""
    name = PurePosixPath(raw)
    escapes = name.is_absolute() or ".." in name.parts or "\\" in raw or ":" in raw or "\0" in raw
    if escapes or not name.parts:
        message = f"{archive}: the member name {_shorten(raw)} is refused"
        raise DatasetLayoutError(message)
    return name


def _check_kind(archive: str, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        what = "a link" if kind == stat.S_IFLNK else "no regular file"
        message = f"{archive}: {_shorten(info.orig_filename)} is {what}, which is refused"
        raise DatasetLayoutError(message)
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        # Others Python unpacks without a bound: a kilobyte of bzip2 may be a gigabyte.
        message = f"{archive}: {_shorten(info.orig_filename)} is packed, but not by deflate"
        raise DatasetLayoutError(message, hint="pack it again by zip's usual method, deflate")
    if info.flag_bits & 1:
        message = f"{archive}: {_shorten(info.orig_filename)} is encrypted"
        raise DatasetLayoutError(message, hint="unpack it with its password first")


@contextlib.contextmanager
def _open_plain(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or what is within it when it begins as gzip does."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as plain:
            yield cast("IO[bytes]", plain)


def unpack_tar(path: Path, folder: Path, budget: Budget) -> None:
    """Copy the regular files of a tar into an empty folder; anything else is refused."""
    for name, _size, content in read_tar(path, budget):
        _copy(content, path.name, folder / name)


def read_tar(path: Path, budget: Budget) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Yield the regular files of a tar, in its order: name, size, and a stream of the content.

    What is not read of a stream before the next one is passed over.

    Raises:
        DatasetLayoutError: A member leaves the archive or is anything but a file or folder, or
            more comes out than may.
        OSError: As the others of `DAMAGE` and `tarfile.TarError`: it is damaged.
    """
    with _open_plain(path) as plain:
        # All bytes count, those of headers too, which can be as long as they like.
        metered = Metered(plain, budget)
        stream = io.BufferedReader(metered, _CHUNK)
        # As a stream: a member is read where it comes, and never sought for.
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for info in archive:
                budget.take_member()
                if info.isdir():
                    continue
                name = _check_name(path.name, info.name)
                # Holes take no bytes of the archive, and all of the folder's.
                if info.issparse():
                    message = (
                        f"{path.name}: {_shorten(info.name)} is a sparse file, which is refused"
                    )
                    hint = "pack it again without --sparse"
                    raise DatasetLayoutError(message, hint=hint)
                if info.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
                    what = "a link" if info.issym() or info.islnk() else "no regular file"
                    message = f"{path.name}: {_shorten(info.name)} is {what}, which is refused"
                    raise DatasetLayoutError(message)
                content = archive.extractfile(info)
                if content is not None:
                    yield name, info.size, content
        # gzip checks its sum only at its end, which a tar's own end does not reach.
        while stream.read(_CHUNK):
            pass
        if metered.tail.strip(b"\0"):
            message = "it breaks off"
            raise tarfile.ReadError(message)


def _copy(content: IO[bytes], archive: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as stream:
            while chunk := content.read(_CHUNK):
                stream.write(chunk)
    except FileExistsError:
        message = f"{archive}: {_shorten(target.name)} is in it twice"
        raise DatasetLayoutError(message) from None
