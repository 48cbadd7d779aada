"""What newcomers type: each gets a sentence, and the next thing to type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("words", "example"),
    [
        (["predict"], "fer predict faces/"),
        (["explain"], "fer explain faces/"),
        (["models", "fetch"], "fer models fetch yunet"),
        (["data", "prepare"], "fer data prepare fer2013.csv.gz"),
    ],
)
def test_a_missing_word_gets_an_example(run: Run, words: list[str], example: str) -> None:
    result = run(*words)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: Missing argument")
    assert f"\nhint: {example}, for example; see fer {' '.join(words)} --help\n" in result.stderr


def test_other_wrong_usage_gets_none(run: Run) -> None:
    assert "for example" not in run("predict", "--nonsense").stderr


@pytest.mark.parametrize("words", [["predict", "gone.jpg"], ["predict", "*.gone"]])
def test_a_path_in_another_folder_is_told_where_it_was_looked_for(
    run: Run, words: list[str], tmp_path: Path
) -> None:
    result = run(*words)

    assert result.exit_code == 3
    assert f"hint: it was looked for in the current folder, {tmp_path}\n" in result.stderr


def test_a_whole_path_says_itself_where(run: Run, tmp_path: Path) -> None:
    assert "hint" not in run("predict", tmp_path / "gone.jpg").stderr


@pytest.mark.parametrize("folder", [".", "faces", "/"])
def test_a_file_of_a_name_alike_is_named(run: Run, folder: str, tmp_path: Path) -> None:
    place = tmp_path if folder == "/" else Path(folder)
    place.mkdir(exist_ok=True)
    (place / "fer2013.csv.gz").touch()

    result = run("data", "prepare", place / "fer2013.csv")

    assert result.exit_code == 3
    assert f"hint: did you mean {str(place / 'fer2013.csv.gz')!r}?\n" in result.stderr


@pytest.mark.parametrize("name", ["my photos", "Fotos vom Höhle 2"])
def test_a_name_with_spaces_is_told_to_be_quoted(run: Run, name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()

    result = run("predict", "--faces", "whole", *name.split())

    assert result.exit_code in {2, 3}
    assert f'hint: put a name with spaces in quotes: "{name}"' in result.stderr


def test_so_many_words_are_no_name(run: Run) -> None:
    words = [f"gone-{number}" for number in range(1000)]

    assert "hint: it was looked for" in run("predict", *words).stderr


@pytest.mark.usefixtures("bundled")
@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("bse", "'base'"), ("fast", "'runs/fast'"), ("runs/fsat", "'runs/fast'"),
        ("runs/typo", None), ("typo.onnx", None),
    ],
)  # fmt: skip
def test_a_model_is_guessed_by_its_last_name(
    run: Run, word: str, meant: str | None, tmp_path: Path
) -> None:
    Path("runs/fast").mkdir(parents=True)
    Path("runs/fast/run.json").write_text("{}")

    result = run("evaluate", word)

    assert result.exit_code == 4
    sentence = f"error: there is no model at {word}"
    end = f"; did you mean {meant}?" if meant else ""
    assert f"{sentence}{end}\n" in result.stderr
    assert "`fer models list`" in result.stderr
    is_path = word not in {"bse", "fast"}
    assert (f"in the current folder, {tmp_path}; " in result.stderr) == is_path


def test_without_data_the_ways_on_are_named(run: Run) -> None:
    result = run("train")

    assert result.exit_code == 3
    for way in ("fer data download", "fer data prepare SOURCE", "--data synthetic"):
        assert way in result.stderr


def test_missing_data_is_told_where_it_was_looked_for(run: Run, tmp_path: Path) -> None:
    for words in (["train", "--data"], ["data", "prepare"], ["data", "check"]):
        result = run(*words, "gone.csv")

        assert result.exit_code == 3
        assert f"in the current folder, {tmp_path}\n" in result.stderr
    assert "fer data download" in run("train", "--data", tmp_path / "gone.csv").stderr


@pytest.mark.parametrize(
    ("name", "way"), [("rows.xlsx", "write a .csv with --excel"), ("rows.txt", "give --format")]
)
def test_other_tables_are_told_what_there_is(run: Run, name: str, way: str) -> None:
    Path("face.png").touch()

    result = run("predict", "face.png", "--output", name)

    assert result.exit_code == 2
    assert f"does not end in .jsonl, .csv or .parquet: {way}\n" in result.stderr


@pytest.mark.parametrize(
    ("word", "whole"), [("prepare", "fer data prepare"), ("list", "fer models list")]
)
def test_a_command_without_its_group_is_completed(run: Run, word: str, whole: str) -> None:
    result = run(word, "fer2013.csv")

    assert result.exit_code == 2
    assert f"\nhint: {whole}; see fer --help\n" in result.stderr
    assert "\nhint: see fer --help\n" in run("teach").stderr


def test_a_picture_is_no_dataset(run: Run, face_files: Path) -> None:
    result = run("train", "--data", face_files / "face-0.png")

    assert result.exit_code == 3
    assert "face-0.png is a picture, not a dataset\nhint: `fer predict` reads it" in result.stderr
