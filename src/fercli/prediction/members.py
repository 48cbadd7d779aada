"""Images within archives, read where they are; nothing is unpacked to the disk.

A zip's members come sorted by name, a tar's in its order, in one pass. Their names, kinds and bytes
are looked at as those of datasets are (`data.archives`). OpenCV opens videos by their paths alone,
so those stay where they are.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from fercli.data.archives import (
    DAMAGE,
    MAX_FILE_BYTES,
    Budget,
    ZipTree,
    is_tar,
    is_wanted,
    read_tar,
)
from fercli.errors import DatasetLayoutError
from fercli.images import HEAD_BYTES, find_kind

__all__ = ["IsDone", "Member", "Others", "has_ending", "is_archive", "open_archives"]

IsDone = Callable[[str, int | None], bool]
"""Tells by its path, and the size that its archive claims for it, whether an input is left out."""

_SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz")
_SHOWN: Final = 100


@dataclass(frozen=True)
class Member:
    """A file of an archive, or the reason why there is none."""

    path: Path
    """`photos.zip!/a/b.jpg`; the archive's own, where the archive cannot be read."""
    content: bytes = b""
    reason: str | None = None
    """Why its content is not there."""
    refused: bool = False
    """Whether that is because it asks for too much, or for what is not done."""

    @property
    def n_bytes(self) -> int:
        """What it takes of memory."""
        return len(self.content)

    def __str__(self) -> str:
        return str(self.path)


@dataclass
class Others:
    """Counts of files that nobody named and that are passed over."""

    n_files: int = 0
    """All of them: neither images nor videos, not of the endings asked for, or packed videos."""
    n_packed_videos: int = 0
    """Videos in archives among them."""

    def add(self, *, packed_video: bool = False) -> None:
        """Count a file."""
        self.n_files += 1
        self.n_packed_videos += packed_video


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive by its name; what is in it, its reading tells."""
    return path.name.lower().endswith(_SUFFIXES) and path.is_file()


def has_ending(name: str, endings: Collection[str]) -> bool:
    """Return whether a name ends as asked for; every name does where nothing was asked for.

    Args:
        name: A file's.
        endings: In small letters, without their dots.
    """
    return not endings or name.lower().endswith(tuple(f".{ending}" for ending in endings))


def open_archives(
    files: Iterable[Path],
    *,
    endings: Collection[str] = (),
    others: Others | None = None,
    is_done: IsDone = lambda _path, _n_bytes: False,
) -> Iterator[Path | Member]:
    """Yield files, and in place of each archive its images.

    Args:
        files: As `find_images` gives them.
        endings: Of the members that are taken; all images where there are none.
        others: Counts members that are passed over.
        is_done: Whether a path is left out, since it has its rows already or is another's. It is
            asked once for every input, in order.
    """
    others = others or Others()
    for path in files:
        if not is_archive(path):
            if not is_done(str(path), None):
                yield path
            continue
        try:
            read = _read_tar if is_tar(path) else _read_zip
            yield from read(path, endings, others, is_done)
        except DatasetLayoutError as reason:
            failed = Member(path, reason=reason.message, refused=True)
        except (*DAMAGE, tarfile.TarError) as reason:
            failed = Member(path, reason=f"not a readable archive ({_describe(reason)})")
        else:
            continue
        if not is_done(str(path), None):
            yield failed


def _read_zip(
    path: Path, endings: Collection[str], others: Others, is_done: IsDone
) -> Iterator[Member]:
    budget = Budget(path.name, path.stat().st_size, is_kept=False)
    with zipfile.ZipFile(path) as archive:
        tree = ZipTree(path.name, archive, budget)
        for name in tree.names:
            place = Path(f"{path}!", name)
            if is_done(str(place), tree.size(name)):
                continue
            try:
                with tree.open(name) as stream:
                    yield from _read(place, tree.size(name), stream, endings, others)
            except DAMAGE as reason:
                yield Member(place, reason=f"it is damaged in its archive ({_describe(reason)})")


def _read_tar(
    path: Path, endings: Collection[str], others: Others, is_done: IsDone
) -> Iterator[Member]:
    budget = Budget(path.name, path.stat().st_size, is_kept=False)
    for name, size, stream in read_tar(path, budget):
        place = Path(f"{path}!", name)
        if _is_hidden(name) or is_done(str(place), size):
            continue
        yield from _read(place, size, stream, endings, others)


def _read(
    place: Path, size: int, stream: IO[bytes], endings: Collection[str], others: Others
) -> Iterator[Member]:
    """Yield a member that may be an image; others are counted."""
    head = stream.read(HEAD_BYTES)
    kind = find_kind(place.name, head)
    if kind != "image" or not has_ending(place.name, endings):
        others.add(packed_video=kind == "video")
    elif size > MAX_FILE_BYTES:
        reason = f"longer than {MAX_FILE_BYTES:,} bytes, in an archive"
        yield Member(place, reason=reason, refused=True)
    else:
        yield Member(place, head + stream.read(MAX_FILE_BYTES))


def _is_hidden(name: PurePosixPath) -> bool:
    return name.parts[0] == "__MACOSX" or not all(map(is_wanted, name.parts))


def _describe(reason: Exception) -> str:
    text = " ".join(str(getattr(reason, "strerror", None) or reason).split())
    return text[:_SHOWN] or type(reason).__name__
