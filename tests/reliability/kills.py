"""Kill commands at random moments and let them go on: `nox -s kills -- --kills 100`.

A command is started, killed without a word (SIGKILL) at a moment that is drawn, and started again
as a user would, with `--resume` where it has one, until it comes to its end. After every kill what
was there before must be whole; at the end every file is, byte for byte, that of an undisturbed run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from random import Random
from typing import Final

from commands import COMMANDS, Stage, build_stage, import_all, kill, run, start, wait
from specimens import open_work_folder

__all__ = ["chase", "main"]

KILLED: Final = ("train", "predict-resumed", "predict-shard", "prepare", "merge", "export")
LIVES: Final = 6
"""Most kills of one command before it is left alone."""


def chase(stage: Stage, *, n_kills: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Kill a command so many times; return counts and what did not hold."""
    random = Random(f"{seed}/{stage.name}")  # noqa: S311  # moments, no secrets
    stderr = stage.folder / "stderr"
    counts: Counter[str] = Counter()
    problems: list[str] = []
    while counts["kills"] < n_kills and counts["lives"] < 10 * n_kills:
        stage.reset()
        for _ in range(LIVES):
            number = start(stage.list_again(), stderr)
            time.sleep(random.uniform(0, 1.1 * stage.duration_s))
            kill(number)
            ended = wait(number, stderr)
            counts["lives"] += 1
            counts["kills"] += ended.status == -9
            problems += [f"{stage.name}, killed: {problem}" for problem in stage.find_broken()]
            if ended.status != -9:
                break
            if counts["kills"] >= n_kills:
                break
        ended = run(stage.list_again(), stderr)
        counts["ends"] += 1
        differing = stage.find_differences()
        # Of a command that had come to its end, and finds its output there, a refusal is right.
        is_done = ended.status == 2 and "is already there" in ended.stderr
        if differing or (ended.status and not is_done):
            problems.append(
                f"{stage.name}: status {ended.status}, {differing} {ended.stderr[-300:]}"
            )
    return counts, problems


def main() -> int:
    """Print a line per command; the status is 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--command", choices=list(COMMANDS), action="append",
                        help=f"default: {', '.join(KILLED)}")  # fmt: skip
    parser.add_argument("--kills", type=int, default=100, help="of each; default 100")
    parser.add_argument("--seed", type=int, default=1, help="draws the moments; default 1")
    options = parser.parse_args()
    import_all()
    found: list[str] = []
    names = options.command or list(KILLED)
    with open_work_folder() as folder, build_stage(folder, names) as build:
        for name in names:
            began = time.monotonic()
            counts, problems = chase(build(name), n_kills=options.kills, seed=options.seed)
            found += problems
            print(f"{name}: {counts['kills']} kills in {counts['lives']} starts, {counts['ends']} "
                  f"ends, {len(problems)} problems, {time.monotonic() - began:.0f} s",
                  flush=True)  # fmt: skip
            for problem in problems:
                print(f"  {problem}", flush=True)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
