from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from fercli.errors import ConfigError, InputNotFoundError
from fercli.prediction.annotate import Montage
from fercli.prediction.inputs import find_images, name_within


@pytest.fixture(autouse=True)
def tree(tmp_path: Path) -> Path:
    """Files in the working folder, in a folder of it and below that, some hidden."""
    for name in ("b.png", "faces/2.png", "faces/1.png", "faces/sub/3.png", "faces/.x/4.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")
    (tmp_path / "faces/.hidden.png").write_bytes(b"image")
    return tmp_path


def find(*words: str, stdin: tuple[str, ...] = (), outputs: tuple[str, ...] = ()) -> list[str]:
    return list(map(str, find_images(words, stdin, [Path(name) for name in outputs])))


FACES = ["faces/1.png", "faces/2.png", "faces/sub/3.png"]


def test_folders_are_sorted_and_words_keep_their_order() -> None:
    assert find("faces") == FACES
    assert find("faces/2.png", "b.png", "faces/1.png") == ["faces/2.png", "b.png", "faces/1.png"]
    # A hidden file that somebody names is wanted.
    assert find("faces/.hidden.png") == ["faces/.hidden.png"]


def test_patterns_name_each_file_once() -> None:
    assert find("faces/*") == ["faces/1.png", "faces/2.png", "faces/sub/3.png"]
    assert find("**/*.png") == ["b.png", *FACES]
    Path("odd[1].png").write_bytes(b"image")
    assert find("odd[1].png") == ["odd[1].png"]


def test_a_folder_beside_one_of_a_longer_name_is_searched_once() -> None:
    for name in ("g/a/x.png", "g/a-b/y.png", "g/a b/z.png"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_bytes(b"image")

    assert find("g/**/*") == ["g/a/x.png", "g/a b/z.png", "g/a-b/y.png"]


def test_lines_of_stdin_are_paths_and_need_not_be_there() -> None:
    assert find("-", stdin=("b.png\n", "\n", "gone.png\r\n")) == ["b.png", "gone.png"]


@pytest.mark.parametrize(
    ("word", "reason"),
    [("gone.png", "there is no file or folder 'gone.png'"), ("*.gif", "nothing matches '*.gif'")],
)
def test_what_is_missing_is_named(word: str, reason: str) -> None:
    with pytest.raises(InputNotFoundError) as caught:
        find("b.png", word)

    assert caught.value.message == reason


def test_nothing_at_all_is_refused() -> None:
    Path("empty").mkdir()

    with pytest.raises(InputNotFoundError, match="no images found in 'empty'"):
        find("empty")


def test_a_broken_link_is_a_file_that_cannot_be_read() -> None:
    Path("lost.png").symlink_to("nowhere.png")

    assert find("lost.png") == ["lost.png"]


def test_an_output_of_ours_is_no_input() -> None:
    montage = Montage(Path("faces/sheet.png"))
    montage.close()
    Path("faces/rows.csv").write_text("path,status\n")

    assert find("faces", outputs=("faces/sheet.png", "faces/rows.csv")) == FACES


def test_parquet_of_others_is_no_output_of_ours() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    own = {name: ["ok"] for name in ("path", "status", "confidence", "detector", "box_x")}
    parquet.write_table(pyarrow.table(own), "own.parquet")
    parquet.write_table(pyarrow.table({"image": [b"image"], "status": ["new"]}), "other.parquet")
    Path("torn.parquet").write_bytes(b"PAR1")

    assert find("*.parquet", "b.png", outputs=("own.parquet",))[-1] == "b.png"
    for name in ("other.parquet", "torn.parquet"):
        with pytest.raises(ConfigError, match="would overwrite"):
            find("*.parquet", outputs=(name,))


def test_somebodys_file_is_never_taken_for_an_output() -> None:
    for words in (("faces",), ("faces/1.png",), ("faces/*.png",)):
        with pytest.raises(ConfigError, match="would overwrite"):
            find(*words, outputs=("faces/1.png",))


def test_a_folder_that_is_filled_holds_no_inputs() -> None:
    with pytest.raises(ConfigError, match="faces and could be overwritten"):
        find("-", stdin=("faces/1.png",), outputs=("faces",))
    assert find("b.png", outputs=("faces",)) == ["b.png"]


def test_names_are_those_below_the_folder_that_was_given() -> None:
    roots = [PurePath("other"), PurePath("faces")]

    assert name_within(Path("faces/sub/3.png"), roots) == PurePath("sub/3.png")
    assert name_within(Path("b.png"), roots) == PurePath("b.png")
    # The folder itself, and a way out of it, leave only a file's own name.
    assert name_within(Path("faces"), roots) == PurePath("faces")
    assert name_within(Path("faces/../b.png"), roots) == PurePath("b.png")
