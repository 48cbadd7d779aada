"""The command line: one file per command, the only place that prints."""

from __future__ import annotations

import io
import sys

from fercli.cli._app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run `fer`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that cannot show a character gets its code instead of a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="fer")
