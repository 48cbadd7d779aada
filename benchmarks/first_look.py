"""Print what the first look at an ONNX file of others costs, for some files.

python benchmarks/first_look.py other.onnx
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from fercli.errors import FercliError
from fercli.inference.first_look import look_at

_ROUNDS = 7


def main() -> None:
    """Time the child, file by file; it would not be asked twice for the same bytes."""
    for name in sys.argv[1:]:
        content = Path(name).read_bytes()
        durations, said = [], "passed"
        for number in range(_ROUNDS):
            # A field that no reader of protobuf knows, so that each round is a file of its own.
            varied = content + b"\xa2\x7d\x01" + bytes([number])
            started = time.perf_counter()
            try:
                look_at(varied, Path(name))
            except FercliError as reason:
                said = reason.message
            durations.append(time.perf_counter() - started)
        best, median = min(durations), statistics.median(durations)
        size = len(content) / 1e6
        print(f"{name}: {size:.1f} MB, {best:.2f} s at best, median {median:.2f} s; {said}")


if __name__ == "__main__":
    main()
