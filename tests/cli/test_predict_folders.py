from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from typer.testing import Result

from fercli.data import archives
from fercli.prediction import members

if TYPE_CHECKING:
    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


@pytest.fixture
def phone(face_files: Path, make_clip: Callable[..., Path]) -> Path:
    """Five photos, a video, and what programs leave beside them."""
    make_clip(face_files / "clip.mp4", "ff", "mp4v")
    Image.open(face_files / "face-0.png").save(face_files / "face-0.avif")
    (face_files / "notes.txt").write_text("BMW")
    (face_files / "face-1.json").write_text("{}")
    (face_files / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 100)
    return face_files


def list_rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_what_is_no_picture_is_counted_in_a_folder(
    run: Run, run_json: RunJson, trained: RunFolder, phone: Path
) -> None:
    words = ["--model", trained.onnx]

    data = run_json("predict", phone, *words)["data"]
    told = run("predict", phone, *words)
    named = run("predict", phone / "notes.txt", *words, "--format", "jsonl")
    piped = run("predict", "-", *words, "--format", "jsonl", stdin=f"{phone / 'notes.txt'}\n")

    assert (data["n_inputs"], data["n_frames"], data["n_other"]) == (7, 1, 3)
    assert {Path(row["path"]).suffix for row in data["rows"]} == {".png", ".avif", ".mp4"}
    assert "3 other files passed over" in told.stderr
    for result in (named, piped):
        assert result.exit_code == 7
        assert [row["status"] for row in list_rows(result)] == ["unreadable"]


def test_a_picture_by_name_that_cannot_be_read_is_a_row(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    for name in ("text.jpg", "shot.nef", "clip.mov", "photo.heic"):
        (face_files / name).write_text("hello")
    (face_files / "unnamed").write_bytes((face_files / "face-0.png").read_bytes())

    result = run("predict", face_files, "--model", trained.onnx, "--format", "jsonl")

    assert result.exit_code == 7
    statuses = {Path(row["path"]).name: row["status"] for row in list_rows(result)}
    assert [name for name, status in statuses.items() if status == "unreadable"] == [
        "clip.mov", "photo.heic", "shot.nef", "text.jpg"
    ]  # fmt: skip
    assert statuses["unnamed"] == "ok"


def test_a_folder_without_a_picture_says_what_it_holds(
    run: Run, trained: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "notes.txt").write_text("hello")

    result = run("predict", "papers", "--model", trained.onnx)

    assert result.exit_code == 3
    assert "no images found in 'papers'; files passed over: 1" in result.stderr


def test_endings_choose_among_the_files_of_a_folder(
    run: Run, run_json: RunJson, trained: RunFolder, phone: Path
) -> None:
    words = ["--model", trained.onnx]

    some = run_json("predict", phone, *words, "--ext", "avif,.MP4")["data"]
    more = run_json("predict", phone, *words, "--ext", "avif", "--ext", "mp4")["data"]
    named = run_json("predict", phone / "face-2.png", *words, "--ext", "jpg")["data"]

    assert some["n_inputs"] == more["n_inputs"] == 2
    assert some["n_other"] == 8
    assert named["n_inputs"] == 1
    refused = run("predict", phone, *words, "--ext", "jpg,,png")
    assert refused.exit_code == 2
    assert "error: --ext takes endings of files" in refused.stderr


def pack(folder: Path, path: Path) -> Path:
    """Pack a folder's files, backwards, some below `b/`."""
    files = sorted(folder.iterdir(), reverse=True)
    names = [f"b/{one.name}" if "3" in one.name else one.name for one in files]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for one, name in zip(files, names, strict=True):
                archive.write(one, name)
            archive.writestr("__MACOSX/._face-0.png", b"x")
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
            for one, name in zip(files, names, strict=True):
                packed.add(one, name)
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_archives_are_read_in_place(
    run: Run, trained: RunFolder, phone: Path, tmp_path: Path, ending: str
) -> None:
    path = pack(phone, tmp_path / f"photos.{ending}")
    words = ["--model", trained.onnx, "--format", "jsonl"]

    result = run("predict", path, *words)
    plain = run("predict", phone, *words, "--ext", "png,avif")

    assert result.exit_code == 0
    rows = list_rows(result)
    names = [row["path"].removeprefix(f"{path}!/") for row in rows]
    wanted = ["b/face-3.png", "face-0.avif", "face-0.png", "face-1.png", "face-2.png", "face-4.png"]
    assert names == (wanted if ending == "zip" else [
        "face-4.png", "b/face-3.png", "face-2.png", "face-1.png", "face-0.png", "face-0.avif"
    ])  # fmt: skip
    found = {Path(row["path"]).name: row["probabilities"] for row in rows}
    assert found == {Path(row["path"]).name: row["probabilities"] for row in list_rows(plain)}
    assert "4 other files passed over" in result.stderr
    assert result.stderr.count("1 video of them in archives") == 1


@pytest.mark.parametrize("ending", ["zip", "tgz"])
def test_pictures_and_copies_come_from_archives(
    run: Run, trained: RunFolder, face_files: Path, tmp_path: Path, ending: str
) -> None:
    path = pack(face_files, tmp_path / f"photos.{ending}")
    wanted = sorted(["face-0.png", "face-1.png", "face-2.png", "face-4.png", "b/face-3.png"])
    words = ["predict", path, "--model", trained.onnx, "--annotate", "framed", "--sort-into",
             "sorted", "--link", "--montage", "sheet.png"]  # fmt: skip

    assert run(*words).exit_code == 0
    assert run(*words, "--force").exit_code == 0

    framed = sorted(str(one.relative_to("framed")) for one in Path("framed").rglob("*.png"))
    stored = sorted(Path(*one.parts[2:]) for one in Path("sorted").rglob("*.png"))
    assert framed == wanted
    assert stored == [Path(name) for name in wanted]
    (copy,) = Path("sorted").glob("*/b/face-3.png")
    assert copy.read_bytes() == (face_files / "face-3.png").read_bytes()
    assert not copy.is_symlink()


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_archives_are_gone_on_with_by_their_members(
    run: Run, run_json: RunJson, trained: RunFolder, face_files: Path, tmp_path: Path, ending: str
) -> None:
    path = pack(face_files, tmp_path / f"photos.{ending}")
    words = ["predict", tmp_path, "--model", trained.onnx, "--ext", "png,tar,zip", "--output",
             "rows.csv"]  # fmt: skip
    run(*words)
    whole = Path("rows.csv").read_bytes()
    Path("rows.csv").unlink()
    lines = whole.splitlines(keepends=True)
    Path("rows.csv.partial").write_bytes(b"".join(lines[:-2]) + lines[-2][:10])

    data = run_json(*words, "--resume")["data"]

    assert f"{path}!/" in whole.decode()
    assert len(lines) == 11
    assert (data["n_resumed"], data["n_inputs"]) == (7, 3)
    assert Path("rows.csv").read_bytes() == whole


def test_an_archive_that_cannot_be_read_is_a_row(
    run: Run, trained: RunFolder, face_files: Path, tmp_path: Path
) -> None:
    content = pack(face_files, tmp_path / "whole.zip").read_bytes()
    Path("text.zip").write_text("hello")
    Path("text.tar").write_text("hello")
    with zipfile.ZipFile("slip.zip", "w") as archive:
        archive.writestr("../face.png", b"x")
    at = content.index(b"face-1.png") + 60
    Path("torn.zip").write_bytes(content[:at] + b"????" + content[at + 4 :])
    packed = pack(face_files, tmp_path / "whole.tar").read_bytes()
    Path("torn.tar").write_bytes(packed[: len(packed) // 2])
    names = ["slip.zip", "text.tar", "text.zip", "torn.tar", "torn.zip"]

    result = run("predict", *names, "--model", trained.onnx, "--format", "jsonl")

    assert result.exit_code == 7
    rows = list_rows(result)
    failed = {row["path"]: row for row in rows if row["status"] != "ok"}
    assert list(failed) == [
        "slip.zip", "text.tar", "text.zip", "torn.tar", "torn.zip!/face-1.png"
    ]  # fmt: skip
    assert failed["slip.zip"]["status"] == "refused"
    assert "'../face.png' is refused" in failed["slip.zip"]["reason"]
    assert "not a readable archive" in failed["text.zip"]["reason"]
    assert "damaged in its archive" in failed["torn.zip!/face-1.png"]["reason"]
    assert sum(row["path"].startswith("torn.zip!") for row in rows) == 5
    assert any(row["path"].startswith("torn.tar!") for row in rows)


def test_an_archive_that_unpacks_to_too_much_is_refused(
    run: Run, trained: RunFolder, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (face_files / "face-0.png").read_bytes()
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", content)
        archive.writestr("b.png", content + bytes(3 << 20))
        archive.writestr("c.png", content + bytes(9 << 20))
        archive.writestr("d.png", content + bytes(3 << 20))
    monkeypatch.setattr(archives, "_FREE_BYTES", 5 << 20)
    monkeypatch.setattr(members, "MAX_FILE_BYTES", 4 << 20)

    result = run("predict", "bomb.zip", "--model", trained.onnx, "--format", "jsonl")

    assert result.exit_code == 7
    rows = list_rows(result)
    assert [(row["path"], row["status"]) for row in rows] == [
        ("bomb.zip!/a.png", "ok"), ("bomb.zip!/b.png", "ok"), ("bomb.zip!/c.png", "refused"),
        ("bomb.zip", "refused"),
    ]  # fmt: skip
    assert rows[2]["reason"] == "longer than 4,194,304 bytes, in an archive"
    assert "far more" in rows[3]["reason"]


def test_a_refusal_names_the_option_that_lifts_it(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    words = ["predict", face_files / "face-0.png", "--model", trained.onnx, "--format", "jsonl"]

    (row,) = list_rows(run(*words, "--max-pixels", 2000))

    assert row["reason"] == "48x48 is more than 2000 pixels; --max-pixels 2304 allows it"
    assert run(*words, "--max-pixels", 2304).exit_code == 0


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows_name_their_model_and_are_not_mixed_with_anothers(
    run: Run, trained: RunFolder, face_files: Path, kind: str
) -> None:
    for name in ("one.onnx", "two.onnx"):
        shutil.copy(trained.onnx, name)
    (face_files / "text.jpg").write_text("hello")
    words = ["predict", face_files, "--output", f"rows.{kind}"]

    run(*words, "--model", "one.onnx")
    before = Path(f"rows.{kind}").read_bytes()
    same = run(*words, "--model", "one.onnx", "--resume")
    other = run(*words, "--model", "two.onnx", "--resume")

    assert before.count(b"one.onnx") == 6
    assert same.exit_code == 0
    assert other.exit_code == 3
    assert "holds rows of the model one.onnx, not of two.onnx" in other.stderr
    assert Path(f"rows.{kind}").read_bytes() == before


def test_no_cell_of_a_csv_is_a_formula(run: Run, trained: RunFolder, face_files: Path) -> None:
    names = ["=1+1.png", "\t=1.png", "'=d.png", "plain.png"]
    for name in names:
        shutil.copy(face_files / "face-0.png", name)
    shutil.copy(trained.onnx, "=model.onnx")
    words = ["predict", "-", "--model", "=model.onnx", "--output"]
    listed = "".join(f"{name}\n" for name in names)

    for name in ("rows.csv", "rows.jsonl"):
        assert run(*words, name, stdin=listed).exit_code == 0
    resumed = run(*words, "rows.csv", "--resume", "--json", stdin=listed)

    with Path("rows.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["path"] for row in table] == [f"'{name}" for name in names[:3]] + names[3:]
    assert {row["model"] for row in table} == {"'=model.onnx"}
    exact = [json.loads(line)["path"] for line in Path("rows.jsonl").read_text().splitlines()]
    assert exact == names
    assert json.loads(resumed.stdout)["data"]["n_resumed"] == 4


def test_csv_for_spreadsheets(run: Run, trained: RunFolder, face_files: Path) -> None:
    names = ["=1+1.png", "+a.png", "-b.png", "@c.png", "'=d.png", "plain.png"]
    Path("in").mkdir()
    for number, name in enumerate(names):
        shutil.copy(face_files / f"face-{number % 5}.png", Path("in", name))
    shutil.copy(trained.onnx, "=model.onnx")
    shutil.move("in", "moved")
    words = ["predict", "-", "--model", "=model.onnx", "--excel", "--output", "rows.csv"]
    listed = "".join(f"{name}\n" for name in names)
    for name in names:
        shutil.copy(Path("moved", name), name)

    assert run(*words, stdin=listed).exit_code == 0
    content = Path("rows.csv").read_bytes()
    resumed = run(*words, "--resume", "--json", stdin=listed)

    assert content.startswith(b"\xef\xbb\xbfpath,")
    table = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["path"] for row in table] == [
        "'=1+1.png", "'+a.png", "'-b.png", "'@c.png", "''=d.png", "plain.png"
    ]  # fmt: skip
    assert {row["model"] for row in table} == {"'=model.onnx"}
    assert all(len(row["p_happy"]) <= 6 for row in table)
    assert json.loads(resumed.stdout)["data"]["n_resumed"] == 6
    assert Path("rows.csv").read_bytes() == content
    # A file of the one form is not gone on with in the other.
    plain = [word for word in words if word != "--excel"]
    assert run(*plain, "--resume", stdin=listed).exit_code == 3
    assert run(*words[:-1], "rows.jsonl", stdin=listed).exit_code == 2
    assert run("predict", "plain.png", "--excel").exit_code == 2
    assert run(*words, "--force", stdin=listed).exit_code == 0


def test_small_faces_are_left_out(
    run: Run, run_json: RunJson, trained: RunFolder, photo: Path
) -> None:
    words = ["predict", photo, "--model", trained.onnx]

    (face,) = run_json(*words)["data"]["rows"]
    side = min(face["box"][2:])
    (same,) = run_json(*words, "--min-face", side)["data"]["rows"]
    (none,) = run_json(*words, "--min-face", side + 1)["data"]["rows"]

    assert same["box"] == face["box"]
    assert (none["status"], none["face"]) == ("no_face", None)
    assert run(*words, "--min-face", -1).exit_code == 2
