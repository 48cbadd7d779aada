"""Addresses of objects in stores: Amazon's S3 and whatever speaks as it does, Google's, Azure's.

An object is listed with its size and read later, with many others at once (`prediction.fetch`).
Patterns are matched here, over what a store lists of the folder before the first `*`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import IO, Final, cast

from fercli.errors import ConfigError, DownloadError, InputNotFoundError, RunFailedError
from fercli.prediction.buckets import SCHEMES, Bucket, ObjectFailedError, Ranges

__all__ = ["StoredObject", "Stores", "is_hidden", "is_stored", "match_key"]

_STORED: Final = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"([A-Za-z0-9]+)://([A-Za-z0-9][A-Za-z0-9._-]*)(?:/(.*))?", re.DOTALL)
_MAGIC: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class StoredObject:
    """An object of a store; it is read when its turn comes."""

    bucket: Bucket
    """Where it is."""
    key: str
    """Its name there."""
    n_bytes: int | None = None
    """Its size as listed; None where it was not."""
    is_named: bool = True
    """Whether somebody named it; else it was found, and may be no image."""

    def __str__(self) -> str:
        return f"{self.bucket.address}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.key.rpartition("/")[2]

    def read(self) -> bytes:
        """Return its content; for any thread.

        Raises:
            ObjectFailedError: It is not there, too long, or not what was listed.
            FercliError: The store does not answer, or does not know who asks.
        """
        return self.bucket.read(self.key, self.n_bytes)

    def open(self) -> IO[bytes]:
        """Open it for reading at any place, a few mebibytes being asked for at a time.

        Raises:
            ObjectFailedError: It is not there, or not what was listed.
            FercliError: As `read`.
        """
        n_bytes, version = self.bucket.look_up(self.key)
        self.bucket.check_size(n_bytes, self.n_bytes)
        raw = Ranges(self.bucket, self.key, n_bytes, version)
        return cast("IO[bytes]", io.BufferedReader(raw))


def is_stored(text: str) -> bool:
    """Return whether a word is the address of a store."""
    return _STORED.match(text) is not None


@dataclass
class Stores:
    """The buckets that one command reads."""

    _buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)

    def check(self, text: str) -> None:
        """Look whether there is anything at an address.

        Raises:
            InputNotFoundError: There is nothing, or no such bucket.
            ConfigError: It is no address.
            CredentialsError: The store does not know who asks, or does not let them.
            DependencyMissingError: There is no obstore.
            DownloadError: The store does not answer.
        """
        try:
            first = next(self.find(text), None)
        except ObjectFailedError as reason:
            message = f"{text} cannot be read: {reason.reason}"
            raise InputNotFoundError(message) from None
        except RunFailedError as reason:
            # Nothing has begun.
            raise DownloadError(reason.message, hint="is its address right?") from None
        if first is None:
            what = "nothing matches" if _MAGIC.search(text) else "there is no object or folder"
            message = f"{what} {text!r}"
            raise InputNotFoundError(message)

    def find(self, text: str) -> Iterator[StoredObject]:
        """Yield the objects at an address, in the order in which their store lists them.

        Args:
            text: Of an object, of a folder of them (surely so with a `/` at its end), or with `*`,
                `?`, `[` or `**`, which match parts of keys as they match those of paths.

        Raises:
            ConfigError: It is no address.
            ObjectFailedError: It is one of an object that cannot be read.
            FercliError: As `check`; a store that does not answer is a RunFailedError.
        """
        bucket, key = self._parse(text)
        if _MAGIC.search(key):
            yield from _find_matches(bucket, key)
            return
        if key and not key.endswith("/"):
            try:
                n_bytes, _ = bucket.look_up(key)
            except ObjectFailedError as reason:
                if reason.meaning is not None:
                    raise reason.meaning from None
            else:
                yield StoredObject(bucket, key, n_bytes)
                return
        at = len(key.rstrip("/")) + 1 if key else 0
        for name, n_bytes in bucket.list_keys(key):
            if not is_hidden(name[at:]):
                yield StoredObject(bucket, name, n_bytes, is_named=False)

    def name(self, text: str) -> Iterator[StoredObject]:
        """Yield what a line of a list names: an object that need not be there, or a folder's.

        Raises:
            FercliError: As `find`.
        """
        bucket, key = self._parse(text)
        if key and not key.endswith("/"):
            yield StoredObject(bucket, key)
        else:
            yield from self.find(text)

    def _parse(self, text: str) -> tuple[Bucket, str]:
        found = _ADDRESS.fullmatch(text)
        if found is None:
            # Not repeated: somebody may have put a password into it.
            message = "the address of an object is SCHEME://BUCKET/KEY, without a name or password"
            raise ConfigError(message)
        scheme, bucket, key = found[1].lower(), found[2], found[3] or ""
        known = self._buckets.setdefault((scheme, bucket), Bucket(scheme, bucket))
        return known, key


def match_key(key: str, pattern: str) -> int | None:
    """Return how many parts of a key lie below what a pattern names, None where none matches.

    Args:
        key: Parts that begin with a dot are matched by such a pattern alone.
        pattern: As `glob` takes it, `**` among it.
    """
    return _match_parts(key.split("/"), pattern.rstrip("/").split("/"))


def is_hidden(key: str) -> bool:
    """Return whether a part of a key begins with a dot."""
    return any(part.startswith(".") for part in key.split("/"))


def _match_parts(parts: list[str], wanted: list[str]) -> int | None:
    if not wanted:
        return len(parts)
    if wanted[0] == "**":
        ways = (
            _match_parts(parts[at:], wanted[1:])
            for at in range(len(parts))
            if not any(part.startswith(".") for part in parts[:at])
        )
        return next((way for way in ways if way is not None), None)
    if not parts or not fnmatchcase(parts[0], wanted[0]):
        return None
    if parts[0].startswith(".") and not wanted[0].startswith("."):
        return None
    return _match_parts(parts[1:], wanted[1:])


def _find_matches(bucket: Bucket, pattern: str) -> Iterator[StoredObject]:
    magic = _MAGIC.search(pattern)
    folder = pattern[: magic.start() if magic else 0].rpartition("/")[0]
    for key, n_bytes in bucket.list_keys(folder):
        below = match_key(key, pattern)
        if below == 0:
            yield StoredObject(bucket, key, n_bytes)
        elif below is not None and not is_hidden("/".join(key.split("/")[-below:])):
            yield StoredObject(bucket, key, n_bytes, is_named=False)
