"""Archives from strangers: every name, kind and byte of theirs is looked at.

Zip members are read in place, never unpacked. A tar has no index, so its regular files are read as
they come, or copied into a folder of ours; nothing is left to `extractall`. Sizes in an archive are
claims, so the budget counts what really comes out.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from fercli.errors import DatasetLayoutError

__all__ = [
    "DAMAGE",
    "MAX_FILE_BYTES",
    "Budget",
    "Metered",
    "TarMember",
    "ZipTree",
    "begins_as_tar",
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
_MOST_HEADER_BYTES: Final = 1 << 20
"""Of what a tar says of one member, its name and attributes, which is held whole."""
_SHOWN: Final = 200


@dataclass(frozen=True)
class TarMember:
    """A member of a tar that is no folder."""

    name: str
    """As the tar has it."""
    n_bytes: int
    """Its size, as the tar claims it."""
    stream: IO[bytes]
    """Its content; what is not read before the next member comes is passed over."""
    refusal: str = ""
    """Why it is not to be read, as the end of a sentence that begins with its name."""


def is_tar(path: Path) -> bool:
    """Return whether a file begins as a tar does, plain or within gzip."""
    try:
        with path.open("rb") as stream:
            return begins_as_tar(stream)
    except DAMAGE:
        return False


def begins_as_tar(stream: IO[bytes]) -> bool:
    """Return whether a file that is open at its beginning begins as a tar does; so it is again."""
    try:
        return _open_plain(stream).read(tarfile.BLOCKSIZE)[257:262] == b"ustar"
    except DAMAGE:
        return False
    finally:
        stream.seek(0)


class Budget:
    """What may come out of an archive: so many members, so many bytes, so many for each byte.

    Args:
        name: The archive's, for messages.
        n_bytes: Its size.
        is_kept: Whether what comes out is kept; then all of it together has a bound, too.
    """

    def __init__(self, name: str, n_bytes: int, *, is_kept: bool = True) -> None:
        self.is_kept = is_kept
        """As above."""
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
        self._left: int | None = None
        self.tail = b""

    def limit(self, n_bytes: int) -> None:
        """Let so many bytes be read from here on, and no more until the next call.

        What is read ahead counts.
        """
        self._left = n_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the stream within is."""
        return self._stream.tell()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer
        """Read into a buffer and return how many bytes.

        Raises:
            DatasetLayoutError: They are more than the budget has, or than `limit` allows.
        """
        content = self._stream.read(len(buffer))
        if self._left is not None:
            self._left -= len(content)
            if self._left < 0:
                message = "it has a header of more than a mebibyte"
                raise DatasetLayoutError(message)
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
    if _leads_elsewhere(raw) or ":" in raw:
        message = f"{archive}: the member name {_shorten(raw)} is refused"
        raise DatasetLayoutError(message)
    return PurePosixPath(raw)


def _leads_elsewhere(raw: str) -> bool:
    """Return whether a member's name is none of a file below a folder of this system."""
    parts = raw.split("/")
    escapes = raw.startswith("/") or ".." in parts or "\\" in raw or "\0" in raw
    is_nothing = all(part in {"", "."} for part in parts)
    return escapes or is_nothing or (":" in raw and os.name == "nt")


def _check_kind(archive: str, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        what = "a link" if kind == stat.S_IFLNK else "not a regular file"
        message = f"{archive}: {_shorten(info.orig_filename)} is {what}, which is refused"
        raise DatasetLayoutError(message)
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        # Others Python unpacks without a bound: a kilobyte of bzip2 may be a gigabyte.
        message = f"{archive}: {_shorten(info.orig_filename)} is compressed, but not with deflate"
        raise DatasetLayoutError(message, hint="compress it again with zip's default, deflate")
    if info.flag_bits & 1:
        message = f"{archive}: {_shorten(info.orig_filename)} is encrypted"
        raise DatasetLayoutError(message, hint="unpack it with its password first")


def _open_plain(raw: IO[bytes]) -> IO[bytes]:
    """Return what a file holds that is open at its beginning: its bytes, or what gzip packed."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw


def unpack_tar(path: Path, folder: Path, budget: Budget) -> None:
    """Copy the regular files of a tar into an empty folder; anything else is refused.

    Raises:
        DatasetLayoutError: A member leaves the archive or is anything but a file or folder, or
            more comes out than may.
        OSError: As the others of `DAMAGE` and `tarfile.TarError`: it is damaged.
    """
    with path.open("rb") as raw:
        for member in read_tar(raw, budget):
            name = _check_name(path.name, member.name)
            if member.refusal:
                message = f"{path.name}: {_shorten(member.name)} {member.refusal}"
                raise DatasetLayoutError(message)
            _copy(member.stream, path.name, folder / name)


def read_tar(raw: IO[bytes], budget: Budget) -> Iterator[TarMember]:
    """Yield the members of a tar but for its folders, in its order, in one pass.

    Memory does not grow with their number, nor with what the tar says of one of them.

    Args:
        raw: The file, open at its beginning.
        budget: What may come out of it; where nothing is kept, members are not counted.

    Raises:
        DatasetLayoutError: More comes out than may.
        OSError: As the others of `DAMAGE` and `tarfile.TarError`: it is damaged, or breaks off.
    """
    plain = _Readable(_open_plain(raw))
    # All bytes count, those of headers too, which can be as long as they like.
    metered = Metered(cast("IO[bytes]", plain), budget)
    stream = io.BufferedReader(metered, _CHUNK)
    metered.limit(_CHUNK + _MOST_HEADER_BYTES)
    try:
        # As a stream: a member is read where it comes, and never sought for.
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            while (info := archive.next()) is not None:
                # It remembers each one otherwise.
                archive.members.clear()  # type: ignore[attr-defined]  # of no stub
                if budget.is_kept:
                    budget.take_member()
                metered.limit(info.size + _CHUNK)
                if not info.isdir():
                    yield _describe_member(archive, info)
                # What is left of it, what is read ahead, and what is said of the next one.
                metered.limit(info.size + _CHUNK + _MOST_HEADER_BYTES)
            metered.limit(sys.maxsize)
            _check_end(cast("IO[bytes]", archive.fileobj), metered)
    except tarfile.TarError as reason:
        # What the damage led to says less.
        raise plain.damage or reason from None
    if plain.damage is not None:
        raise plain.damage


class _Readable(io.RawIOBase):
    """What can be read of a stream that may be damaged: it ends where it cannot be read.

    A gzip that was cut off raises instead of giving what came before, which may be whole members.

    Args:
        stream: Stays open.

    Attributes:
        damage: Why it ended, where it did so early.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._read = getattr(stream, "read1", stream.read)
        self.damage: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer
        try:
            content = self._read(len(buffer)) if self.damage is None else b""
        except DAMAGE as reason:
            self.damage, content = reason, b""
        buffer[: len(content)] = content
        return len(content)


def _check_end(rest: IO[bytes], metered: Metered) -> None:
    """Refuse a tar whose end is none: Python takes a damaged header for one.

    gzip checks its sum only at its end, too, which a tar's own end does not reach.
    """
    is_damaged = False
    while chunk := rest.read(_CHUNK):
        is_damaged |= bool(chunk.strip(b"\0"))
    if is_damaged:
        message = "a header in it is damaged, or something follows its end"
        raise tarfile.ReadError(message)
    if metered.tail.strip(b"\0"):
        message = "it breaks off"
        raise tarfile.ReadError(message)


def _describe_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> TarMember:
    nothing = io.BytesIO()
    if _leads_elsewhere(info.name):
        return TarMember(info.name, info.size, nothing, "has a name that is refused")
    if info.issparse():
        # Holes take no bytes of the archive, and all of the folder's or of the memory.
        refusal = "is a sparse file, which is refused; pack it again without --sparse"
        return TarMember(info.name, info.size, nothing, refusal)
    if info.islnk() or info.issym():
        kind = "a hard link" if info.islnk() else "a link"
        refusal = f"is {kind} to {_shorten(info.linkname)}, which is refused"
        return TarMember(info.name, info.size, nothing, refusal)
    content = archive.extractfile(info) if info.isreg() else None
    if content is None:
        refusal = "is not a regular file, which is refused"
        return TarMember(info.name, info.size, nothing, refusal)
    return TarMember(info.name, info.size, content)


def _copy(content: IO[bytes], archive: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as stream:
            while chunk := content.read(_CHUNK):
                stream.write(chunk)
    except FileExistsError:
        message = f"{archive}: {_shorten(target.name)} is in it twice"
        raise DatasetLayoutError(message) from None
