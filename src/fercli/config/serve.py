"""How the HTTP service listens, whom it lets in, and how much it takes on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fercli.config.limits import MAX_PIXELS, MOST_PIXELS
from fercli.config.options import check_fields, option, raise_on

__all__ = ["ServeConfig"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]{16,}")
"""What stands in an address and in a header as it is, and is not guessed."""
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """How the HTTP service listens, whom it lets in, and how much it takes on."""

    host: str = option(
        "127.0.0.1",
        flag="--host",
        metavar="HOST",
        help="The address to listen on. Any but a loopback address lets other machines connect, "
        "with a token.",
    )
    port: int = option(
        8013, low=0, high=65535, flag="--port", help="The port; 0 for one that is free."
    )
    token: str | None = option(
        None,
        flag="--token",
        metavar="TOKEN",
        env="FERCLI_TOKEN",
        help="Secret that clients must send; at least 16 letters and digits. Default where other "
        "machines can connect: a random one.",
    )
    allow_host: tuple[str, ...] = option(
        (),
        flag="--allow-host",
        metavar="NAME",
        help="Host name by which clients reach the service, such as a reverse proxy's. Requires a "
        "token.",
        details="May be given several times.",
    )
    max_bytes: int = option(
        32 << 20, low=1, high=1 << 30, flag="--max-bytes", help="Largest request, in bytes."
    )
    max_images: int = option(
        32, low=1, high=1000, flag="--max-images", help="Most images in one request."
    )
    max_pixels: int = option(
        MAX_PIXELS,
        low=1,
        high=MOST_PIXELS,
        flag="--max-pixels",
        help="Largest image to decode, in pixels.",
    )

    batch_size: int = option(64, low=1, help="Most faces per call of the model.")
    batch_wait_s: float = option(
        0.005,
        low=0,
        high=1,
        unit="s",
        help="How long a face may wait to share a batch with faces of other requests.",
    )
    max_requests: int = option(
        128, low=1, help="Most requests in progress or waiting; further ones get 503."
    )
    max_waiting_bytes: int = option(
        256 << 20, low=1, help="Most bytes of all requests together; further requests get 503."
    )
    max_connections: int = option(512, low=1, help="Open connections; further ones get 503.")
    header_s: float = option(
        10.0, above=0, unit="s", help="How long a client may take to send a request's header."
    )
    idle_s: float = option(
        10.0, above=0, unit="s", help="How long a client may pause within a request."
    )
    body_s: float = option(
        60.0, above=0, unit="s", help="How long a client may take to send a request's body."
    )
    drain_s: float = option(
        10.0, above=0, unit="s", help="How long requests in progress may take after a signal."
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        problems = check_fields(self)
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            # The value is not repeated: what is nearly a secret may be one.
            problems.append("a token must be 16 or more characters: letters, digits, . _ ~ -")
        problems += [
            f"{name!r} is not a host name, such as fer.example.org"
            for name in self.allow_host
            if not _HOST.fullmatch(name)
        ]
        raise_on(problems)
