"""The command line: one file per command, the only place that prints."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from fercli.cli._app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run `fer`."""
    # Started with either closed, as some schedulers do, there is nobody to say anything to.
    nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # for as long as we live
    sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that cannot show a character gets its code instead of a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="fer")
