"""One bucket of a store, by obstore, which is imported when an address of one was given.

Who asks is found where each cloud's own tools look: in the environment, in a profile
(`prediction.profiles`), from the machine. There is no option for it, and no message repeats what a
library said of a request, since that may hold parts of it.

What is wrong with one object is its row; what is wrong with the store, or with who asks, ends the
command, so that rows which say "cannot be read" are never left of images that can.
"""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from fercli.dependencies import explain_missing
from fercli.errors import (
    ConfigError,
    CredentialsError,
    DownloadError,
    FercliError,
    InputNotFoundError,
    RunFailedError,
)
from fercli.prediction.profiles import WAYS, find_profile

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["MAX_OBJECT_BYTES", "SCHEMES", "Bucket", "ObjectFailedError", "Ranges"]

MAX_OBJECT_BYTES: Final = 64 << 20
"""Of an object that is held whole, as of an image in an archive."""
MOST_RETRIES: Final = 10
"""Of a request that a store could not answer: it was throttled, broke off, timed out."""
RETRY_LIMIT_S: Final = 120.0
"""All retries of a request together."""
_BACKOFF_S: Final = (0.1, 10.0)
"""The first pause before a retry, and the longest."""
_REQUEST_LIMIT: Final = "60s"
BLOCK_BYTES: Final = 4 << 20
"""Of an archive or a table in a store that are asked for at a time."""
_PAGE: Final = 1000
"""Objects in an answer of a store that lists."""
SCHEMES: Final = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}
"""Obstore's classes by the schemes of addresses."""
_ENDPOINTS: Final = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
)  # fmt: skip
"""Where the address of a server is said that is none of the clouds' own."""
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_ANSWERED: Final = "Server returned non-2xx status code: "
"""In what obstore says: the number and the content of an answer follow."""
_ASKED_MACHINE: Final = re.compile(r"http://(?:169\.254\.|metadata\.google)|token request")
"""In what obstore says: it found no keys, and asked the machine for some, in vain."""
_LOST: Final = re.compile(r"error sending request|builder error|timed out")
"""In what obstore says: there was no answer."""
_LATER: Final = frozenset({408, 425, 429})
"""Statuses that ask to come again, beside those from 500 on."""
_WHO: Final = frozenset({
    "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId",
    "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AuthFailure", "InvalidSecurity",
    "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
    "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation",
})  # fmt: skip
"""Codes of answers that say that a store does not know who asks.

Source: "Error responses", Amazon S3 API Reference; "Common REST API error codes", Azure Storage.
"""
_BROKEN: Final = "its store ended the transfer early, or sent other data than announced"
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound"})


class ObjectFailedError(Exception):
    """One object cannot be read; others can.

    Args:
        reason: Why, as its row says.
        refused: Whether it asks for too much.
        meaning: What it means where nobody has read any object of the bucket.
    """

    def __init__(
        self, reason: str, *, refused: bool = False, meaning: FercliError | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        self.meaning = meaning


class Bucket:
    """A bucket of a store, or a container.

    Args:
        scheme: `s3`, `gs` or `az`.
        name: Its name.
    """

    def __init__(self, scheme: str, name: str) -> None:
        self.scheme = scheme
        self.address = f"{scheme}://{name}"
        self.was_read = False
        """Whether an object was read: who asks may read some."""
        self._name = name
        self._client: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what another process makes it of, which asks with what it has itself."""
        return _find_bucket, (self.scheme, self._name)

    def list_keys(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield keys and sizes of all objects of a folder and below.

        Raises:
            FercliError: There is no such bucket, it does not answer, or not to who asks.
        """
        with_errors = self._import()
        try:
            for page in self._open().list(folder.rstrip("/") or None, chunk_size=_PAGE):
                for one in page:
                    yield one["path"], one["size"]
        except with_errors as reason:
            raise self._end_listing(reason) from None

    def look_up(self, key: str) -> tuple[int, str | None]:
        """Return the size of an object, and a mark that changes with its content.

        Raises:
            ObjectFailedError: It is not there, or may not be read.
            FercliError: As `list_keys`.
        """
        with_errors = self._import()
        try:
            # Not asked for by HEAD, whose failures say no reason.
            found = self._open().get(key).meta
        except with_errors as reason:
            raise self._explain(reason) from None
        return found["size"], found["e_tag"]

    def read(self, key: str, n_bytes: int | None) -> bytes:
        """Return the content of an object; see `StoredObject.read`."""
        with_errors = self._import()
        try:
            answer = self._open().get(key)
            size = answer.meta["size"]
            self.check_size(size, n_bytes)
            if size > MAX_OBJECT_BYTES:
                reason = f"longer than {MAX_OBJECT_BYTES:,} bytes, in a store"
                raise ObjectFailedError(reason, refused=True)
        except with_errors as reason:
            raise self._explain(reason) from None
        return self._receive(answer, size)

    def read_range(self, key: str, start: int, end: int, version: str | None) -> bytes:
        """Return bytes of an object, from one position to another.

        Raises:
            ObjectFailedError: It has become another since, or is gone.
            FercliError: As `list_keys`.
        """
        with_errors = self._import()
        options: dict[str, Any] = {"range": (start, end)}
        if version:
            options["if_match"] = version
        try:
            answer = self._open().get(key, options=options)
        except with_errors as reason:
            raise self._explain(reason) from None
        return self._receive(answer, end - start)

    def _receive(self, answer: Any, n_bytes: int) -> bytes:  # noqa: ANN401  # untyped library
        """Return what follows an answer that is one of a store of objects."""
        try:
            content = answer.bytes().to_bytes()
        except self._import() as reason:
            error = self._explain(reason)
            # Of the others nothing is said: this one's size may be a lie.
            error = ObjectFailedError(_BROKEN) if isinstance(error, ObjectFailedError) else error
            raise error from None
        if len(content) != n_bytes:
            said = f"its store announced {n_bytes:,} bytes, but sent {len(content):,}"
            raise ObjectFailedError(said)
        return cast("bytes", content)

    def check_size(self, n_bytes: int, listed: int | None) -> None:
        """Refuse an object of another size than was listed.

        Raises:
            ObjectFailedError: It is of one.
        """
        if listed is not None and n_bytes != listed:
            reason = f"it was listed with {listed:,} bytes, and has {n_bytes:,}"
            raise ObjectFailedError(reason)

    def _import(self) -> tuple[type[Exception], ...]:
        """Return what obstore raises."""
        errors = _import_obstore().exceptions
        return (errors.BaseError, OSError, ValueError)

    def _open(self) -> Any:  # noqa: ANN401  # untyped library
        """Return obstore's store of the bucket.

        Raises:
            ConfigError: The address of its server is none.
            CredentialsError: What the environment says is not enough to make one.
        """
        if self._client is None:
            obstore = _import_obstore()
            profile = find_profile() if self.scheme == "s3" else {}
            _check_endpoints(profile)
            first_s, longest_s = _BACKOFF_S
            retry = {
                "max_retries": MOST_RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_LIMIT_S),
                "backoff": {
                    "init_backoff": timedelta(seconds=first_s),
                    "max_backoff": timedelta(seconds=longest_s),
                    "base": 2,
                },
            }
            # Where the endpoint is http, that is the user's word; others are https anyway.
            client = {"allow_http": True, "timeout": _REQUEST_LIMIT}
            try:
                self._client = getattr(obstore.store, SCHEMES[self.scheme])(
                    self._name, config=profile, client_options=client, retry_config=retry
                )
            except self._import():
                message = f"{self.address} cannot be opened with the environment's settings"
                raise CredentialsError(message, hint=WAYS[self.scheme]) from None
        return self._client

    def _end_listing(self, reason: Exception) -> FercliError:
        error = self._explain(reason)
        if not isinstance(error, ObjectFailedError):
            return error
        if error.meaning is not None:
            return error.meaning
        # A key that no path of obstore's can hold, such as one with an empty part.
        message = f"{self.address} cannot be listed: {error.reason}"
        return RunFailedError(message, hint="give the addresses on stdin, with - as the path")

    def _explain(self, reason: Exception) -> ObjectFailedError | FercliError:
        """Return what an error of obstore's means, in words of ours."""
        text = str(reason).partition("\n\nDebug source:")[0]
        # Before this, obstore may name the key, in which anything can stand.
        text = text[max(0, text.find("Error performing")) :]
        asked, _, answer = text.partition(_ANSWERED)
        status = int(answer[:3]) if answer[:3].isdecimal() else 0
        found = _CODE.search(answer)
        code = found[1] if found else ""
        said = ", ".join([f"status {status}"] * bool(status) + [code] * bool(code))
        said = f" ({said})" if said else ""
        if code in _NO_BUCKET:
            return InputNotFoundError(f"there is no bucket {self.address}")
        if code in _WHO or _ASKED_MACHINE.search(asked):
            return self._refuse_asker(said if code else "")
        if "incorrectly configured region" in asked:
            message = f"{self.address} lies in another region"
            return ConfigError(message, hint="set AWS_REGION to it")
        if status in _LATER or status >= 500 or (not status and _LOST.search(asked)):
            message = f"{self.address} no longer answers{said}"
            return RunFailedError(message, hint="run the same command with --resume to continue")
        return self._explain_object(reason, status, said)

    def _explain_object(self, reason: Exception, status: int, said: str) -> ObjectFailedError:
        """Return what an error means that is one of a single object, for all that is known."""
        kind = type(reason).__name__
        if isinstance(reason, FileNotFoundError) or status == 404:
            return ObjectFailedError("it is not there")
        if status in {401, 403}:
            return ObjectFailedError(f"it may not be read{said}", meaning=self._refuse_asker(said))
        if kind == "PreconditionError":
            return ObjectFailedError("it was changed while it was read")
        if isinstance(reason, ValueError) or kind == "InvalidPathError":
            return ObjectFailedError("a key has an empty part, a dot or a control character")
        message = f"{self.address} does not answer like an object store{said}"
        refusal = f"its store refuses it{said}" if status else "its store's answer is not valid"
        return ObjectFailedError(refusal, meaning=DownloadError(message))

    def _refuse_asker(self, said: str) -> CredentialsError:
        message = f"{self.address} refuses access{said}"
        return CredentialsError(message, hint=WAYS[self.scheme])


@functools.cache
def _find_bucket(scheme: str, name: str) -> Bucket:
    """Return the one bucket of that name that came from other processes."""
    return Bucket(scheme, name)


class Ranges(io.RawIOBase):
    """An object as a file, of which a block is asked for at a time."""

    def __init__(self, bucket: Bucket, key: str, n_bytes: int, version: str | None) -> None:
        self._bucket = bucket
        self._key = key
        self._n_bytes = n_bytes
        self._version = version
        self._at = 0
        self._block = b""
        self._block_at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere, and return where that is."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._n_bytes}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return where it is."""
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer
        """Read into a buffer and return how many bytes.

        Raises:
            ObjectFailedError: As `Bucket.read_range`.
            FercliError: As that.
        """
        if self._at >= self._n_bytes:
            return 0
        start = self._at - self._block_at
        if not 0 <= start < len(self._block):
            end = min(self._at + BLOCK_BYTES, self._n_bytes)
            self._block = self._bucket.read_range(self._key, self._at, end, self._version)
            self._block_at, start = self._at, 0
        content = self._block[start : start + len(buffer)]
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def _check_endpoints(profile: Mapping[str, str]) -> None:
    """Refuse an address of a server that obstore would panic at; it may hold a password.

    Raises:
        ConfigError: It is none of http.
    """
    given = {name: os.environ[name] for name in _ENDPOINTS if name in os.environ}
    if "endpoint" in profile:
        given["endpoint_url of the profile"] = profile["endpoint"]
    for name, text in given.items():
        if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:_-]+(/[!-~]*)?", text):
            message = f"{name} is not an http:// or https:// address of a server"
            raise ConfigError(message)


def _import_obstore() -> ModuleType:
    name = "obstore"
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as reason:
        raise explain_missing(name, reason, title=f"{name}, which reads stores,") from reason
    module: ModuleType = obstore
    return module
