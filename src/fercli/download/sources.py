"""The sources that `fer data download` knows, by how they are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from fercli.download.fetch import Downloaded, Progress, fetch
from fercli.download.responses import RemoteFile
from fercli.errors import ConfigError
from fercli.names import hide_secrets

__all__ = ["SOURCES", "check_source_name", "download"]

SOURCES: Final = ("kaggle:OWNER/NAME", "kaggle-challenge", "hf:OWNER/NAME", "https://...")
_KAGGLE: Final = re.compile(r"kaggle:([\w-]+)/([\w-]+)(?:/versions/(\d+))?")
_HUB: Final = re.compile(r"hf:(\w[\w.-]*/\w[\w.-]*)")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_OWN_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def check_source_name(source: str, sha256: str | None) -> None:
    """Tell at once whether a source can be asked for.

    Raises:
        ConfigError: It is none of `SOURCES`, or a URL whose content could be anything.
    """
    problems = []
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        problems.append(f"--sha256 takes 64 hexadecimal digits, not {sha256!r}")
    if _HUB.fullmatch(source) and sha256 is not None:
        problems.append("--sha256 is for a single file, and a dataset of the hub has many")
    if _is_url(source):
        problems += _find_url_problems(source, sha256)
    elif not (source == "kaggle-challenge" or _KAGGLE.fullmatch(source) or _HUB.fullmatch(source)):
        problems.append(f"unknown source {hide_secrets(source)!r}: use {', '.join(SOURCES)}")
    if problems:
        raise ConfigError(*problems)


def download(
    source: str,
    folder: Path,
    *,
    sha256: str | None = None,
    on_progress: Progress = lambda _done, _total: None,
    note: Callable[[str], None] = lambda _text: None,
) -> Downloaded:
    """Download a source, or find that it is there.

    Args:
        source: As `check_source_name` takes them.
        folder: Where to keep it.
        sha256: Of the file.
        on_progress: Told how much is there.
        note: Told why something is tried again.

    Raises:
        ConfigError: As `check_source_name`.
        CredentialsError: An account is needed.
        DependencyMissingError: The hub's library is needed.
        DownloadError: It cannot be had, or is not what it should be.
        SetupError: The disk is too full.
        OutputExistsError: A file of the same name is there that was not downloaded.
    """
    check_source_name(source, sha256)
    hub = _HUB.fullmatch(source)
    if hub:
        from fercli.download.hub import fetch_dataset

        return fetch_dataset(hub[1], folder / hub[1].replace("/", "--"))
    find, name, page = _choose(source)
    return fetch(
        find,
        folder / name,
        origin=hide_secrets(source),
        page=page,
        sha256=sha256,
        on_progress=on_progress,
        note=note,
    )


def _find_url_problems(url: str, sha256: str | None) -> list[str]:
    try:
        parts = urlsplit(url)
    except ValueError as reason:
        return [f"{hide_secrets(url)} is not a URL ({reason})"]
    problems = []
    if parts.scheme != "https" and parts.hostname not in _OWN_HOSTS:
        problems.append(f"{hide_secrets(url)} is not https: anyone could replace the file")
    if sha256 is None:
        problems.append("a URL needs the file's digest to check the download: give --sha256")
    return problems


def _choose(source: str) -> tuple[Callable[[], RemoteFile], str, str]:
    """Return who finds the file, its name here, and the page where people find it."""
    if _is_url(source):
        last = PurePosixPath(unquote(urlsplit(source).path)).name
        name = re.sub(r"[^\w.-]", "_", last).lstrip(".") or "download"
        identity = hide_secrets(source)
        return lambda: RemoteFile(url=source, identity=identity, headers={}), name, identity
    from fercli.download.kaggle import CHALLENGE, find_challenge, find_dataset

    kaggle = _KAGGLE.fullmatch(source)
    if not kaggle:
        return find_challenge, f"{CHALLENGE}.zip", f"https://www.kaggle.com/c/{CHALLENGE}/data"
    owner, name, version = kaggle[1], kaggle[2], kaggle[3]
    number = int(version) if version else None
    suffix = f"--{version}" if version else ""
    page = f"https://www.kaggle.com/datasets/{owner}/{name}"
    return lambda: find_dataset(owner, name, number), f"{owner}--{name}{suffix}.zip", page


def _is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))
