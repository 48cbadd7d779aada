"""What every benchmark prints around its figures: the machine, the versions, the command.

With `--write` the same lines go into docs/explanation/results.md, between two markers of their own;
page and section are made when missing.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fercli.environment import name_processor

if TYPE_CHECKING:
    import argparse

__all__ = [
    "Spent",
    "add_write_option",
    "describe_machine",
    "measure",
    "print_header",
    "publish",
    "read_peak_mib",
]

# Users keep compiled modules; a start without them takes twice as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

RESULTS = Path(__file__).parents[1] / "docs" / "explanation" / "results.md"


@dataclass
class Spent:
    """Time that a block took."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s wall, {self.cpu_s:.2f} s CPU"


@contextmanager
def measure() -> Iterator[Spent]:
    """Measure wall and CPU seconds of a block, this process only."""
    spent = Spent()
    wall, cpu = time.perf_counter(), time.process_time()
    yield spent
    spent.wall_s, spent.cpu_s = time.perf_counter() - wall, time.process_time() - cpu


def describe_machine() -> str:
    """Return processor, cores and load of this machine."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{name_processor()}, {os.cpu_count()} cores{load}"


def read_peak_mib() -> float:
    """Return the largest memory this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_header(claim: str) -> None:
    """Print what is measured, on what, and by which command."""
    print(claim)
    print(f"machine: {describe_machine()}, Python {platform.python_version()}")
    # Whether the figures are also written down changes nothing about them.
    words = [word for word in sys.argv[1:] if not word.startswith("--write")]
    # As it is typed in the checkout: where that lies is nobody's business.
    script = f"benchmarks/{Path(sys.argv[0]).name}"
    print(f"command: python {shlex.join([script, *words])}")


def add_write_option(parser: argparse.ArgumentParser) -> None:
    """Add `--write`."""
    parser.add_argument("--write", action="store_true", help="put the figures into results.md")


@contextmanager
def publish(section: str, *, write: bool) -> Iterator[None]:
    """Print as usual and, if asked, put what was printed into a section of results.md."""
    text = io.StringIO()
    with contextlib.redirect_stdout(_Tee(text, sys.stdout)):
        yield
    if not write:
        return
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    page = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
    if begin not in page:
        page += f"\n## {section.capitalize()}\n\n{begin}{end}\n"
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    block = f"{begin}\n```text\n{text.getvalue()}```\n{end}"
    RESULTS.write_text(before + block + after, encoding="utf-8")


class _Tee(io.TextIOBase):
    """Writes to two streams."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
            stream.flush()
        return len(text)
