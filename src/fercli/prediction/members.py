"""Images within files, read where they are; nothing is unpacked to the disk.

A zip's members come sorted by name, a tar's in its order, in one pass, a Parquet's by their rows.
Names, kinds and bytes of archives are looked at as those of datasets are (`data.archives`). OpenCV
opens videos by their paths alone, so those stay where they are.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from fercli.data.archives import (
    DAMAGE,
    MAX_FILE_BYTES,
    Budget,
    TarMember,
    ZipTree,
    begins_as_tar,
    is_wanted,
    read_tar,
)
from fercli.errors import DatasetLayoutError
from fercli.images import HEAD_BYTES, find_kind
from fercli.prediction.buckets import ObjectFailedError
from fercli.prediction.columns import ColumnError, read_column
from fercli.prediction.fetch import fetch_objects
from fercli.prediction.sources import Member, Others
from fercli.prediction.stores import StoredObject

__all__ = [
    "IsDone",
    "Member",
    "Others",
    "has_ending",
    "holds_images",
    "is_archive_name",
    "open_archives",
]

IsDone = Callable[[str, int | None], bool]
"""Tells by its path, and the size that is known of it, whether an input is left out."""

_SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz")
_TABLE_SUFFIX: Final = ".parquet"
_REFUSALS: Final = (ObjectFailedError, DatasetLayoutError, ColumnError)
_SHOWN: Final = 100


@dataclass(frozen=True)
class _Reading:
    """A file that holds images, and what of it is wanted."""

    source: Path | StoredObject
    endings: Collection[str]
    others: Others
    is_done: IsDone
    column: str | None

    def title(self, name: str) -> str:
        """Return what rows call a member of it."""
        return f"{self.source}!/{name}"

    def place(self, name: str, reason: str | None = None, *, refused: bool = False) -> Member:
        """Return a member of it without content."""
        title = self.title(name)
        return Member(Path(title), reason=reason, refused=refused, title=title)


def is_archive_name(name: str) -> bool:
    """Return whether a file is an archive by its name; what is in it, its reading tells."""
    return name.lower().endswith(_SUFFIXES)


def holds_images(source: Path | StoredObject) -> bool:
    """Return whether a source, by its name, holds nobody knows how many images."""
    is_table = source.name.lower().endswith(_TABLE_SUFFIX)
    if not (is_table or is_archive_name(source.name)):
        return False
    return isinstance(source, StoredObject) or source.is_file()


def has_ending(name: str, endings: Collection[str]) -> bool:
    """Return whether a name ends as asked for; every name does where nothing was asked for.

    Args:
        name: A file's.
        endings: In small letters, without their dots.
    """
    return not endings or name.lower().endswith(tuple(f".{ending}" for ending in endings))


def open_archives(
    files: Iterable[Path | StoredObject],
    *,
    endings: Collection[str] = (),
    others: Others | None = None,
    is_done: IsDone = lambda _path, _n_bytes: False,
    column: str | None = None,
) -> Iterator[Path | Member]:
    """Yield files, in place of each archive or table its images, and objects of stores as read.

    Args:
        files: As `find_images` gives them.
        endings: Of the members that are taken; all images where there are none.
        others: Counts members that are passed over.
        is_done: Whether a path is left out, since it has its rows already or is another's. It is
            asked once for every input, in order.
        column: Of a table, the one that holds the images; by default the only one that does.

    Raises:
        FercliError: A store does not answer, or does not know who asks.
        DependencyMissingError: A library is missing that reads a table or a store.
    """
    others = others or Others()
    readings = (_Reading(one, endings, others, is_done, column) for one in files)
    opened = (member for reading in readings for member in _open(reading))
    return fetch_objects(opened, others)


def _open(reading: _Reading) -> Iterator[Path | Member | StoredObject]:
    source, title = reading.source, str(reading.source)
    if not holds_images(source):
        n_bytes = source.n_bytes if isinstance(source, StoredObject) else None
        if not reading.is_done(title, n_bytes):
            yield source
        return
    try:
        with source.open() if isinstance(source, StoredObject) else source.open("rb") as stream:
            yield from _read_file(reading, stream)
    except (*DAMAGE, *_REFUSALS, tarfile.TarError) as reason:
        if not reading.is_done(title, None if isinstance(source, Path) else source.n_bytes):
            yield _explain(title, reason)


def _explain(title: str, reason: Exception) -> Member:
    """Return what is said of a file that cannot be read, or not to its end."""
    if isinstance(reason, ObjectFailedError):
        said, refused = reason.reason, reason.refused
    elif isinstance(reason, (DatasetLayoutError, ColumnError)):
        said, refused = str(reason), True
    else:
        kind = "Parquet" if title.lower().endswith(_TABLE_SUFFIX) else "archive"
        # The same whatever was read before, which differs among shards.
        said, refused = f"not a readable {kind}, or readable in part ({_describe(reason)})", False
    return Member(Path(title), reason=said, refused=refused, title=title)


def _read_file(reading: _Reading, stream: IO[bytes]) -> Iterator[Member]:
    if reading.source.name.lower().endswith(_TABLE_SUFFIX):
        yield from _read_table(reading, stream)
    elif begins_as_tar(stream):
        yield from _read_tar(reading, stream)
    else:
        yield from _read_zip(reading, stream)


def _open_budget(reading: _Reading, stream: IO[bytes]) -> Budget:
    n_bytes = stream.seek(0, 2)
    stream.seek(0)
    return Budget(reading.source.name, n_bytes, is_kept=False)


def _read_zip(reading: _Reading, stream: IO[bytes]) -> Iterator[Member]:
    budget = _open_budget(reading, stream)
    with zipfile.ZipFile(stream) as archive:
        tree = ZipTree(reading.source.name, archive, budget)
        for name in tree.names:
            if reading.is_done(reading.title(str(name)), tree.size(name)):
                continue
            try:
                with tree.open(name) as content:
                    yield from _read(reading, str(name), tree.size(name), content)
            except DAMAGE as reason:
                said = f"it is damaged in its archive ({_describe(reason)})"
                yield reading.place(str(name), said)


def _read_tar(reading: _Reading, stream: IO[bytes]) -> Iterator[Member]:
    for member in read_tar(stream, _open_budget(reading, stream)):
        # Not by pathlib, which takes as long as reading a small member does.
        parts = [part for part in member.name.split("/") if part not in {"", "."}]
        name = "/".join(["", *parts] if member.name.startswith("/") else parts)
        if _is_hidden(parts) or reading.is_done(reading.title(name), member.n_bytes):
            continue
        if not member.refusal:
            yield from _read(reading, name, member.n_bytes, member.stream)
        elif _is_image_name(reading, member):
            yield reading.place(name, f"it {member.refusal}", refused=True)
        else:
            reading.others.add()


def _read_table(reading: _Reading, stream: IO[bytes]) -> Iterator[Member]:
    for image in read_column(stream, reading.column):
        name, content = str(image.number), image.content or b""
        if reading.is_done(reading.title(name), len(content)):
            continue
        if len(content) > MAX_FILE_BYTES:
            yield _refuse_long(reading, name)
        else:
            yield replace(reading.place(name, image.reason or None), content=content)


def _read(reading: _Reading, name: str, size: int, stream: IO[bytes]) -> Iterator[Member]:
    """Yield a member that may be an image; others are counted."""
    head = stream.read(HEAD_BYTES)
    kind = find_kind(name, head)
    if kind != "image" or not has_ending(name, reading.endings):
        reading.others.add(packed_video=kind == "video")
    elif size > MAX_FILE_BYTES:
        yield _refuse_long(reading, name)
    else:
        place = reading.place(name)
        yield replace(place, content=head + stream.read(MAX_FILE_BYTES))


def _refuse_long(reading: _Reading, name: str) -> Member:
    reason = f"longer than {MAX_FILE_BYTES:,} bytes, in an archive"
    return reading.place(name, reason, refused=True)


def _is_image_name(reading: _Reading, member: TarMember) -> bool:
    return find_kind(member.name) == "image" and has_ending(member.name, reading.endings)


def _is_hidden(parts: list[str]) -> bool:
    return parts[:1] == ["__MACOSX"] or not all(is_wanted(part) or part == ".." for part in parts)


def _describe(reason: Exception) -> str:
    text = " ".join(str(getattr(reason, "strerror", None) or reason).split())
    return text[:_SHOWN] or type(reason).__name__
