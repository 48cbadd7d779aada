"""Change one point of a module at a time, and see whether its tests notice.

    python scripts/mutate.py src/fercli/metrics src/fercli/training/schedule.py \
        --tests tests/unit tests/numerics/test_loss.py --count 40
    python scripts/mutate.py "src/fercli/storage.py:192: NotEq for its opposite" --tests tests/unit

Every mutant is tried on a copy of the package, in a forked process that has the heavy libraries
already; the checkout stays as it is. A survivor is a line that could be wrong unnoticed, or one
whose change changes nothing. What is printed of it names it, so that it can be tried again; a file
with a line stands for all mutants of that line. Needs a system that can fork.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src"
NOTICED_BY: Final = "noticed-by"
"""The file that names the test, beside the copy of the package."""
SWAPS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,  # codespell:ignore
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A point of a module, and what is changed there."""

    path: Path
    line: int
    change: str
    place: int
    """Of the node, in the order of `walk`."""
    number: int
    """Of the change, among those of the node."""

    def build(self) -> str:
        """Return the module with it."""
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        node = next(item for index, item in enumerate(walk(tree)) if index == self.place)
        list(find_changes(node))[self.number][1]()
        return ast.unparse(ast.fix_missing_locations(tree))


def find_changes(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield what may be changed about a node, and what does it, in place."""

    def put(name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(node, name, value)

    match node:
        case ast.Compare(ops=operators):
            for place, operator in enumerate(operators):
                swapped = [*operators[:place], SWAPS[type(operator)](), *operators[place + 1 :]]
                yield f"{type(operator).__name__} for its opposite", put("ops", swapped)
        case ast.BoolOp(op=operator) | ast.BinOp(op=ast.Add() | ast.Sub() as operator):
            yield f"{type(operator).__name__} for its opposite", put("op", SWAPS[type(operator)]())
        case ast.Constant(value=bool() | int() | float() as value):
            others = (not value,) if isinstance(value, bool) else (value + 1, value - 1)
            yield from ((f"{value} to {other}", put("value", other)) for other in others)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "return None", put("value", ast.Constant(None))


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes whose change could be noticed: no annotations, decorators or `strict=`."""
    yield node
    skipped = {"annotation", "returns", "decorator_list"}
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            is_code = isinstance(child, ast.AST) and name not in skipped
            if is_code and not (isinstance(child, ast.keyword) and child.arg == "strict"):
                yield from walk(child)


def list_mutants(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    for place, node in enumerate(walk(ast.parse(path.read_text(encoding="utf-8")))):
        for number, (change, _) in enumerate(find_changes(node)):
            yield Mutant(path, getattr(node, "lineno", 0), change, place, number)


class FirstFailure:
    """A plugin of pytest that writes down which test noticed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down a test that failed."""
        if report.failed:
            self._path.write_text(report.nodeid, encoding="utf-8")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write down a file that could not be imported."""
        if report.failed:
            self._path.write_text(report.nodeid, encoding="utf-8")


def run_tests(package: Path, tests: list[str], limit_s: int) -> None:
    """Run tests on a copy of the package; the status of this process says how they ended."""
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(package))
    os.environ.update(PYTHONPATH=str(package), PYTHONDONTWRITEBYTECODE="1")
    options = ["-x", "-q", "-p", "no:cacheprovider", *tests]
    sys.exit(int(pytest.main(options, plugins=[FirstFailure(package / NOTICED_BY)])))


def try_tests(package: Path, tests: list[str], limit_s: int) -> str:
    """Return how the tests ended: `survived`, `noticed`, or `endless` where none ends in time.

    Seconds are of computing, so that a busy machine ends nothing; what waits for ever is given
    four times as many by the clock.
    """
    context = multiprocessing.get_context("fork")
    process = context.Process(target=run_tests, args=(package, tests, limit_s))
    process.start()
    process.join(4 * limit_s)
    if process.is_alive():
        process.kill()
        process.join()
        return "endless"
    if process.exitcode == -signal.SIGXCPU:
        return "endless"
    return "noticed" if process.exitcode else "survived"


def measure_computing() -> float:
    """Return the seconds of computing of all tests so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def find_mutants(name: str) -> list[Mutant]:
    """Return the mutants of a folder's modules, of a file, of `FILE:LINE` or of one's own words."""
    path, line, change = [*(part.strip() for part in name.split(":", 2)), "", ""][:3]
    files = sorted(Path(path).rglob("*.py")) or [Path(path)]
    mutants = [mutant for file in files for mutant in list_mutants(file.resolve())]
    return [
        mutant for mutant in mutants
        if mutant.line == int(line or mutant.line) and mutant.change == (change or mutant.change)
    ]  # fmt: skip


def put_first(tests: list[str], stem: str) -> list[str]:
    """Return the tests in the order that likely notices a change of a module soonest."""
    return sorted(tests, key=lambda name: stem.lstrip("_") not in name)


def main() -> int:
    """Print the survivors and the score; the status is 1 where the tests fail by themselves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="+", help="files, folders, FILE:LINE or survivors")
    parser.add_argument("--tests", nargs="+", required=True, help="as pytest takes them")
    parser.add_argument("--count", type=int, default=40, help="mutants to draw; default 40")
    parser.add_argument("--seed", type=int, default=0, help="draws them")
    parser.add_argument("--limit", type=int, default=60, help="seconds of one mutant's tests")
    options = parser.parse_args()
    mutants = [mutant for name in options.modules for mutant in find_mutants(name)]
    drawn = random.Random(options.seed).sample(mutants, min(options.count, len(mutants)))  # noqa: S311
    for name in ("numpy", "torch", "onnx", "onnxruntime", "scipy.stats", "cv2", "PIL.Image"):
        importlib.import_module(name)
    ends = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        shutil.copytree(SOURCE, package, dirs_exist_ok=True)
        if try_tests(package, options.tests, options.limit) != "survived":
            print("the tests fail, or take too long, without any change")
            return 1
        print(f"{measure_computing():.0f} s of computing without any change", flush=True)
        for mutant in sorted(drawn, key=lambda item: (item.path, item.line)):
            place = mutant.path.relative_to(SOURCE)
            (package / place).write_text(mutant.build(), encoding="utf-8")
            tests = put_first(options.tests, mutant.path.stem)
            before = measure_computing()
            end = try_tests(package, tests, options.limit)
            ends[end] += 1
            noticed_by = package / NOTICED_BY
            who = f" by {noticed_by.read_text(encoding='utf-8')}" if noticed_by.exists() else ""
            noticed_by.unlink(missing_ok=True)
            took = measure_computing() - before
            what = f"src/{place}:{mutant.line}: {mutant.change}"
            print(f"{end}: {what}{who} ({took:.0f} s)", flush=True)
            shutil.copyfile(mutant.path, package / place)
    survivors = ends["survived"]
    score = 1 - survivors / max(1, len(drawn))
    print(f"{len(drawn) - survivors} of {len(drawn)} mutants noticed ({score:.0%}), "
          f"of {len(mutants)} possible ones; {ends['endless']} by the clock alone; "
          f"{measure_computing():.0f} s of computing")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
