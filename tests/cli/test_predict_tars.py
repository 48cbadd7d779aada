from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

from fercli.data import archives

if TYPE_CHECKING:
    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(face_files: Path) -> list[Path]:
    """Two tars as WebDataset has them: images, and labels and notes under the same key."""
    paths = []
    for number, files in enumerate((range(3), range(3, 5))):
        path = Path(f"shard-{number:03}.tar")
        with tarfile.open(path, "w") as archive:
            for file in files:
                content = (face_files / f"face-{file}.png").read_bytes()
                add(archive, f"{file:06}.png", content)
                add(archive, f"{file:06}.cls", b"3")
                add(archive, f"{file:06}.json", b"{}")
        paths.append(path)
    return paths


def list_rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_shards_of_webdataset_are_named_by_a_range(
    run: Run,
    trained: RunFolder,
    shards: list[Path],  # noqa: ARG001  # they have to be there
) -> None:
    words = ["predict", "shard-{000..001}.tar", "--model", trained.onnx, "--format", "jsonl"]

    result = run(*words)

    assert result.exit_code == 0
    assert [row["path"] for row in list_rows(result)] == [
        "shard-000.tar!/000000.png", "shard-000.tar!/000001.png", "shard-000.tar!/000002.png",
        "shard-001.tar!/000003.png", "shard-001.tar!/000004.png",
    ]  # fmt: skip
    assert "10 other files passed over" in result.stderr


def test_what_a_range_names_has_to_be_there(
    run: Run,
    trained: RunFolder,
    shards: list[Path],  # noqa: ARG001  # as above
) -> None:
    missing = run("predict", "shard-{000..002}.tar", "--model", trained.onnx)
    endless = run("predict", "shard-{0..999999999}.tar", "--model", trained.onnx)
    Path("a{0..1}.png").write_bytes(b"x")
    literal = run("predict", "a{0..1}.png", "--model", trained.onnx, "--format", "jsonl")

    assert missing.exit_code == 3
    assert "there is no file or folder 'shard-002.tar'" in missing.stderr
    assert endless.exit_code == 2
    assert "{0..999999999} stands for more than 100,000 names" in endless.stderr
    assert [row["path"] for row in list_rows(literal)] == ["a{0..1}.png"]


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_tar_that_breaks_off_gives_its_rows_and_one_more(
    run: Run, trained: RunFolder, shards: list[Path], ending: str, at: float
) -> None:
    whole = shards[0].read_bytes()
    # Where the last image begins; what follows is padding.
    whole = whole[: whole.rindex(b"000002.cls") + int(at * 512)]
    whole = gzip.compress(whole)[: -8 - int(10 * at)] if ending == "tar.gz" else whole
    Path(f"cut.{ending}").write_bytes(whole)

    result = run("predict", f"cut.{ending}", "--model", trained.onnx, "--format", "jsonl")

    rows = list_rows(result)
    assert result.exit_code == 7
    assert [row["status"] for row in rows[:-1]] == ["ok"] * (len(rows) - 1)
    assert len(rows) >= 3
    assert rows[-1]["path"] == f"cut.{ending}"
    assert rows[-1]["status"] == "unreadable"
    assert "not a readable archive, or readable in part" in rows[-1]["reason"]


def test_a_damaged_header_is_no_end(run: Run, trained: RunFolder, shards: list[Path]) -> None:
    """Python's reader takes it for one, and would leave out all that follows."""
    content = bytearray(shards[0].read_bytes())
    at = content.index(b"000001.png")
    content[at] ^= 1
    shards[0].write_bytes(content)

    result = run("predict", shards[0], "--model", trained.onnx, "--format", "jsonl")

    rows = list_rows(result)
    assert result.exit_code == 7
    assert [row["path"] for row in rows] == ["shard-000.tar!/000000.png", "shard-000.tar"]
    assert "a header in it is damaged" in rows[1]["reason"]


def test_odd_members_are_rows_and_the_others_are_read(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    content = (face_files / "face-0.png").read_bytes()
    long = f"é{'x' * 150}/" + "y" * 120 + ".png"
    with tarfile.open("odd.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        add(archive, long, content, pax_headers={"comment": "z" * 5000})
        add(archive, "hard.png", type=tarfile.LNKTYPE, linkname=long)
        add(archive, "soft.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "soft.txt", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "pipe.png", type=tarfile.FIFOTYPE)
        add(archive, "../up.png", content)
        add(archive, "/root.png", content)
        add(archive, ".hidden.png", content)
        add(archive, "folder.png", type=tarfile.DIRTYPE)
        add(archive, "sparse.png", b"x" * 512, pax_headers={
            "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "sparse.png",
            "GNU.sparse.size": "99999999999", "GNU.sparse.numblocks": "1",
            "GNU.sparse.map": "99999999000,512",
        })  # fmt: skip
        add(archive, "last.png", content)

    result = run("predict", "odd.tar", "--model", trained.onnx, "--format", "jsonl")

    rows = {row["path"].removeprefix("odd.tar!/"): row for row in list_rows(result)}
    assert result.exit_code == 7
    assert [name for name, row in rows.items() if row["status"] == "ok"] == [long, "last.png"]
    reasons = {name: row["reason"] for name, row in rows.items() if row["status"] == "refused"}
    assert reasons.keys() == rows.keys() - {long, "last.png"}
    assert reasons["hard.png"].startswith("it is a hard link to 'éxxx")
    assert reasons["soft.png"] == "it is a link to '/etc/passwd', which is refused"
    assert reasons["pipe.png"] == "it is not a regular file, which is refused"
    assert reasons["../up.png"] == reasons["/root.png"] == "it has a name that is refused"
    assert reasons["sparse.png"].startswith("it is a sparse file, which is refused")
    assert "1 other file passed over" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="a colon is of a drive there")
def test_a_name_with_a_colon_is_one(run: Run, trained: RunFolder, face_files: Path) -> None:
    with tarfile.open("a.tar", "w") as archive:
        add(archive, "10:30.png", (face_files / "face-0.png").read_bytes())

    (row,) = list_rows(run("predict", "a.tar", "--model", trained.onnx, "--format", "jsonl"))

    assert (row["path"], row["status"]) == ("a.tar!/10:30.png", "ok")


def test_what_a_tar_says_of_a_member_has_a_bound(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    content = (face_files / "face-0.png").read_bytes()
    with tarfile.open("a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        add(archive, "first.png", content)
        add(archive, "second.png", content, pax_headers={"comment": "z" * (8 << 20)})

    result = run("predict", "a.tar", "--model", trained.onnx, "--format", "jsonl")

    assert [(row["path"], row["status"]) for row in list_rows(result)] == [
        ("a.tar!/first.png", "ok"), ("a.tar", "refused")
    ]  # fmt: skip
    assert "a header of more than a mebibyte" in list_rows(result)[1]["reason"]


def test_many_members_are_not_remembered(
    run_json: RunJson, trained: RunFolder, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    real = tarfile.TarFile.next

    def spy(archive: Any) -> Any:
        kept.append(len(archive.members))
        return real(archive)

    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    monkeypatch.setattr(tarfile.TarFile, "next", spy)
    with tarfile.open("a.tar", "w") as archive:
        for number in range(50):
            add(archive, f"{number}.txt", b"x")
        add(archive, "face.png", (face_files / "face-0.png").read_bytes())

    data = run_json("predict", "a.tar", "--model", trained.onnx)["data"]

    assert (data["n_inputs"], data["n_other"]) == (1, 50)
    assert max(kept) <= 1
