"""From a request to the images in it, in memory alone and within bounds.

A body is read whole, as fast as its client must send, then taken apart in a thread. Libraries that
parse while they read put large parts into temporary files, and faces shall touch no disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fercli.ranges import suggest
from fercli.serve.answers import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive

    from fercli.config import ServeConfig
    from fercli.serve.answers import RequestError

__all__ = ["FIELD", "MAX_NAME", "Upload", "is_form", "parse_form", "read_body", "take_image"]

FIELD: Final = "images"
"""The field of a form that holds images."""
MAX_NAME: Final = 1024
"""Longest name of an image, in characters."""
_FORM: Final = b"multipart/form-data"
_EMPTY: Final = "the body is empty; it should be an image"
_UNBOUNDED: Final = "the form has no boundary"
_DAMAGED: Final = "the form is damaged"
_TORN: Final = "the form ends too early"
_NOTHING: Final = f"the form has no file in its field {FIELD!r}"
_LONG: Final = f"the name of an image has more than {MAX_NAME} characters"
_PIECE_BYTES: Final = 1 << 16
_MAX_HEADERS: Final = 8
_MAX_HEADER_BYTES: Final = 8192
"""Of a part; its name is among them."""


@dataclass(frozen=True)
class Upload:
    """An image that a client sent."""

    name: str
    """What the client calls it; never a path of this machine."""
    content: bytes


def is_form(content_type: str | None) -> bool:
    """Return whether a body is a form, not an image; before it is read.

    Raises:
        RequestError: It says that it is something else.
    """
    kind = parse_options_header(content_type)[0]
    plain = kind in {b"", b"application/octet-stream", _FORM} or kind.startswith(b"image/")
    if not plain:
        raise refuse(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "the body must be an image, or a form with images",
            hint="Content-Type: image/jpeg, application/octet-stream or multipart/form-data",
        )
    return kind == _FORM


async def read_body(
    headers: Mapping[str, str],
    receive: Receive,
    config: ServeConfig,
    reserve: Callable[[int], None],
) -> bytes:
    """Return the body of a request.

    Args:
        headers: Of the request.
        receive: Gives its parts.
        config: How large it may be and how long it may take.
        reserve: Is told of bytes before they are kept; may raise.

    Raises:
        RequestError: It is too large, too slow, or its client has gone.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > config.max_bytes:
        raise _refuse_size(config)
    loop = asyncio.get_running_loop()
    end_s = loop.time() + config.body_s
    pieces: list[bytes] = []
    n_bytes, more = 0, True
    while more:
        try:
            async with asyncio.timeout_at(min(end_s, loop.time() + config.idle_s)):
                message = await receive()
        except TimeoutError:
            message_text = "the request did not come in time"
            raise refuse(HTTPStatus.REQUEST_TIMEOUT, "slow-client", message_text) from None
        if message["type"] == "http.disconnect":
            raise refuse(HTTPStatus.BAD_REQUEST, "disconnected", "the client has gone")
        piece = message.get("body", b"")
        n_bytes += len(piece)
        if n_bytes > config.max_bytes:
            raise _refuse_size(config)
        reserve(len(piece))
        pieces.append(piece)
        more = message.get("more_body", False)
    return b"".join(pieces)


def take_image(body: bytes, name: str) -> list[Upload]:
    """Return the one image that a body is.

    Args:
        body: All of it.
        name: What it is called.

    Raises:
        RequestError: There is nothing.
    """
    if not body:
        raise _refuse_form(_EMPTY)
    return [Upload(name, body)]


def parse_form(content_type: str, body: bytes, config: ServeConfig) -> list[Upload]:
    """Return the images of a form, in order; for any thread.

    Args:
        content_type: As the request has it.
        body: All of it.
        config: How many images there may be.

    Raises:
        RequestError: It has none, too many, or is no form though it says so.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise _refuse_form(_UNBOUNDED)
    form = _Form(config.max_images)
    try:
        parser = MultipartParser(
            boundary,
            form.list_callbacks(),  # type: ignore[arg-type]  # a typed dictionary of the same
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER_BYTES,
        )
        for at in range(0, len(body), _PIECE_BYTES):
            parser.write(body[at : at + _PIECE_BYTES])
        parser.finalize()
    except FormParserError as reason:
        raise _refuse_form(_DAMAGED) from reason
    if not form.is_complete:
        raise _refuse_form(_TORN)
    if not form.uploads:
        raise _refuse_form(_NOTHING)
    return form.uploads


@dataclass
class _Form:
    """Takes the pieces of a form, and refuses it as soon as it has too many."""

    max_images: int
    uploads: list[Upload] = field(default_factory=list)
    is_complete: bool = False
    _name: str = ""
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _content: list[bytes] = field(default_factory=list)
    _disposition: bytes = b""

    def list_callbacks(self) -> dict[str, Callable[..., None]]:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._read_disposition,
            "on_part_data": lambda data, start, end: self._content.append(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._complete,
        }

    def _begin(self) -> None:
        if len(self.uploads) >= self.max_images:
            raise refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too-many-images",
                f"more than {self.max_images} images",
                hint="send them in several requests",
            )
        self._content = []
        self._disposition = b""

    def _begin_header(self) -> None:
        self._header = (bytearray(), bytearray())

    def _end_header(self) -> None:
        if bytes(self._header[0]).lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])

    def _read_disposition(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        given = parameters.get(b"name", b"").decode("utf-8", "replace")
        if given != FIELD:
            message = f"unknown field {given[:100]!r}: images go into {FIELD!r}"
            raise _refuse_form(message + suggest(given, [FIELD]))
        name = parameters.get(b"filename", b"").decode("utf-8", "replace")
        if len(name) > MAX_NAME:
            raise _refuse_form(_LONG)
        self._name = name or f"image-{len(self.uploads)}"

    def _end(self) -> None:
        self.uploads.append(Upload(self._name, b"".join(self._content)))

    def _complete(self) -> None:
        self.is_complete = True


def _refuse_size(config: ServeConfig) -> RequestError:
    return refuse(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-large",
        f"more than {config.max_bytes} bytes",
        hint="send smaller images, or fewer at once",
    )


def _refuse_form(message: str) -> RequestError:
    return refuse(HTTPStatus.BAD_REQUEST, "usage", message)
