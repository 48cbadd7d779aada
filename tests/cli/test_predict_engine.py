from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from typer.testing import Result

    from fercli.runs import RunFolder

Run = Callable[..., "Result"]


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ray not be installed."""
    monkeypatch.setattr(
        "fercli.dependencies.importlib.util.find_spec",
        lambda name, find=sys.modules["importlib.util"].find_spec: (
            None if name == "ray" else find(name)
        ),
    )


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("more", [(), ("--shard", "0/2", "--output", "parts")])
def test_without_ray(run: Run, trained: RunFolder, face_files: Path, more: tuple[str, ...]) -> None:
    result = run("predict", face_files, "--model", trained.onnx, "--engine", "ray", *more)

    assert result.exit_code == 5
    assert result.stdout == ""
    assert "ray cannot be imported" in result.stderr
    assert "hint: pip install 'fercli[ray]'" in result.stderr.splitlines()
    assert not Path("parts").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("faces", "--engine", "dask"), "engine"),
        (("faces", "--address", "head:6379"), "--address is of a Ray cluster"),
        (("faces", "--engine", "ray", "--annotate", "framed"), "--annotate needs the pixels"),
        (("faces", "--engine", "ray", "--sort-into", "by"), "--sort-into needs the pixels"),
        (("faces", "--engine", "ray", "--montage", "m.png"), "--montage needs the pixels"),
        (("clip.mp4", "--engine", "ray", "--timeline", "t.png"), "--timeline needs the pixels"),
        (("0", "--engine", "ray"), "a live source needs the pixels"),
    ],
)
def test_what_does_not_go_with_an_engine(
    run: Run, face_files: Path, words: tuple[str, ...], said: str
) -> None:
    assert face_files.exists()

    result = run("predict", *words, "--json")

    assert result.exit_code == 2
    assert said in result.stderr
