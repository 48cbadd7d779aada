"""Give odd inputs to everything that reads: `nox -s fuzz -- --target csv --seconds 600 --seed 1`.

A case is drawn from the seed, the target and its number, so that numbers alone repeat it. It must
be read or refused by an error that a user is told of, within the target's seconds and a gibibyte of
memory; anything else is a finding, and so are a process that dies and one that does not come back.
Each kind of finding leaves one file; `--case FILE` reads such a file again, with its traceback.

There is no coverage to guide it: what decodes is native code of others, and behind a digest is only
what has a right one, which the makers of cases see to.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from fuzz_targets import TARGETS, Target
from specimens import Specimens, open_work_folder, write_specimens

from fercli.errors import FercliError

__all__ = ["fuzz", "main"]

MEMORY_KIB: Final = 1 << 20
"""What the process may grow by while it reads cases."""
HANGING_S: Final = 180.0
"""Until a process that does not come back is ended."""


class _Tally(ctypes.Structure):
    """What parent and child share."""

    _fields_ = (
        ("number", ctypes.c_longlong), ("began", ctypes.c_double), ("read", ctypes.c_longlong),
        ("refused", ctypes.c_longlong), ("slowest", ctypes.c_double), ("peak", ctypes.c_longlong),
        ("findings", ctypes.c_longlong),
    )  # fmt: skip


def fuzz(
    name: str, specimens: Specimens, corpus: Path, *, seconds: float, seed: int, cases: int = 0
) -> dict[str, Any]:
    """Read cases of a target until the time is over; return the row of the table.

    Args:
        name: Of the target.
        specimens: Whole files, which cases are made of.
        corpus: Where findings are left.
        seconds: When to end.
        seed: Draws the cases.
        cases: When to end, too; 0 for never.
    """
    context = multiprocessing.get_context("fork")
    tally: Any = context.Value(_Tally, lock=False)
    end = time.monotonic() + seconds
    started = time.monotonic()
    corpus.mkdir(parents=True, exist_ok=True)
    known: set[str] = set()
    while time.monotonic() < end and (not cases or tally.number < cases):
        with open_work_folder() as folder:
            arguments = {
                "name": name, "specimens": specimens, "folder": folder, "corpus": corpus,
                "tally": tally, "end": end, "seed": seed, "cases": cases, "known": known,
            }  # fmt: skip
            tally.began = time.monotonic() + 60
            child = context.Process(target=_read_cases, kwargs=arguments)
            child.start()
            while child.is_alive():
                child.join(1)
                if time.monotonic() - tally.began > HANGING_S:
                    child.kill()
                    child.join()
            if child.exitcode and child.exitcode > 0:
                # An exception that no case raised: a defect of the harness.
                said = (folder / "stderr").read_text(errors="replace")
                raise SystemExit(said)
            if child.exitcode:
                # Dead or hanging: the case that it was at is the finding.
                how = "hangs" if child.exitcode == -signal.SIGKILL else f"died-{child.exitcode}"
                case = folder / "case"
                _keep(corpus, name, how, case.read_bytes() if case.exists() else b"")
                tally.findings += 1
                tally.number += 1
    return {
        "target": name, "cases": tally.number, "read": tally.read, "refused": tally.refused,
        "findings": tally.findings, "slowest s": round(tally.slowest, 2),
        "grew MiB": tally.peak >> 10, "seconds": round(time.monotonic() - started),
        "seed": seed,
    }  # fmt: skip


def _read_cases(
    *, name: str, specimens: Specimens, folder: Path, corpus: Path, tally: Any, end: float,
    seed: int, cases: int, known: set[str],
) -> None:  # fmt: skip
    """Read cases in this process, beginning with the number that the tally is at."""
    # What codecs say of odd files; of a process that dies it is shown.
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target = TARGETS[name](specimens, folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while time.monotonic() < end and (not cases or tally.number < cases):
        random = Random(f"{seed}/{name}/{tally.number}")  # noqa: S311  # cases, no secrets
        content = target.make(random)
        (folder / "case").write_bytes(content)
        tally.began = time.monotonic()
        # What it computes, children too: others may hold the processors meanwhile.
        busy = sum(os.times()[:4])
        problem = find_problem(target, content)
        if problem in {"read", "refused"}:
            setattr(tally, problem, getattr(tally, problem) + 1)
            problem = ""
        took = sum(os.times()[:4]) - busy
        tally.slowest = max(tally.slowest, took)
        grew = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if took > target.limit_s:
            problem = problem or f"took-{took:.0f}s"
        if grew > MEMORY_KIB:
            problem = problem or f"grew-{grew >> 10}MiB"
            before += grew
        tally.peak = max(tally.peak, grew)
        if problem:
            tally.findings += 1
            if problem not in known:
                known.add(problem)
                _keep(corpus, name, f"{problem} seed {seed} number {tally.number}", content)
        tally.number += 1


def find_problem(target: Target, content: bytes) -> str:
    """Return `read`, `refused`, or what was raised and where."""
    try:
        target.read(content)
    except FercliError:
        return "refused"
    except Exception as reason:  # noqa: BLE001  # whatever it is, it is what is looked for
        frames = traceback.extract_tb(reason.__traceback__)
        own = [frame for frame in frames if "/fercli/" in frame.filename]
        frame = (own or frames)[-1]
        return f"{type(reason).__name__} {Path(frame.filename).name} {frame.lineno}"
    return "read"


def _keep(corpus: Path, name: str, problem: str, content: bytes) -> None:
    path = corpus / f"{name} {problem}".replace(" ", "_").replace("/", "_")
    path.write_bytes(content)
    print(f"finding: {path}", flush=True)


def main() -> int:
    """Print a line per target; the status is 1 where something was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="default: all")
    parser.add_argument("--seconds", type=float, default=600, help="of each target; default 600")
    parser.add_argument("--seed", type=int, default=1, help="draws the cases; default 1")
    parser.add_argument("--cases", type=int, default=0, help="end after so many; default: none")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time; default 1")
    parser.add_argument("--case", type=Path, help="read this file once, as the one target given")
    default = Path(tempfile.gettempdir()) / "fercli-fuzz"
    parser.add_argument("--corpus", type=Path, default=default, help=f"default {default}")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    found = 0
    corpus, case = options.corpus.resolve(), options.case and options.case.resolve()
    # Paths stand in what is written: relative ones are the same at every run.
    with open_work_folder() as folder, contextlib.chdir(folder):
        specimens = write_specimens(Path("specimens"))
        if case:
            Path("work").mkdir()
            TARGETS[names[0]](specimens, Path("work")).read(case.read_bytes())
            return 0
        run = partial(
            fuzz, specimens=specimens, corpus=corpus,
            seconds=options.seconds, seed=options.seed, cases=options.cases,
        )  # fmt: skip
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
            for row in pool.map(run, names):
                found += row["findings"]
                print(" | ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
