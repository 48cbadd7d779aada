"""Listen, answer, and end in good order.

uvicorn speaks HTTP; what it leaves open is closed here: a client that never finishes its headers,
one that does not read its answer, more connections than there are files, and answers of its own
that would not be those of the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from fercli.errors import ConfigError
from fercli.serve.answers import RequestError, build_error, refuse, refuse_busy
from fercli.serve.application import build_app
from fercli.serve.guard import SECURITY_HEADERS
from fercli.serve.service import Service
from fercli.signals import catch_signals

if TYPE_CHECKING:
    from fercli.config import ServeConfig
    from fercli.serve.models import ServedModels

__all__ = ["Listener", "listen", "serve"]

_BACKLOG: Final = 1024
_TICK_S: Final = 0.05
_HEADER_BYTES: Final = 1 << 14
_KEEP_ALIVE_S: Final = 30
_LINGER_S: Final = 10.0
"""How long an answer may lie unread."""


@dataclass(frozen=True)
class Listener:
    """A socket that is bound, and whom it lets in."""

    socket: socket.socket
    config: ServeConfig
    """With the port that was found and the token that was drawn."""
    address: str
    """What the socket is bound to."""
    is_open: bool
    """Whether others than this machine's users can reach it."""
    token_is_drawn: bool
    """Whether nobody but the log knows the token yet."""

    @property
    def url(self) -> str:
        """Where the page is, for somebody at this machine."""
        bound = ipaddress.ip_address(self.address)
        shown = self.address
        if bound.is_unspecified:
            shown = "::1" if bound.version == 6 else "127.0.0.1"
        shown = f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{self.config.port}/"

    @property
    def url_with_token(self) -> str:
        """The same, with the token where there is one: in the part that is not sent."""
        return f"{self.url}#token={self.config.token}" if self.config.token else self.url


@contextlib.contextmanager
def listen(config: ServeConfig) -> Iterator[Listener]:
    """Yield a socket that clients can connect to; it is closed at the end.

    Where others than users of this machine can reach it, there is a token: the one that is given,
    else one that is drawn now.

    Raises:
        ConfigError: The host is none of this machine, or the port is taken or reserved.
    """
    with _bind(config.host, config.port) as bound:
        address, port = bound.getsockname()[:2]
        is_open = bool(config.allow_host) or not ipaddress.ip_address(address).is_loopback
        drawn = is_open and config.token is None
        token = secrets.token_urlsafe(24) if drawn else config.token
        known = replace(config, port=port, token=token)
        yield Listener(bound, known, address, is_open, drawn)


def _bind(host: str, port: int) -> socket.socket:
    if not host:
        # To the system it would stand for every address.
        message = "--host is empty"
        raise ConfigError(message, hint="127.0.0.1 for this machine alone")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as reason:
        message = f"--host {host} is not an address of this machine"
        raise ConfigError(message, hint="127.0.0.1 for this machine alone") from reason
    # A name may stand for both kinds of addresses; clients try the older one at the latest.
    family, _, _, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
    # The protocol is named, since asyncio sends small pieces at once on such sockets alone; an
    # answer in two pieces waits 40 ms for the client's acknowledgement otherwise.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            # Elsewhere the option would let two processes have one port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen(_BACKLOG)
    except OSError as reason:
        bound.close()
        raise _explain_binding(host, port, reason) from reason
    return bound


def _explain_binding(host: str, port: int, reason: OSError) -> ConfigError:
    """Return why there is no listening there, in words for who typed it."""
    if reason.errno == errno.EADDRINUSE:
        message = f"{host}:{port} is in use by another process"
        return ConfigError(message, hint=f"give --port {port + 1}, or --port 0 for a free one")
    if reason.errno == errno.EACCES:
        message = f"port {port} needs more rights than this user has"
        return ConfigError(message, hint="give a --port of 1024 or above")
    message = f"--host {host} is not an address of this machine ({reason.strerror or reason})"
    return ConfigError(message, hint="127.0.0.1 for this machine alone")


def serve(
    listener: Listener, models: ServedModels, *, on_ready: Callable[[], None] = lambda: None
) -> tuple[Service, int]:
    """Answer requests until a signal comes, then finish those that are under way.

    Args:
        listener: As `listen` yields it.
        models: What is served.
        on_ready: Called once when requests are answered.

    Returns:
        What was answered, and the signal, 2 (SIGINT) or 15 (SIGTERM).

    Raises:
        ModelFileError: The weights of yunet that are here are damaged.
    """
    service = Service(models, listener.config)
    app = build_app(service, address=listener.address)
    settings = uvicorn.Config(
        app,
        loop="asyncio",
        http=_build_protocol(listener.config),
        ws="none",
        lifespan="off",
        interface="asgi3",
        # Its lines would name what clients send; bugs are logged by the application.
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
    with contextlib.closing(service), catch_signals() as get_signal:
        server = _Server(settings)
        asyncio.run(_run(server, listener.socket, service, get_signal, on_ready))
        return service, get_signal()


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(
    server: _Server,
    bound: socket.socket,
    service: Service,
    get_signal: Callable[[], int],
    on_ready: Callable[[], None],
) -> None:
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.001)
    on_ready()
    while not get_signal() and not serving.done():  # noqa: ASYNC110  # a handler of signals sets it
        await asyncio.sleep(_TICK_S)
    # While it drains it listens, to tell whoever comes that it is about to end.
    service.is_draining = True
    end_s = asyncio.get_running_loop().time() + service.config.drain_s
    while service.n_requests and asyncio.get_running_loop().time() < end_s:  # noqa: ASYNC110  # once
        await asyncio.sleep(_TICK_S)
    server.should_exit = True
    await serving


def _build_protocol(config: ServeConfig) -> type[H11Protocol]:
    """Return uvicorn's protocol with the bounds of a configuration."""

    class Protocol(_BoundedProtocol):
        max_connections = config.max_connections
        header_s = config.header_s

    return Protocol


class _BoundedProtocol(H11Protocol):
    """A connection whose client has only so much time, both to ask and to listen."""

    max_connections: int
    header_s: float

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  # as the base class
        super().__init__(*arguments, **named)
        self._asking: asyncio.TimerHandle | None = None
        self._listening: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class
        """Begin; or send the client away, where there are too many."""
        is_full = len(self.connections) >= self.max_connections
        super().connection_made(transport)
        if is_full:
            self._refuse(refuse_busy("too many connections are open"))
        else:
            self._ask()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        before = self.cycle
        if self._asking is None and self._is_idle:
            self._ask()
        super().data_received(data)
        if self.cycle is not before:
            self._asking = self._stop(self._asking)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._asking, self._listening = self._stop(self._asking), self._stop(self._listening)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the answer to be read."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._linger()

    def pause_writing(self) -> None:
        """Wait for a client that does not read."""
        super().pause_writing()
        self._linger()

    def resume_writing(self) -> None:
        """Go on: it reads again."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._listening = self._stop(self._listening)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection on which nothing was asked for a while."""
        super().timeout_keep_alive_handler()
        self._linger()

    def shutdown(self) -> None:
        """End as soon as what is under way is answered."""
        super().shutdown()
        self._linger()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # ours is the same for all
        """Answer to what is no HTTP."""
        self._refuse(refuse(HTTPStatus.BAD_REQUEST, "usage", "the request is not valid HTTP"))

    @property
    def _is_idle(self) -> bool:
        """Whether no request is under way."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
        """Return no timer, the one that there was stopped."""
        if timer is not None:
            timer.cancel()
        return None

    def _ask(self) -> None:
        self._asking = self.loop.call_later(self.header_s, self._give_up)

    def _give_up(self) -> None:
        """End a connection whose client has not said what it wants."""
        self._asking = None
        if not self.transport.is_closing():
            message = "the request did not come in time"
            self._refuse(refuse(HTTPStatus.REQUEST_TIMEOUT, "slow-client", message))

    def _linger(self) -> None:
        if self._listening is None:
            self._listening = self.loop.call_later(_LINGER_S, self.transport.abort)

    def _refuse(self, error: RequestError) -> None:
        """Answer without the application, and close."""
        if self._is_idle:
            self.transport.write(_format_answer(error))
        self.transport.close()
        self._linger()


def _format_answer(error: RequestError) -> bytes:
    """Return the bytes of an answer that the application does not give."""
    body = json.dumps(build_error(error)).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **SECURITY_HEADERS,
        **error.headers,
    }
    lines = [f"HTTP/1.1 {error.status.value} {error.status.phrase}"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
