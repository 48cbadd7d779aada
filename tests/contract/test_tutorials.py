"""Tutorials and notebooks, from top to bottom, as somebody follows them.

Only the size of the network and of the data is another.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

import fercli
from fercli.recipes import RECIPES

if TYPE_CHECKING:
    from typer.testing import Result

    from fercli.config import TrainConfig
    from fercli.data import Dataset

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = [path for path in sorted((DOCS / "tutorials").glob("*.md")) if path.stem != "index"]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LIMIT = 200_000
"""Bytes of a notebook."""


def find_blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each block that is to be run."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL)


@pytest.fixture(autouse=True)
def small(tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled models, and `fast` with a network that trains at once."""
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.setattr("fercli.model_files._ASSETS", Path(fercli.__file__).parent / "assets")
    monkeypatch.setattr("fercli.recipes.RECIPES", {**RECIPES, "fast": tiny_config})


@pytest.fixture
def folder(
    faces: Dataset,
    photo: Path,
    make_table: Callable[..., Path],
    make_clip: Callable[..., Path],
    tmp_path: Path,
) -> Path:
    """What the reader brings: FER2013's table, FER+'s votes, a photo, photos in folders, a clip."""
    usages = ["Training"] * 64 + ["PublicTest"] * 32 + ["PrivateTest"] * 32
    rows = [
        (faces.labels[row], " ".join(map(str, faces.images[row].ravel())), usage)
        for row, usage in enumerate(usages)
    ]
    make_table(tmp_path / "fer2013.csv", rows)
    write_votes(tmp_path / "fer2013new.csv", rows)
    Image.open(photo).convert("RGB").save(tmp_path / "photo.jpg")
    (tmp_path / "my-photos" / "smiling").mkdir(parents=True)
    Image.open(photo).convert("RGB").save(tmp_path / "my-photos" / "smiling" / "one.jpg")
    make_clip(tmp_path / "clip.mp4", "ffffffffff", "mp4v")
    return tmp_path


def write_votes(path: Path, rows: list[tuple[Any, str, str]]) -> None:
    """Write FER+'s table for a table; everybody is for its label."""
    words = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
             "unknown", "NF")  # fmt: skip
    order = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    lines = [f"Usage,Image name,{','.join(words)}"]
    for label, _, usage in rows:
        votes = ["10" if word == order[int(label)] else "0" for word in words]
        lines.append(f"{usage},,{','.join(votes)}")
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_tutorials_can_be_followed(
    page: Path, folder: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    n_commands = 0

    for language, block in find_blocks(page):
        if language == "python":
            # Each by itself: readers pass over what they do not need.
            exec(compile(block, str(page), "exec"), {})  # noqa: S102  # our own pages
            continue
        for line in block.splitlines():
            assert line.startswith("fer "), line
            result = run(*shlex.split(line)[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"
            n_commands += 1

    assert n_commands


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, object] = {}

    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"])
            exec(compile(code, path.name, "exec"), names)  # noqa: S102  # our own notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_small_results_and_no_place(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    results = [one for cell in cells for one in cell.get("outputs", [])]

    assert len(text) < LIMIT
    assert results
    assert [one for one in results if one["output_type"] == "error"] == []
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)


def test_there_are_tutorials_and_notebooks() -> None:
    assert len(TUTORIALS) == 5
    assert len(NOTEBOOKS) == 2
