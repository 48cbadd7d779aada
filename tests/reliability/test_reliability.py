"""A small sample of the harnesses; `nox -s faults`, `kills`, `fuzz` and `rot` run all of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from fuzz import find_problem
from fuzz_targets import TARGETS
from rot import list_kinds, rot
from specimens import Specimens, write_specimens


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Specimens:
    return write_specimens(tmp_path_factory.mktemp("specimens"))


@pytest.mark.usefixtures("bundled")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(TARGETS))
def test_odd_inputs_are_read_or_refused(name: str, specimens: Specimens, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    target = TARGETS[name](specimens, folder)
    found = set()

    for number in range(25):
        content = target.make(Random(f"test/{name}/{number}"))  # noqa: S311  # cases, no secrets
        found.add(find_problem(target, content))
    target.close()

    assert found <= {"read", "refused"}


@pytest.mark.filterwarnings("ignore")
def test_rotten_files_are_refused_or_read_as_they_were(
    specimens: Specimens, tmp_path: Path
) -> None:
    copy = Specimens(tmp_path / "copy")
    shutil.copytree(specimens.folder, copy.folder)
    (tmp_path / "work").mkdir()
    kinds = dict(list_kinds(copy, tmp_path / "work"))

    for name, kind in kinds.items():
        row, problems = rot(name, kind, n_flips=8, seed=3)

        assert not problems
        assert row["noticed"] + row["harmless"] + row["left out"] + row["edited"] == 10
        assert row["edited"] == 0 or name in {"run.json", "metrics.csv"}
    assert len(kinds) == 16


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_a_disturbed_command_loses_nothing() -> None:
    script = Path(__file__).with_name("faults.py")
    words = [sys.executable, str(script), "--command", "prepare", "--sample", "2", "--calls-alone"]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "faults 6, held 6" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a system that can fork")
def test_a_killed_command_goes_on() -> None:
    script = Path(__file__).with_name("kills.py")
    words = [sys.executable, str(script), "--command", "prepare", "--kills", "3"]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills" in done.stdout
