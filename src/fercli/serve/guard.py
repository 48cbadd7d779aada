"""Who is let in, and the headers that every answer has.

A page of somebody else's must neither read answers nor send pictures: its browser says where it
comes from (Origin), and after a name was rebound to this machine, under which name it thinks to
speak with us (Host). Both are looked at before anything else. Nothing here answers a preflight, so
no other site may do more than a plain form could, and those carry their Origin.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import socket
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fercli.serve.answers import (
    ENDING,
    JsonResponse,
    RequestError,
    build_error,
    refuse,
    refuse_busy,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from fercli.config import ServeConfig

__all__ = ["SECURITY_HEADERS", "Guard"]

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
SECURITY_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every answer. Pictures from the camera and from files are blobs to the page."""
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PROTECTED: Final = "/api/"
_DISCARD_S: Final = 10.0


class Guard:
    """Lets in who may come, and sends the others away.

    Args:
        app: What answers those who are let in.
        config: Whom to let in; `token` is what `/api/` demands.
        address: The address that is listened on, as the socket has it.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig, address: str = "127.0.0.1") -> None:
        self._app = app
        self._token = config.token
        self._max_bytes = config.max_bytes
        self._extra = frozenset(name.lower() for name in config.allow_host)
        self._hosts = _LOOPBACK | self._extra | {config.host.lower()}
        bound = ipaddress.ip_address(address)
        self._hosts |= {_bracket(bound)}
        self._takes_addresses = bound.is_unspecified
        if bound.is_unspecified:
            own = socket.gethostname().lower()
            self._hosts |= {own, f"{own}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; see ASGI."""
        if scope["type"] != "http":
            return
        body = _Body(scope, receive)

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                await body.discard(2 * self._max_bytes)
                headers = [
                    *message.get("headers", ()),
                    *((name.encode(), text.encode()) for name, text in SECURITY_HEADERS.items()),
                ]
                if not body.is_complete:
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        try:
            self._check(scope, headers)
            await self._app(scope, body.receive, send_guarded)
        except RequestError as error:
            await _answer(error, scope, body.receive, send_guarded)
        except asyncio.CancelledError:
            # The service ends, and has waited for this request as long as it would.
            await _answer(refuse_busy(ENDING), scope, body.receive, send_guarded)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        host = headers.get("host", "").lower()
        self._check_host(host)
        self._check_origin(headers, host)
        if self._token is not None and scope["path"].startswith(_PROTECTED):
            kind, _, given = headers.get("authorization", "").partition(" ")
            # Both sides as bytes: a text that is not ASCII would raise.
            fits = hmac.compare_digest(given.strip().encode(), self._token.encode())
            if kind.lower() != "bearer" or not fits:
                raise refuse(
                    HTTPStatus.UNAUTHORIZED,
                    "token",
                    "the token is missing or wrong",
                    hint="Authorization: Bearer TOKEN, as `fer serve` printed it",
                    headers={"WWW-Authenticate": "Bearer"},
                )

    def _check_host(self, host: str) -> None:
        found = _HOST.fullmatch(host)
        if found is not None and (found[1] in self._hosts or self._is_address(found[1])):
            return
        message = "the request's Host header does not name this service"
        raise refuse(
            HTTPStatus.FORBIDDEN,
            "host",
            message,
            hint="start fer serve with --allow-host NAME to allow a name",
        )

    def _is_address(self, name: str) -> bool:
        """Return whether this is a bare address and any of this machine's is listened on.

        A name can be rebound to lead here, an address cannot.
        """
        if not self._takes_addresses:
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _check_origin(self, headers: dict[str, str], host: str) -> None:
        origin = headers.get("origin")
        if origin is None:
            if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
                return
            if headers.get("sec-fetch-mode") == "navigate" and "sec-fetch-user" in headers:
                # Somebody followed a link to the page.
                return
        else:
            try:
                parts = urlsplit(origin.lower())
                is_own = parts.netloc == host or (parts.hostname or "") in self._extra
            except ValueError:
                is_own = False
            else:
                is_own = is_own and parts.scheme in {"http", "https"}
            if is_own:
                return
        message = "the request comes from another site's page"
        raise refuse(HTTPStatus.FORBIDDEN, "origin", message)


async def _answer(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without rows."""
    await JsonResponse(build_error(error), error.status, error.headers)(scope, receive, send)


class _Body:
    """What a client sends after its headers, and whether all of it came."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        self.is_complete = length == b"0" and b"transfer-encoding" not in headers
        # It sends nothing before it is told to.
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"
        self._receive = receive

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next part; see ASGI."""
        self._waits = False
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.is_complete = True
        return message

    async def discard(self, n_bytes: int) -> None:
        """Take what is still to come, up to so many bytes, for a moment.

        A connection that is closed on a client that sends loses the answer, too.
        """
        if self._waits:
            return
        try:
            async with asyncio.timeout(_DISCARD_S):
                while not self.is_complete and n_bytes > 0:
                    message = await self.receive()
                    n_bytes -= len(message.get("body", b""))
        except TimeoutError:
            return


def _bracket(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as an URL has it."""
    return f"[{address}]" if address.version == 6 else str(address)
