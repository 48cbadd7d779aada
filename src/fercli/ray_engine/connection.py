"""Ray itself: imported without its telemetry, connected to without its noise."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli.dependencies import check_installed, explain_missing
from fercli.errors import ConfigError, SetupError
from fercli.prediction.chunks import count_processors

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["check_answers", "connect", "import_ray", "shorten"]

_LOG: Final = logging.getLogger(__name__)
_LATEST: Final = "ray_current_cluster"
"""Where Ray keeps the address of a machine's cluster."""
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""No telemetry, as everywhere in fercli; and Ray's processes write into their log files alone.
What a user has set stays."""
_SILENT: Final = {"RAY_DEDUP_LOGS": "1", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""What Ray says of processes that died would go to stdout, where rows and JSON are alone: its
filter of repeated lines is told to skip every line."""
_PATIENCE_S: Final = 5.0
"""For an address to answer."""
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of HTTP/2 begins, which gRPC is (RFC 9113, 3.4): a server answers with settings."""
_SETTINGS: Final = 4
"""The type of such a frame."""
_STARTS: Final = 3
"""Of a cluster of this machine's own: Ray gives it half a minute, which a busy machine may need."""
_STORE_BYTES: Final = 256 << 20
"""Shared memory of a cluster of this machine's own, for paths and rows: a block has some 100 kB."""
_SHOWN: Final = 200


def import_ray() -> ModuleType:
    """Return Ray with its telemetry off, and silent but for its log files.

    Raises:
        DependencyMissingError: It cannot be imported, or lacks what its data library needs.
    """
    check_installed("ray")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.update(_SILENT)
    try:
        import ray
        import ray.data
    except ImportError as reason:
        name = "ray"
        raise explain_missing(name, reason) from reason
    for handler in logging.getLogger("ray.data").handlers:
        # What goes into the log file of the session stays.
        if isinstance(handler, logging.StreamHandler) and not _LOG.isEnabledFor(logging.DEBUG):
            handler.setLevel(logging.CRITICAL)
    module: ModuleType = ray
    return module


def connect(ray: ModuleType, address: str | None) -> None:
    """Connect, with signals acting as they did.

    Raises:
        ConfigError: It is no address of that kind.
        SetupError: Nobody answers there, or this machine is no part of that cluster.
    """
    if address is None:
        place = "a Ray cluster of this machine's own"
        options = {
            "address": "local", "num_cpus": count_processors(), "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }  # fmt: skip
    else:
        place = f"Ray at {address}"
        check_answers(address)
        options = {"address": address}
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        for left in reversed(range(_STARTS if address is None else 1)):
            try:
                _start(ray, options, place)
            except SetupError:
                if not left:
                    raise
                ray.shutdown()
            else:
                break
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def check_answers(address: str) -> None:
    """Refuse an address at which no cluster answers, which Ray would ask for minutes.

    Raises:
        ConfigError: It is no `HOST:PORT`.
        SetupError: Nobody answers, or somebody else.
    """
    if address == "auto":
        # The cluster that was started last may be gone; where there was none, Ray says so at once.
        latest = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", _LATEST)
        if not latest.is_file():
            return
        address = latest.read_text(encoding="utf-8").strip()
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isascii() or not port.isdigit():
        message = f"--address is HOST:PORT of a Ray cluster, or auto, not {address!r}"
        raise ConfigError(message, hint="give HOST:6379 of the head; ray job submit needs none")
    message = f"no Ray cluster answers at {address}"
    hint = "run ray status on a machine of the cluster to see whether it is up"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            connection.settimeout(_PATIENCE_S)
            connection.sendall(_PREFACE)
            answer = connection.recv(4)
    except (OSError, OverflowError) as reason:
        message = f"{message} ({shorten(reason)})"
        raise SetupError(message, hint=hint) from reason
    if len(answer) < 4 or answer[3] != _SETTINGS:
        message = f"{message}: another program does"
        raise SetupError(message, hint=hint)


def _start(ray: ModuleType, options: dict[str, Any], place: str) -> None:
    """Call `ray.init`.

    Raises:
        SetupError: It fails.
    """
    expected = (OSError, RuntimeError, ValueError, ray.exceptions.RayError)

    def explain(kind: type[BaseException] | None, reason: BaseException | None, _: object) -> bool:
        # Where it has waited too long Ray raises no more than `Exception`.
        if kind is not None and (kind is Exception or issubclass(kind, expected)):
            message = f"{place} cannot be used: {shorten(reason)}"
            hint = "run it on a machine of the cluster, with the cluster's Ray and Python"
            raise SetupError(message, hint=hint if "num_cpus" not in options else "") from reason
        return False

    with contextlib.ExitStack() as stack, _without_stderr():
        stack.push(explain)
        ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what libraries write there past Python: Ray's says which level of log was chosen."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        # It is closed.
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def shorten(reason: BaseException | None) -> str:
    """Return what an error says, on one line that is not too long."""
    text = " ".join(str(getattr(reason, "strerror", None) or reason).split())
    return text[:_SHOWN] or type(reason).__name__
