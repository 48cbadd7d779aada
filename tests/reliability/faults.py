"""Disturb every system call by which a command writes: `nox -s faults -- --command train`.

Each call below the command's folder that opens for writing, writes, syncs, renames, removes, cuts
or makes a folder is, one run each, (a) not reached, the process being killed before it, (b) failed
with ENOSPC, (c) failed with EIO. Then what was there must still be there byte for byte, or the new
file be whole; the status is a documented one, without a traceback, and 0 only where the result is
whole; the command, run again, succeeds and leaves the bytes of an undisturbed run.

strace does it, so calls of native writers (pyarrow, onnx, matplotlib) are seen as well. It follows
the main thread, which is where commands write; calls of other threads are counted as unseen. Linux
with strace only; elsewhere this says so and ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from commands import COMMANDS, Ended, Stage, build_stage, import_all, let_trace, run, start, wait
from specimens import open_work_folder

__all__ = ["Found", "attack", "find_points", "main"]

CALLS: Final = (
    "open", "openat", "creat", "write", "pwrite64", "writev", "pwritev", "sendfile",
    "copy_file_range", "fsync", "fdatasync", "sync_file_range", "rename", "renameat", "renameat2",
    "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "ftruncate", "truncate", "fallocate", "link",
    "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat",
)  # fmt: skip
FAULTS: Final = {"kill": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
_LINE: Final = re.compile(r"(?:(\d+)\s+)?(\w+)\((.*)")
_PAGE: Final = resource.getpagesize()
_OPENED: Final = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")


@dataclass(frozen=True)
class Point:
    """A system call: the how manyth of its name in the main thread."""

    call: str
    number: int
    text: str


@dataclass
class Found:
    """What came of disturbing a command."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def judge(self, stage: Stage, what: str, ended: Ended, *, killed: bool) -> None:
        """Look at what a fault left, then run the command again."""
        self.counts["faults"] += 1
        before = len(self.problems)
        if killed:
            self._check(ended.status == -9, f"{what}: ended with {ended.status}, not killed")
        else:
            self._check(
                ended.is_documented, f"{what}: status {ended.status}: {ended.stderr[-300:]}"
            )
        for problem in stage.find_broken():
            self.counts["broken"] += 1
            self.problems.append(f"{what}: {problem} (status {ended.status})")
        if ended.status == 0 and (differing := stage.find_differences()):
            self.counts["silent zeros"] += 1
            self.problems.append(
                f"{what}: status 0, and {', '.join(differing)} not as it should be"
            )
        self.counts["zeros"] += ended.status == 0
        again = run(stage.list_again(), stage.folder / "stderr")
        differing = stage.find_differences()
        if again.status or differing:
            self.counts["not mended"] += 1
            problem = f"run again: status {again.status}, differing: {differing}"
            self.problems.append(f"{what}: {problem} {again.stderr[-300:]}")
        self.counts["held"] += len(self.problems) == before

    def _check(self, holds: bool, problem: str) -> None:  # noqa: FBT001  # a condition
        if not holds:
            self.problems.append(problem)


def _trace(words: list[str], stderr: Path, log: Path, *options: str) -> Ended:
    """Run a command with strace at its side from the first instruction on."""
    reading, writing = os.pipe()

    def hold() -> None:
        let_trace()
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)

    number = start(words, stderr, before=hold)
    os.close(reading)
    traced = ",".join(f"?{call}" for call in CALLS)
    command = ["strace", "-y", "-s", "0", "-o", str(log), "-e", f"trace={traced}", *options]
    with subprocess.Popen([*command, "-p", str(number)], stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        # It says so as soon as it is there.
        ready, _, _ = select.select([tracer.stderr], [], [], 30)
        said = tracer.stderr.readline() if ready else b""
        if b"attached" not in said:
            os.kill(number, 9)
            raise RuntimeError(said.decode() or "strace does not attach")
        os.close(writing)
        return wait(number, stderr)


def find_points(stage: Stage) -> tuple[list[Point], int]:
    """Return the calls that write below the folder, undisturbed, and how many go unseen."""
    log = stage.folder / "trace"
    stage.reset()
    ended = _trace(stage.list_words(stage.command.words), stage.folder / "stderr", log, "-f")
    if ended.status:
        raise RuntimeError(ended.stderr)
    points: list[Point] = []
    numbers: Counter[str] = Counter()
    main, unseen = "", 0
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or match[2] not in CALLS:
            continue
        thread, call, rest = match.groups()
        main = main or thread
        is_ours = is_writing(call, rest, stage.work)
        if thread != main:
            unseen += is_ours
            continue
        numbers[call] += 1
        if is_ours:
            points.append(Point(call, numbers[call], rest))
    return points, unseen


def is_writing(call: str, rest: str, folder: Path) -> bool:
    """Return whether a traced call changes something below a folder."""
    opens = call in {"open", "openat"}
    return str(folder) in rest and (not opens or _OPENED.search(rest) is not None)


def disturb(stage: Stage, found: Found, points: list[Point], faults: dict[str, str]) -> None:
    """Run the command once for each point and fault."""
    for point in points:
        for fault, injected in faults.items():
            # Some calls before it come once more, or less, than at the first time: imports look.
            for shift in (0, 0, 1, -1, 2, -2):
                rule = f"inject={point.call}:{injected}:when={max(1, point.number + shift)}"
                ended = _strike(stage, point.call, rule, killed=fault == "kill")
                if ended is not None:
                    what = f"{found.name}, {fault} at {point.call} ({point.text[:160]})"
                    found.judge(stage, what, ended, killed=fault == "kill")
                    break
            else:
                found.counts["missed"] += 1
                found.notes.append(f"missed: {fault} at {point.call} ({point.text[:100]})")


def _strike(stage: Stage, call: str, rule: str, *, killed: bool) -> Ended | None:
    """Run the command with a fault; return None where it struck no call that writes."""
    stage.reset()
    log = stage.folder / "trace"
    ended = _trace(stage.list_words(stage.command.words), stage.folder / "stderr", log, "-e", rule)
    calls = filter(_LINE.match, log.read_text(errors="replace").splitlines())
    struck = list(calls)[-1:] if killed else [line for line in calls if "(INJECTED)" in line]
    match = _LINE.match(struck[-1]) if struck else None
    return ended if match and is_writing(call, match[3], stage.work) else None


# --- the disk itself ------------------------------------------------------------------------------


@contextlib.contextmanager
def _mount(folder: Path, options: str) -> Iterator[bool]:
    """Put a file system of its own at a folder; yield False where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "fercli", str(folder)]
    try:
        done = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        done = False
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", str(folder)], check=True)


def _count_pages(folder: Path) -> int:
    """Return what the files below a folder take on a tmpfs."""
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return sum(-(-size // _PAGE) for size in sizes)


def fill_disk(stage: Stage, found: Found) -> None:
    """Run the command on a real file system that is too small for it, at several sizes."""
    need = _count_pages(stage.work)
    for share in (0, 0.4, 0.8):
        n_free = int(need * share)
        shutil.rmtree(stage.work, ignore_errors=True)
        stage.work.mkdir()
        # One page is filled, since a size of none would mean no bound.
        size = (_count_pages(stage.before) + n_free + 1) * _PAGE
        with _mount(stage.work, f"size={size}") as is_mounted:
            if not is_mounted:
                found.counts["full disks skipped"] += 1
                return
            shutil.copytree(stage.before, stage.work, dirs_exist_ok=True)
            (stage.work / ".filled").write_bytes(bytes(_PAGE))
            ended = run(stage.list_words(stage.command.words), stage.folder / "stderr")
            what = f"{found.name}, a disk with {n_free} of {need} pages free"
            # Room again, as after something was deleted.
            subprocess.run(["mount", "-o", "remount,size=256m", str(stage.work)], check=True)
            found.judge(stage, what, ended, killed=False)
        found.counts["full disks"] += 1


def limit_files(stage: Stage, found: Found) -> None:
    """Run the command where no file may grow beyond some sizes."""
    for n_bytes in (0, 100, 1500, 6000):
        stage.reset()

        def limit(n_bytes: int = n_bytes) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
            # What it says goes where there is no such limit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

        ended = run(stage.list_words(stage.command.words), stage.folder / "stderr", limit)
        found.judge(stage, f"{found.name}, files of {n_bytes} bytes", ended, killed=False)
        found.counts["limited files"] += 1


def forbid_home(stage: Stage, found: Found) -> None:
    """Run the command with a home that nothing can be written to: it must need none."""
    home = Path(os.environ["FERCLI_HOME"])
    if home.is_relative_to(stage.work):
        # It is what the command is to write to.
        found.counts["homes skipped"] += 1
        return
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    with _mount(home, "ro") as is_mounted:
        if not is_mounted:
            home.chmod(0o500)
            if os.access(home, os.W_OK):
                found.counts["homes skipped"] += 1
                return
        stage.reset()
        homes = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")
        ended = run(
            stage.list_words(stage.command.words), stage.folder / "stderr",
            lambda: os.environ.update(dict.fromkeys(homes, str(home))),
        )  # fmt: skip
        if ended.status:
            found.problems.append(f"{found.name}, a read-only home: {ended.stderr[-300:]}")
        found.judge(stage, f"{found.name}, a read-only home", ended, killed=False)
        found.counts["homes"] += 1


SITUATIONS: Final[tuple[Callable[[Stage, Found], None], ...]] = (
    fill_disk,
    limit_files,
    forbid_home,
)


def attack(stage: Stage, *, match: str, sample: int, seed: int, situations: bool) -> Found:
    """Disturb a command at all points, at those of one file, or at some drawn ones."""
    found = Found(stage.name)
    started = time.monotonic()
    points, unseen = find_points(stage)
    found.counts.update({"points": len(points), "unseen": unseen})
    points = [point for point in points if match in point.text]
    if sample:
        points = Random(f"{seed}/{stage.name}").sample(points, min(sample, len(points)))  # noqa: S311
    disturb(stage, found, points, FAULTS)
    for situation in SITUATIONS if situations else ():
        situation(stage, found)
    found.seconds = time.monotonic() - started
    return found


COLUMNS: Final = (
    "points", "unseen", "faults", "held", "broken", "silent zeros", "zeros", "not mended", "missed",
    "full disks", "full disks skipped", "limited files", "homes", "homes skipped",
)  # fmt: skip


def main() -> int:
    """Print a line per command; the status is 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--command", choices=list(COMMANDS), action="append", help="default: all")
    parser.add_argument("--match", default="", help="only calls with this in a path, as run.json")
    parser.add_argument("--sample", type=int, default=0, help="points of each; default: all")
    parser.add_argument("--seed", type=int, default=1, help="draws a sample; default 1")
    parser.add_argument("--calls-alone", action="store_true", help="no full disk, no other limits")
    options = parser.parse_args()
    if not shutil.which("strace"):
        print("nothing was tested: strace is not installed (Linux: apt install strace)")
        return 0
    import_all()
    problems: list[str] = []
    names = options.command or list(COMMANDS)
    with open_work_folder() as folder, build_stage(folder, names) as build:
        for name in names:
            found = attack(
                build(name), match=options.match, sample=options.sample, seed=options.seed,
                situations=not options.calls_alone,
            )  # fmt: skip

            problems += found.problems
            row: dict[str, Any] = {column: found.counts[column] for column in COLUMNS}
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items() if value),
                  f"{found.seconds:.0f} s", flush=True)  # fmt: skip
            for problem in (*found.problems, *found.notes):
                print(f"  {problem}", flush=True)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
