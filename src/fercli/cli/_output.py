"""The only writer: results to stdout, everything else to stderr.

With `--json` stdout carries exactly one object, success or failure. Names of files are hostile
text: they are escaped before a terminal sees them and never read as markup.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TextIO

from fercli.cli._exit import ExitStatus, find_status
from fercli.names import hide_secrets, safe_name, shorten
from fercli.results import build_envelope, list_errors

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from fercli.errors import FercliError
    from fercli.metadata import ModelMetadata

__all__ = [
    "Outcome",
    "Output",
    "close_stdout",
    "fold",
    "follow_main",
    "warn_if_synthetic",
    "write_stderr",
]


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    data: Mapping[str, Any]
    """The `data` of the JSON envelope."""
    show: Callable[[Console], None]
    """Shows the same to people."""
    status: ExitStatus = ExitStatus.DONE
    """`DONE`, or `PARTIAL` when inputs were skipped."""
    errors: list[dict[str, str]] = field(default_factory=list)
    """For `PARTIAL`: what was skipped, as in the envelope."""
    failure: FercliError | None = None
    """A check that did not hold; the result is shown all the same."""
    signal_number: int = 0
    """The signal that ended it, where what was done until then is whole; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """How a command speaks, from the options that every command has."""

    command: str
    """Its name, as in the envelope."""
    json: bool = False
    """One JSON object on stdout instead of text."""
    verbosity: int = 0
    """-2 errors only, -1 quiet, 0 normal, 1 tracebacks of expected errors, 2 debug log."""
    color: bool = True
    """Whether colors may be used; a terminal is still required."""

    def note(self, text: str) -> None:
        """Say something on stderr, unless quiet."""
        if self.verbosity >= 0:
            self._write_error(text)

    def warn(self, text: str) -> None:
        """Say something on stderr that even the quiet should know."""
        if self.verbosity >= -1:
            self._write_error(f"warning: {text}")

    def silenced(self) -> Output:
        """Return one that says errors only, for where another process says the rest."""
        return replace(self, verbosity=-2)

    def show(self, outcome: Outcome) -> int:
        """Write a command's result to stdout and return its exit status."""
        failure = outcome.failure
        code = find_status(failure) if failure else int(outcome.status)
        code = 128 + outcome.signal_number if outcome.signal_number else code
        if self.json:
            status = "error" if failure else "partial" if code else "ok"
            errors = list_errors(failure) if failure else outcome.errors
            self.write_json(build_envelope(self.command, status, code, outcome.data, errors))
        else:
            outcome.show(self.build_console())
        sys.stdout.flush()
        if failure:
            self._explain(failure)
        return code

    def fail(self, error: FercliError) -> int:
        """Report an error and return its exit status."""
        status = find_status(error)
        if self.verbosity >= 1:
            write_stderr(hide_secrets("".join(traceback.format_exception(error))))
        self._explain(error)
        if self.json:
            envelope = build_envelope(self.command, "error", status, {}, list_errors(error))
            # Where stdout itself is what failed, stderr has said so.
            with contextlib.suppress(OSError):
                self.write_json(envelope)
        return status

    def write_json(self, value: Mapping[str, Any]) -> None:
        """Write one JSON object to stdout; NaN is a bug, not a value."""
        sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
        sys.stdout.flush()

    def build_console(self, *, stderr: bool = False) -> Console:
        """Return a Rich console; markup in names is left alone."""
        from rich.console import Console

        plain = not self.color
        file: Any = _PatientStderr() if stderr else None
        console = Console(
            file=file, markup=False, highlight=False, emoji=False, no_color=plain or None
        )
        if not console.is_terminal and "COLUMNS" not in os.environ:
            # Text for a file or a pipe has no edge to fold at.
            console.width = 200
        return console

    @contextlib.contextmanager
    def progress(self, *, unit: str) -> Iterator[Progress | None]:
        """Show progress bars on stderr inside the block; None where there is no terminal."""
        # Asked without Rich, whose import takes a tenth of a second.
        if self.verbosity < 0 or not (sys.stderr.isatty() or os.environ.get("FORCE_COLOR")):
            yield None
            return
        console = self.build_console(stderr=True)
        if not console.is_terminal:
            yield None
            return
        from fercli.cli._bars import build_bars

        with build_bars(console, unit) as bars:
            yield bars

    def _explain(self, error: FercliError) -> None:
        for problem in getattr(error, "problems", None) or [error.message]:
            self._write_error(f"error: {problem}")
        if error.hint:
            # Most hold a command, which is to be copied whole.
            write_stderr(_clean(f"hint: {error.hint}") + "\n")

    def start_logging(self) -> None:
        """Send debug logs to stderr with -vv."""
        if self.verbosity >= 2:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(_SecretiveFormatter(logging.BASIC_FORMAT))
            logging.basicConfig(level=logging.DEBUG, handlers=[handler])

    def _write_error(self, text: str) -> None:
        line = _clean(text)
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
        except (OSError, ValueError):
            width = 0
        # No terminal has no edge; nor has one that does not know its width, as of `docker run -t`.
        lines = fold(line, width) if width else [line]
        write_stderr("\n".join(lines) + "\n")


def _clean(text: str) -> str:
    """Return a message without secrets and codes, and no longer than anybody reads."""
    return safe_name(shorten(hide_secrets(text)))


class _SecretiveFormatter(logging.Formatter):
    """Leaves passwords out of the log: libraries write the addresses that they ask."""

    def format(self, record: logging.LogRecord) -> str:
        return hide_secrets(super().format(record))


def fold(text: str, width: int) -> list[str]:
    """Return lines of at most so many columns, cut between words alone."""
    lines = textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)
    return lines or [""]


def follow_main(output: Output) -> Output:
    """Leave stdout, and all but errors, to the leading process of a group."""
    close_stdout()
    return output.silenced()


def close_stdout() -> None:
    """Point stdout at nothing, so that nothing more is said and Python does not complain."""
    _close(sys.stdout)


def write_stderr(text: str) -> None:
    """Write to stderr; where nothing can be written (a closed pipe, a full disk), say no more."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _close(sys.stderr)


class _PatientStderr:
    """Stderr for progress bars: a terminal that was closed under them ends no work."""

    def write(self, text: str) -> int:
        write_stderr(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever a stream has
        return getattr(sys.stderr, name)


def _close(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def warn_if_synthetic(output: Output, metadata: ModelMetadata) -> None:
    """Warn that a model that is about to be used on real faces has only seen synthetic ones."""
    from fercli.data.dataset import is_synthetic_source

    if is_synthetic_source(metadata.source):
        output.warn(
            f"this model was trained on synthetic faces only ({metadata.source}); its results on "
            "real faces are meaningless"
        )
