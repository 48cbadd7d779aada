"""What the service answers: the envelope of the command line, and the status that HTTP has for it.

Nothing of this machine stands in an answer: what names a file or a library goes to the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from fercli.errors import ConfigError, FercliError
from fercli.results import build_envelope, list_errors

__all__ = [
    "COMMAND",
    "ENDING",
    "JsonResponse",
    "RequestError",
    "build_error",
    "refuse",
    "refuse_busy",
    "to_request_error",
]

COMMAND: Final = "predict"
"""Of the envelope: its `data` is that of this command."""
ENDING: Final = "the service is shutting down"
_EXIT_CODES: Final = {
    HTTPStatus.UNAUTHORIZED: 5,
    HTTPStatus.FORBIDDEN: 5,
    HTTPStatus.REQUEST_TIMEOUT: 3,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: 3,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: 3,
    HTTPStatus.INTERNAL_SERVER_ERROR: 1,
    HTTPStatus.SERVICE_UNAVAILABLE: 5,
}
"""The command's exit status that comes nearest; 2, wrong usage, for all others."""


class RequestError(Exception):
    """A request that is not answered with rows.

    Args:
        status: Of HTTP.
        errors: As the envelope has them; at least one.
        headers: What else the answer says.
    """

    def __init__(
        self, status: int, errors: list[dict[str, str]], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("; ".join(error["message"] for error in errors))
        self.status = HTTPStatus(status)
        self.errors = errors
        self.headers = dict(headers or {})


class JsonResponse(Response):
    """JSON; what is not a number is a bug, not a value."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401  # as the base class
        """Return the bytes of the body."""
        return json.dumps(content, allow_nan=False).encode()


def refuse(
    status: int,
    code: str,
    message: str,
    *,
    hint: str = "",
    headers: Mapping[str, str] | None = None,
) -> RequestError:
    """Return the error that ends a request; see `RequestError`."""
    return RequestError(status, [{"code": code, "message": message, "hint": hint}], headers)


def refuse_busy(message: str) -> RequestError:
    """Return the error that sends a client away for a moment."""
    hint, headers = "try again a little later", {"Retry-After": "1"}
    return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "busy", message, hint=hint, headers=headers)


def to_request_error(error: FercliError) -> RequestError:
    """Return what a client may know of an error of the library."""
    if isinstance(error, ConfigError):
        return RequestError(HTTPStatus.BAD_REQUEST, list_errors(error))
    message = "the service cannot do this; its log has the reason"
    return refuse(HTTPStatus.INTERNAL_SERVER_ERROR, error.code, message)


def build_error(error: RequestError) -> dict[str, Any]:
    """Return the envelope of a request without rows."""
    return build_envelope(COMMAND, "error", _EXIT_CODES.get(error.status, 2), {}, error.errors)
