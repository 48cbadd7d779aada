"""One file over HTTP: resumed after a cut, tried again, checked when it is complete.

Bytes go to `NAME.part`, beside it what the server said of the whole; only a file of the right
length and digest takes its name. The digest is taken of the file as it lies on the disk, after
the last byte, so a part that was resumed, or found complete, is checked like any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any, Final

import requests
from filelock import FileLock, Timeout

from fercli.download.responses import (
    TIMEOUTS_S,
    RemoteFile,
    TransientError,
    check_status,
    classify_error,
    find_md5,
    parse_content_range,
)
from fercli.errors import DownloadError, OutputExistsError, SetupError
from fercli.storage import digest_file, write_json

__all__ = ["SPARE_BYTES", "Downloaded", "Progress", "fetch", "invalidate"]

Progress = Callable[[int, int | None], None]
"""Called with bytes that are there, and how many there will be where that is known."""

_TRIES: Final = 5
_LONGEST_WAIT_S: Final = 60.0
_CHUNK: Final = 1 << 16
"""Bytes that a cut can cost: an answer is taken down in pieces of that size."""
_MOST_BYTES: Final = 8 << 30
"""Where a download of unknown length ends."""
SPARE_BYTES: Final = 200 << 20
"""Free space that a download leaves, for the dataset prepared of it."""


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A file that is here."""

    path: Path
    """Where, a file or a folder."""
    n_bytes: int
    """Its size."""
    sha256: str
    """Digest of its bytes; empty for a folder."""
    was_there: bool
    """Whether nothing had to be downloaded."""


def fetch(  # noqa: PLR0913  # by name
    find: Callable[[], RemoteFile],
    target: Path,
    *,
    origin: str,
    page: str = "",
    sha256: str | None = None,
    on_progress: Progress = lambda _done, _total: None,
    note: Callable[[str], None] = lambda _text: None,
) -> Downloaded:
    """Download a file, or find that it is there.

    Processes that want the same file wait for each other; the later ones find it.

    Args:
        find: Says where the file is; asked before every try, since URLs run out.
        target: Its place here.
        origin: What was asked for; a file of another origin is not taken for it.
        page: Where people get it in a browser, for a hint.
        sha256: Of the whole file, hexadecimal, where it is known.
        on_progress: Told how much is there.
        note: Told why something is tried again.

    Raises:
        DownloadError: It is not there, the network fails again and again, or what came is not
            what it should be; in the last case nothing of it is kept.
        CredentialsError: The server wants to know who asks.
        SetupError: There is not enough space on the disk.
        OutputExistsError: A file of that name is there that was not downloaded.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _wait_for_others(target, note):
        there = _find_finished(target, origin, sha256)
        if there is not None:
            return there
        part = _beside(target, "part")
        remote = _fetch_part(find, part, page, on_progress, note)
        digest = _check(part, remote, sha256)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(target)
        n_bytes = target.stat().st_size
        write_json(_card(target), {"origin": origin, "url": remote.identity, "sha256": digest})
        _state(part).unlink(missing_ok=True)
        return Downloaded(path=target, n_bytes=n_bytes, sha256=digest, was_there=False)


def invalidate(target: Path) -> None:
    """Let a download be made anew, since what came was no good; the file stays until then."""
    if _card(target).exists():
        write_json(_card(target), {"sha256": ""})


@contextlib.contextmanager
def _wait_for_others(target: Path, note: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(_beside(target, "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        note(f"another process is downloading {target.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _find_finished(target: Path, origin: str, sha256: str | None) -> Downloaded | None:
    """Return a file that was downloaded before, or put there, and is what is wanted."""
    if not target.exists():
        return None
    card, digest = _read_object(_card(target)), digest_file(target)
    if sha256 and digest == sha256.lower():
        pass
    elif not card:
        message = f"{target} is already there, but was not downloaded by fercli"
        raise OutputExistsError(message, hint="move it away, or name another --output")
    elif sha256 or digest != card.get("sha256") or card.get("origin") != origin:
        return None
    n_bytes = target.stat().st_size
    return Downloaded(path=target, n_bytes=n_bytes, sha256=digest, was_there=True)


def _fetch_part(
    find: Callable[[], RemoteFile],
    part: Path,
    page: str,
    on_progress: Progress,
    note: Callable[[str], None],
) -> RemoteFile:
    """Bring a part to its full length; tries count only as long as they bring nothing."""
    failures, most = 0, _measure(part)
    while True:
        try:
            remote = find()
            _continue(remote, part, on_progress)
        except TransientError as reason:
            # Against the most that there ever was: a part may have been dropped meanwhile.
            failures = 1 if _measure(part) > most else failures + 1
            most = max(most, _measure(part))
            if failures >= _TRIES:
                message = f"the download failed {failures} times: {reason}"
                where = f" from {page}" if page else ""
                hint = (
                    "what came so far is kept: run the same command again to continue; or download "
                    f"the file by hand{where}, then: fer data prepare FILE"
                )
                raise DownloadError(message, hint=hint) from reason
            wait_s = min(2.0 ** (failures - 1) if reason.wait_s is None else reason.wait_s,
                         _LONGEST_WAIT_S)  # fmt: skip
            note(f"{reason}; trying again in {wait_s:.0f} s")
            sleep(wait_s)
        else:
            return remote


def _continue(remote: RemoteFile, part: Path, on_progress: Progress) -> None:
    """Ask for what is missing of a part, and add it."""
    start, etag = _find_start(remote, part)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if start and etag:
        # Of another file the whole comes instead of the rest.
        headers["If-Range"] = etag
    try:
        with requests.get(remote.url, headers=headers, stream=True, timeout=TIMEOUTS_S) as response:
            check_status(response, remote.identity)
            begins, total = parse_content_range(response, start)
            if begins is None:
                part.unlink(missing_ok=True)
                reason = "the file on the server has changed"
                raise TransientError(reason, wait_s=0.0)
            _check_space(part, begins, total)
            state = {"identity": remote.identity, "etag": response.headers.get("ETag")}
            write_json(_state(part), state)
            _write(response, part, begins, total, on_progress)
    except requests.RequestException as reason:
        raise classify_error(reason) from reason


def _find_start(remote: RemoteFile, part: Path) -> tuple[int, str | None]:
    """Return how many bytes are there of this file, and its tag; of another nothing is kept."""
    state = _read_object(_state(part))
    if part.exists() and state.get("identity") == remote.identity:
        return part.stat().st_size, state.get("etag")
    part.unlink(missing_ok=True)
    return 0, None


def _check_space(part: Path, start: int, total: int | None) -> None:
    missing = (total or 0) - start
    free = shutil.disk_usage(part.parent).free
    if missing + SPARE_BYTES > free:
        message = (
            f"{missing / 2**20:,.0f} MiB are still to come and {part.parent} has "
            f"{free / 2**20:,.0f} MiB free"
        )
        raise SetupError(message, hint="free some space, or give --output on another disk")


def _write(
    response: requests.Response, part: Path, start: int, total: int | None, on_progress: Progress
) -> None:
    """Add an answer to a part from a position on."""
    done = start
    with part.open("r+b" if part.exists() else "xb") as stream:
        stream.truncate(start)
        stream.seek(start)
        on_progress(done, total)
        if response.status_code == 416:
            return
        for chunk in response.iter_content(_CHUNK):
            stream.write(chunk)
            done += len(chunk)
            on_progress(done, total)
            if done > (_MOST_BYTES if total is None else total):
                break
    if total is not None and done < total:
        reason = f"the connection ended after {done:,} of {total:,} bytes"
        raise TransientError(reason)
    if done > (_MOST_BYTES if total is None else total):
        part.unlink()
        message = f"the server sent more than the expected {total or _MOST_BYTES:,} bytes"
        raise DownloadError(message, hint="nothing was kept")


def _check(part: Path, remote: RemoteFile, sha256: str | None) -> str:
    """Return the digest of a complete part; remove one that is not what it should be."""
    digest = digest_file(part)
    wrong = []
    if sha256 and digest != sha256.lower():
        wrong.append(f"sha256 {digest} instead of {sha256.lower()}")
    md5 = find_md5(remote.headers)
    if md5 is not None:
        with part.open("rb") as stream:
            found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
        if found.digest() != md5:
            wrong.append(f"md5 {found.hexdigest()} instead of {md5.hex()}")
    if wrong:
        part.unlink()
        _state(part).unlink(missing_ok=True)
        message = f"{remote.identity} came with {' and '.join(wrong)}"
        raise DownloadError(message, hint="nothing was kept; try again, or another source")
    return digest


def _measure(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _read_object(path: Path) -> dict[str, Any]:
    """Return a file's JSON object; an empty one where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _beside(target: Path, what: str) -> Path:
    """Return a file of ours beside a download, out of the way of the user's own."""
    return target.with_name(f".{target.name}.{what}")


def _card(target: Path) -> Path:
    """Return where it stands what a finished download is."""
    return _beside(target, "download.json")


def _state(part: Path) -> Path:
    """Return where it stands what a part is of."""
    return part.with_suffix(".state.json")
