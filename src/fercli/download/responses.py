"""What servers answer, and what it means for a download."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import requests

from fercli.errors import CredentialsError, DownloadError
from fercli.names import hide_secrets

__all__ = [
    "TIMEOUTS_S",
    "RemoteFile",
    "TransientError",
    "check_status",
    "classify_error",
    "find_md5",
    "parse_content_range",
]

TIMEOUTS_S: Final = (10.0, 30.0)
"""To connect, and between two bytes."""
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which it is worth asking again."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to be had."""

    url: str
    """Where it is now; it may have been signed for a while only."""
    identity: str
    """What stays the same when the URL is signed again."""
    headers: Mapping[str, str]
    """What the server said of it."""


class TransientError(Exception):
    """Something that may go better the next time.

    Args:
        reason: What it was.
        wait_s: How long the server wants to be left alone, if it says so.
    """

    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def check_status(response: requests.Response, what: str) -> None:
    """Turn a status into our errors; 416 is left to who asked for a range.

    Raises:
        CredentialsError: 401 or 403.
        DownloadError: Any other that will not change.
    """
    status = response.status_code
    if status < 400 or status == 416:
        return
    if status in _PASSING:
        wait = response.headers.get("Retry-After", "")
        reason = f"{what} answers HTTP {status}"
        raise TransientError(reason, wait_s=float(wait) if wait.isdecimal() else None)
    if status in {401, 403}:
        message = f"{what} refuses access: HTTP {status}"
        hint = "download it in a browser where you are signed in, then: fer data prepare FILE"
        raise CredentialsError(message, hint=hint)
    message = f"{what} is not there" if status in {404, 410} else f"{what} answers HTTP {status}"
    hint = "check the name, or download the data by hand, then: fer data prepare FILE"
    raise DownloadError(message, hint=hint)


def parse_content_range(response: requests.Response, start: int) -> tuple[int | None, int | None]:
    """Return where the answer begins and how long the whole is; None where it does not fit."""
    if response.status_code == 206:
        unit, _, extent = response.headers.get("Content-Range", "").partition(" ")
        span, _, whole = extent.partition("/")
        begins = span.partition("-")[0]
        fits = unit == "bytes" and begins.isdecimal() and int(begins) == start
        return (start, int(whole) if whole.isdecimal() else None) if fits else (None, None)
    if response.status_code == 416:
        whole = response.headers.get("Content-Range", "").rpartition("/")[2]
        return (start, start) if whole.isdecimal() and int(whole) == start else (None, None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def find_md5(headers: Mapping[str, str]) -> bytes | None:
    """Return the digest that Google's storage, where Kaggle keeps its files, tells of a file."""
    for item in headers.get("x-goog-hash", "").split(","):
        name, _, value = item.strip().partition("=")
        if name == "md5":
            with contextlib.suppress(ValueError):
                return base64.b64decode(value, validate=True)
    return None


def classify_error(reason: requests.RequestException) -> TransientError | DownloadError:
    """Return what a failure of requests means: worth another try, or not."""
    host = _find_host(reason)
    lasting = {
        requests.exceptions.SSLError: f"{host} shows a certificate that is not trusted",
        requests.exceptions.ProxyError: "the proxy of this network does not let it through",
        requests.exceptions.InvalidURL: "the URL is not valid",
        requests.exceptions.TooManyRedirects: f"{host} redirects in a loop",
    }
    for kind, message in lasting.items():
        if isinstance(reason, kind):
            hint = "download the file by hand, then: fer data prepare FILE"
            return DownloadError(f"{message} ({_shorten(reason)})", hint=hint)
    if isinstance(reason, requests.Timeout):
        return TransientError("no answer came in time")
    if isinstance(reason, requests.exceptions.ChunkedEncodingError):
        return TransientError("the connection was cut")
    if isinstance(reason, requests.ConnectionError):
        return TransientError(f"{host} cannot be reached")
    return TransientError(_shorten(reason))


def _find_host(reason: requests.RequestException) -> str:
    url = reason.request.url if reason.request is not None else None
    return (urlsplit(str(url)).hostname if url else None) or "the server"


def _shorten(reason: Exception) -> str:
    return hide_secrets(" ".join(str(reason).split()))[:200]
