"""The command line: one file per command, the only place that prints."""

from __future__ import annotations

from fercli.cli._app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run `fer`."""
    app(prog_name="fer")
