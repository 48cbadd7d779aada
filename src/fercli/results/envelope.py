"""The one JSON object that a command, or an answer over HTTP, is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fercli.errors import ConfigError, FercliError
from fercli.names import hide_secrets, shorten

__all__ = ["SCHEMA", "build_envelope", "list_errors"]

SCHEMA: Final = 1
"""Of the envelope; another one where a key changes its meaning."""


def build_envelope(
    command: str,
    status: str,
    exit_code: int,
    data: Mapping[str, Any],
    errors: list[dict[str, str]],
) -> dict[str, Any]:
    """Return the one JSON object of a command."""
    return {
        "schema": SCHEMA,
        "command": command,
        "status": status,
        "exit_code": int(exit_code),
        "data": dict(data),
        "errors": errors,
    }


def list_errors(error: FercliError) -> list[dict[str, str]]:
    """Return an error as the envelope has it: an entry for each problem."""
    messages = error.problems if isinstance(error, ConfigError) else (error.message,)
    hint = shorten(hide_secrets(error.hint))
    return [
        {"code": error.code, "message": shorten(hide_secrets(text)), "hint": hint}
        for text in messages
    ]
