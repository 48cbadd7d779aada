"""Which inputs are a shard's: by a hash of each path, so that no shard needs to know of another.

An input belongs to shard K of N where the first eight bytes of the SHA-256 of its path, as the row
has it, are K modulo N as a big-endian number. The path is as it was typed, so nothing depends on
the machine, its locale or where a folder is mounted, and a list that grows leaves every input where
it is. Ranges of positions, the alternative, would move all inputs behind a new one.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.errors import ConfigError
from fercli.prediction.members import open_archives
from fercli.prediction.stores import StoredObject, is_stored
from fercli.prediction.writers import key_path

if TYPE_CHECKING:
    from fercli.prediction.answers import FilePrediction
    from fercli.prediction.sources import Member, Others

__all__ = ["MOST_SHARDS", "Shard", "ShardInputs", "parse_shard"]

MOST_SHARDS: Final = 99_999
"""As many as the five digits in the name of a part can count."""


@dataclass(frozen=True)
class Shard:
    """One of the shards of a list of inputs.

    Raises:
        ConfigError: There is no such shard.
    """

    index: int
    """From 0 to `count` - 1."""
    count: int
    """Shards in all."""

    def __post_init__(self) -> None:
        """Check both numbers."""
        problems = []
        if not 1 <= self.count <= MOST_SHARDS:
            problems.append(f"there are from 1 to {MOST_SHARDS:,} shards, not {self.count}")
        elif not 0 <= self.index < self.count:
            problems.append(
                f"shards are counted from 0: of {self.count} there are 0/{self.count} to "
                f"{self.count - 1}/{self.count}, and no {self.index}/{self.count}"
            )
        if problems:
            raise ConfigError(*problems)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, path: str) -> bool:
        """Return whether an input is of this shard.

        Args:
            path: As its row has it.
        """
        return self.holds_digest(_digest(path))

    def holds_digest(self, digest: bytes) -> bool:
        """Return the same for the SHA-256 of a path."""
        return int.from_bytes(digest[:8], "big") % self.count == self.index


def parse_shard(text: str) -> Shard:
    """Return the shard that `K/N` means.

    Raises:
        ConfigError: It means none.
    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text, re.ASCII)
    if found is None:
        message = f"--shard is K/N with K from 0 to N - 1, such as 0/8 or 7/8, not {text!r}"
        raise ConfigError(message)
    return Shard(int(found[1]), int(found[2]))


class ShardInputs:
    """The inputs of a shard, and what is known of the whole list once all of it was seen.

    Args:
        shard: Whose they are.
    """

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.n_listed = 0
        """Inputs of all shards so far."""
        self.positions = array("Q")
        """Where in the list each input of this shard stands, from 0."""
        self.n_rows = array("L")
        """How many rows each of them has."""
        self._listed = hashlib.sha256()
        self._own = hashlib.sha256()
        self._waiting: deque[str] = deque()

    @property
    def list_sha256(self) -> str:
        """Of the paths of all shards, in order."""
        return self._listed.hexdigest()

    @property
    def own_sha256(self) -> str:
        """Of this shard's paths and sizes, in order."""
        return self._own.hexdigest()

    def select(
        self,
        files: Iterable[Path | StoredObject],
        endings: Collection[str] = (),
        others: Others | None = None,
        column: str | None = None,
    ) -> Iterator[Path | Member]:
        """Yield the inputs of this shard, those within archives among them.

        Args:
            files: All files, as `find_images` gives them.
            endings: Of the files that are taken from archives; all images where there are none.
            others: Counts what is passed over there.
            column: Of tables, the one that holds images; see `open_archives`.
        """

        def pass_over(path: str, n_bytes: int | None) -> bool:
            is_own = self._see(path, n_bytes)
            if is_own:
                self._waiting.append(path)
            return not is_own

        return open_archives(
            files, endings=endings, others=others, is_done=pass_over, column=column
        )

    def list_only(self, files: Iterable[Path | StoredObject], column: str | None = None) -> None:
        """See the whole list, and read no image."""

        def pass_over(path: str, n_bytes: int | None) -> bool:
            self._see(path, n_bytes)
            return True

        for _ in open_archives(files, is_done=pass_over, column=column):
            pass

    def add(self, prediction: FilePrediction) -> None:
        """Count the rows of an image or a frame of what `select` yielded, in its order."""
        if prediction.is_first:
            path = prediction.rows[0].path
            # What turned out to be no image, a text in an archive, has no row.
            while self._waiting and self._waiting.popleft() != path:
                self.n_rows.append(0)
            self.n_rows.append(0)
        self.n_rows[-1] += len(prediction.rows)

    def finish(self) -> None:
        """Say that the list is at its end: what still waits has no row."""
        self.n_rows.extend([0] * len(self._waiting))
        self._waiting.clear()

    def _see(self, path: str, n_bytes: int | None) -> bool:
        """Count an input, and return whether it is this shard's."""
        digest = _digest(path)
        self._listed.update(digest)
        position, self.n_listed = self.n_listed, self.n_listed + 1
        if not self.shard.holds_digest(digest):
            return False
        self.positions.append(position)
        size = _measure(path) if n_bytes is None else n_bytes
        self._own.update(digest + size.to_bytes(8, "big", signed=True))
        return True


def _digest(path: str) -> bytes:
    return hashlib.sha256(key_path(path).encode()).digest()


def _measure(path: str) -> int:
    """Return a file's size, -1 where there is no file, or an object whose size was not listed."""
    if is_stored(path):
        return -1
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return -1
