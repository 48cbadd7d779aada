"""What every benchmark prints around its figures: the machine, the versions, the command."""

from __future__ import annotations

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

__all__ = ["Spent", "describe_machine", "measure", "print_header", "read_peak_mib"]


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
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        name = next(
            (line.split(": ", 1)[1] for line in lines if line.startswith("model name")), name
        )
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{name}, {os.cpu_count()} cores{load}"


def read_peak_mib() -> float:
    """Return the largest memory this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_header(claim: str) -> None:
    """Print what is measured, on what, and by which command."""
    print(claim)
    print(f"machine: {describe_machine()}, Python {platform.python_version()}")
    print(f"command: python {shlex.join(sys.argv)}")
