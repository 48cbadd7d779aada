"""What is read of files that hold many images, and what is passed over there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Never, TypeVar

from fercli.errors import ConfigError, FercliError

__all__ = ["Member", "Others", "hold_error", "raise_held"]

T = TypeVar("T")


@dataclass(frozen=True)
class Member:
    """An image of an archive, a table or a store, or the reason why there is none."""

    path: Path
    """`photos.zip!/a/b.jpg`; the archive's own, where the archive cannot be read."""
    content: bytes = b""
    reason: str | None = None
    """Why its content is not there."""
    refused: bool = False
    """Whether that is because it asks for too much, or for what is not done."""
    title: str = ""
    """What its row calls it, where `path` cannot hold that: an address of a store, for instance."""

    @property
    def n_bytes(self) -> int:
        """What it takes of memory."""
        return len(self.content)

    def __str__(self) -> str:
        return self.title or str(self.path)


@dataclass
class Others:
    """Counts of files that nobody named and that are passed over."""

    n_files: int = 0
    """All of them: neither images nor videos, not of the endings asked for, or packed videos."""
    n_packed_videos: int = 0
    """Videos in archives and stores among them."""

    def add(self, *, packed_video: bool = False) -> None:
        """Count a file."""
        self.n_files += 1
        self.n_packed_videos += packed_video


def hold_error(items: Iterable[T], held: list[FercliError]) -> Iterator[T]:
    """Yield items, and end where they end in an error, which is kept.

    So whoever is ahead of what was handed on can finish that first, and raise then: no row is lost
    that could have been written. What cannot be run at all is raised at once, before more is done.
    """
    try:
        yield from items
    except ConfigError:
        raise
    except FercliError as reason:
        held.append(reason)


def raise_held(held: list[FercliError]) -> Iterator[Never]:
    """Yield nothing, and raise the error that was kept, if one was."""
    if held:
        raise held[0]
    yield from ()
