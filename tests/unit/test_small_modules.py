from __future__ import annotations

import json
from pathlib import Path

import pytest

from fercli.errors import InputNotFoundError, ModelFileError
from fercli.metadata import RunRecord
from fercli.names import disarm_cell, hide_secrets, safe_name, shorten
from fercli.paths import find_data_home
from fercli.prediction import find_images
from fercli.runs import RunFolder, find_newest_run, name_run_directory, read_run_record


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.png", "plain.png"),
        ("Käse 日本.png", "Käse 日本.png"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("two\nlines", "two\\nlines"),
        ("bytes\udcff", "bytes\\udcff"),
        ("right\u202eleft", "right\\u202eleft"),
    ],
)
def test_names_are_shown_harmlessly(name: str, shown: str) -> None:
    assert safe_name(name) == shown


def test_folders_are_searched_sorted_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "sub/c.webp", ".git/d.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    found = [
        str(Path(path).relative_to(tmp_path)) for path in map(str, find_images([str(tmp_path)]))
    ]

    assert found == ["a.jpg", "b.PNG", "sub/c.webp"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    for words in (["missing.png"], ["*.nothing"], [str(tmp_path)], ["-"]):
        with pytest.raises(InputNotFoundError):
            find_images(words)


def test_run_folders_take_the_first_free_name(tmp_path: Path) -> None:
    assert name_run_directory("fast", tmp_path) == tmp_path / "fast"
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast-2").mkdir()
    assert name_run_directory("fast", tmp_path) == tmp_path / "fast-3"


def load_record() -> RunRecord:
    path = Path(__file__).parents[1] / "golden" / "run.json"
    return RunRecord.from_json(json.loads(path.read_text()), path=path)


def test_the_newest_run_is_the_last_finished(tmp_path: Path) -> None:
    for name, finished in (("a", "2026-01-02"), ("b", "2026-01-01"), ("c", None)):
        RunFolder(tmp_path / name).write_record(load_record().replace(finished_at=finished))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "run.json").write_text("{")

    assert find_newest_run(tmp_path) == tmp_path / "a"
    assert find_newest_run(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "run", "schema": 99}'])
def test_odd_records_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)

    with pytest.raises(ModelFileError):
        read_run_record(tmp_path)


def test_records_are_json(tmp_path: Path) -> None:
    record = load_record()
    RunFolder(tmp_path).write_record(record)

    assert json.loads((tmp_path / "run.json").read_text())["kind"] == "run"
    assert read_run_record(tmp_path) == record


def test_the_data_home_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FERCLI_HOME", str(tmp_path))
    assert find_data_home() == tmp_path
    monkeypatch.delenv("FERCLI_HOME")
    assert "fercli" in str(find_data_home())


def test_what_is_too_long_to_read_is_cut_out() -> None:
    word, text = "a" * 100_000, "b " * 50_000

    assert shorten(f"there is no {word} here") == (
        f"there is no {'a' * 400}[99,500 characters]{'a' * 100} here"
    )
    assert len(shorten(text)) < 600
    for whole in ("a" * 1000, "b " * 2500, ""):
        assert shorten(whole) == whole


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n", "'=1"])
def test_a_cell_that_would_run_begins_with_an_apostrophe(text: str) -> None:
    assert disarm_cell(text) == f"'{text}"
    assert disarm_cell(f" {text}") == f" {text}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:word@host/a?b=1", "https://host/a?b=1"),
        ("https://word@host", "https://host"),
        ("rtsp://me:wo/rd@host/x", "rtsp://host/x"),
        ("https://me:wo@rd@host/x", "https://host/x"),
        ("https://[::1, or https://me:word@[::1", "https://[::1, or https://[::1"),
        ("two: http://a:word@b/c and http://d:word@e", "two: http://b/c and http://e"),
        ("GET /a?b=1&access_token=word HTTP/1.1", "GET /a?b=1&access_token=*** HTTP/1.1"),
        ("h://b?X-Amz-Credential=word%2F&X-Amz-Signature=word#key=word",
         "h://b?X-Amz-Credential=***&X-Amz-Signature=***#key=***"),
        ("(url: '/a?PWD=word')", "(url: '/a?PWD=***')"),
    ],
)  # fmt: skip
def test_what_may_be_a_password_is_left_out(text: str, shown: str) -> None:
    assert hide_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://host:443/@user/x",
        "https://host/a@b",
        "me@host",
        "--set key=value",
        "a?b=c",
        "user=x",
    ],
)
def test_what_is_no_password_is_shown(text: str) -> None:
    assert hide_secrets(text) == text
