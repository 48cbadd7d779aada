"""Who may read what we write: whoever the umask says, and nobody else."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def list_modes(folder: Path) -> dict[str, int]:
    """Return the permissions of everything below a folder; folders' names end with a slash."""
    found = {}
    for path in folder.rglob("*"):
        if not path.is_symlink():
            name = f"{path.relative_to(folder)}{'/' if path.is_dir() else ''}"
            found[name] = stat.S_IMODE(path.stat().st_mode)
    return found


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "mask", [0o000, pytest.param(0o022, marks=SLOW), pytest.param(0o077, marks=SLOW)], ids=oct
)
def test_files_have_the_permissions_that_the_umask_leaves(
    run: Run,
    tmp_path: Path,
    photo: Path,
    make_clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    mask: int,
) -> None:
    clip = make_clip(tmp_path.parent / f"{tmp_path.name}.webm", "ff")
    work = tmp_path / "work"
    with umask(mask):
        work.mkdir()
        monkeypatch.chdir(work)
        monkeypatch.setenv("FERCLI_HOME", str(work / "home"))
        for words in (
            ("data", "prepare", "synthetic:120"),
            ("data", "check", "--output", "checked"),
            ("train", "--recipe", "tiny", "--epochs", 1, "--batch-size", 32,
             "--output", "runs/one"),
            ("evaluate", "runs/one", "--output", "evaluated", "--split", "public"),
            ("compare", "runs/one", "runs/one/model.onnx", "--output", "compared"),
            ("export", "runs/one", "--output", "exported/model.onnx"),
            ("explain", photo, "--model", "runs/one", "--output", "explained"),
            ("info", "runs/one", "--card", "card.md", "--diagram", "diagram.svg"),
            ("predict", photo, "--model", "runs/one", "--output", "rows/rows.csv", "--annotate",
             "framed", "--sort-into", "sorted", "--montage", "montage.png"),
            ("predict", photo, "--model", "runs/one", "--output", "rows/rows.parquet"),
            ("predict", clip, "--model", "runs/one", "--output", "rows/clip.jsonl", "--every", 0,
             "--annotate", "clip.webm", "--timeline", "timeline.html"),
            ("predict", photo, "--model", "runs/one", "--shard", "0/1", "--output", "parts"),
            ("merge", "parts", "--output", "merged.jsonl"),
        ):  # fmt: skip
            result = run(*words)
            assert result.exit_code == 0, (words, result.output)

    modes = list_modes(work)

    assert len(modes) > 30
    wanted = {name: (0o777 if name.endswith("/") else 0o666) & ~mask for name in modes}
    assert {name: oct(mode) for name, mode in modes.items() if mode != wanted[name]} == {}
    assert {"rows/rows.csv", "clip.webm", "runs/one/model.onnx", "exported/model.onnx"} <= set(
        modes
    )
