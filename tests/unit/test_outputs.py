from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from fercli.errors import ConfigError, OutputExistsError
from fercli.prediction import FilePrediction
from fercli.prediction.outputs import OutputFolder, Sorter
from fercli.results import PredictionRow

NO_FACES = np.empty((0, 48, 48), dtype=np.uint8)


def fill(folder: OutputFolder, source: str, content: bytes, **options: str) -> None:
    Path(source).parent.mkdir(parents=True, exist_ok=True)
    Path(source).touch()

    def write(stream: BinaryIO) -> None:
        stream.write(content)

    folder.add(Path(source), write, **options)


def read(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_inputs_keep_their_names_below_the_roots() -> None:
    folder = OutputFolder(Path("out"), [Path("faces")])

    fill(folder, "faces/sub/a.png", b"1")
    fill(folder, "elsewhere/b.png", b"2")
    fill(folder, "c.gif", b"3", suffix=".jpg")
    fill(folder, "d.JPG", b"4", suffix=".jpg", below="happy")

    assert read("out") == {
        "sub/a.png": b"1", "b.png": b"2", "c.gif.jpg": b"3", "happy/d.JPG": b"4",
    }  # fmt: skip


def test_the_same_name_twice_gets_the_next_number() -> None:
    folder = OutputFolder(Path("out"), [])

    for number, source in enumerate(("x/a.png", "y/a.png", "z/a.png"), start=1):
        fill(folder, source, b"%d" % number)

    assert read("out") == {"a.png": b"1", "a-2.png": b"2", "a-3.png": b"3"}


def test_a_folder_that_holds_something_is_refused() -> None:
    Path("out").mkdir()
    OutputFolder(Path("out"), [])
    Path("out/old.png").write_bytes(b"old")

    with pytest.raises(OutputExistsError, match="out is not empty"):
        OutputFolder(Path("out"), [])
    with pytest.raises(OutputExistsError, match="is a file"):
        OutputFolder(Path("out/old.png"), [])
    for flag in ("force", "keep"):
        OutputFolder(Path("out"), [], **{flag: True})


def test_a_folder_of_inputs_is_refused_even_when_forced() -> None:
    Path("faces/sub").mkdir(parents=True)

    for root in ("faces", "faces/sub"):
        with pytest.raises(ConfigError, match="contains the inputs"):
            OutputFolder(Path("faces"), [Path(root)], force=True)


def test_forced_what_was_there_is_overwritten_once() -> None:
    Path("out").mkdir()
    Path("out/a.png").write_bytes(b"old")
    folder = OutputFolder(Path("out"), [], force=True)

    fill(folder, "x/a.png", b"1")
    fill(folder, "y/a.png", b"2")

    assert read("out") == {"a.png": b"1", "a-2.png": b"2"}


def test_kept_nothing_is_overwritten_whatever_is_forced() -> None:
    Path("out").mkdir()
    Path("out/a.png").write_bytes(b"of another input")

    fill(OutputFolder(Path("out"), [], force=True, keep=True), "y/a.png", b"2")

    assert read("out") == {"a.png": b"of another input", "a-2.png": b"2"}


def test_forced_an_input_is_not_overwritten_by_another_name() -> None:
    Path("out").mkdir()
    Path("a.png").write_bytes(b"input")
    Path("out/a.png").hardlink_to("a.png")

    fill(OutputFolder(Path("out"), [], force=True), "a.png", b"1")

    assert read("out") == {"a.png": b"input", "a-2.png": b"1"}


def test_kept_the_same_content_is_not_written_twice() -> None:
    Path("out").mkdir()
    Path("out/a.png").write_bytes(b"same")
    folder = OutputFolder(Path("out"), [], keep=True)

    fill(folder, "a.png", b"same")
    fill(folder, "b/a.png", b"other")

    assert read("out") == {"a.png": b"same", "a-2.png": b"other"}


def test_a_file_that_fails_leaves_nothing() -> None:
    def fail(_stream: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        OutputFolder(Path("out"), []).add(Path("a.png"), fail)

    assert list(Path("out").iterdir()) == []


@pytest.mark.parametrize(
    ("status", "label", "place"),
    [("ok", "happy", "happy/a.png"), ("no_face", None, "no_face/a.png"), ("unreadable", None, "")],
)
def test_files_are_sorted_by_what_was_said_of_them(
    status: str, label: str | None, place: str
) -> None:
    Path("a.png").write_bytes(b"x")
    row = PredictionRow(path="a.png", status=status, label=label)
    for link in (False, True):
        sorter = Sorter(OutputFolder(Path(f"out-{link}"), []), link=link)

        sorter.add(FilePrediction(Path("a.png"), (row,), NO_FACES))

        assert read(f"out-{link}") == ({place: b"x"} if place else {})
        assert sorter.describe().startswith("1 file sorted" if place else "0 files sorted")
    if place:
        assert Path("out-True", place).readlink() == Path("a.png").absolute()


def test_a_label_is_no_way_out_of_the_folder(tmp_path: Path) -> None:
    row = PredictionRow(path="a.png", status="ok", label="../../../etc")
    (tmp_path / "a.png").write_bytes(b"x")
    sorter = Sorter(OutputFolder(tmp_path / "out", [tmp_path]))

    sorter.add(FilePrediction(tmp_path / "a.png", (row,), NO_FACES))

    (stored,) = (tmp_path / "out").rglob("a.png")
    assert stored.parent.parent == tmp_path / "out"
