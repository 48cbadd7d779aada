from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fercli

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
        (("faces", "--address", "head:6379"), "--address names a Ray cluster"),
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


@pytest.mark.usefixtures("actors_here")
def test_an_interrupted_file_is_gone_on_with(
    run: Run, trained: RunFolder, face_files: Path, make_clip: Callable[..., Path]
) -> None:
    """Within an archive too; a video is begun anew."""
    shutil.make_archive(str(face_files / "more"), "zip", face_files)
    make_clip(face_files / "clip.mp4", "fbf", "mp4v")
    words = ["predict", "faces", "--model", trained.onnx]
    assert run(*words, "--output", "one.jsonl").exit_code == 0
    lines = Path("one.jsonl").read_bytes().splitlines(keepends=True)

    for count in range(0, len(lines), 2):
        kept = b"".join(lines[:count]) + lines[count][:20]
        Path("ray.jsonl.partial").write_bytes(kept)
        result = run(*words, "--output", "ray.jsonl", "--engine", "ray", "--resume", "--json")
        assert result.exit_code == 0, result.stderr
        assert Path("ray.jsonl").read_bytes() == b"".join(lines)
        data = json.loads(result.stdout)["data"]
        assert data["n_resumed"] + data["n_inputs"] == 11
        Path("ray.jsonl").unlink()


@pytest.mark.usefixtures("actors_here")
def test_a_part_is_the_same(run: Run, trained: RunFolder, face_files: Path) -> None:
    shutil.make_archive(str(face_files / "more"), "tar", face_files)
    words = ["predict", "faces", "--model", trained.onnx, "--shard", "1/2", "--format", "csv"]

    assert run(*words, "--output", "here").exit_code == 0
    assert run(*words, "--output", "spread", "--engine", "ray").exit_code == 0

    for name in ("part-00001-of-00002.csv", "part-00001-of-00002.side.jsonl"):
        assert Path("spread", name).read_bytes() == Path("here", name).read_bytes()


@pytest.mark.usefixtures("actors_here")
def test_python_has_the_engine(trained: RunFolder, face_files: Path) -> None:
    model = fercli.load(trained.onnx)

    assert list(model.predict_files(face_files, engine="ray")) == list(
        model.predict_files(face_files)
    )
    with pytest.raises(ValueError, match="engine"):
        model.predict_files(face_files, engine="dask")  # type: ignore[arg-type]  # on purpose
