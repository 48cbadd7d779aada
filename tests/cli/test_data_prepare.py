from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from fercli.data import Dataset, open_dataset

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
Rows = list[tuple[Any, Any, str]]
MakeTable = Callable[..., Path]


def zip_folder(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return target


def test_every_layout_gives_the_same_images(
    run_json: RunJson,
    table_rows: Rows,
    image_folder: Path,
    make_table: MakeTable,
    tmp_path: Path,
) -> None:
    plain = make_table(tmp_path / "fer2013.csv", table_rows)
    packed = tmp_path / "fer2013.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    zipped = tmp_path / "table.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.write(plain, "nested/fer2013.csv")
    swapped = make_table(
        tmp_path / "icml_face_data.csv",
        [(label, usage, pixels) for label, pixels, usage in table_rows],
        header="emotion, Usage, pixels",
        newline="\r\n",
    )
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    images = zip_folder(image_folder, tmp_path / "images.zip")
    found = {}

    for number, source in enumerate((plain, packed, zipped, swapped, marked, image_folder, images)):
        target = tmp_path / f"{number}.safetensors"
        data = run_json("data", "prepare", source, "--output", target)["data"]
        dataset = open_dataset(target)
        faces = sorted(
            (dataset.split_names[split], int(label), image.tobytes())
            for split, label, image in zip(
                dataset.splits, dataset.labels, dataset.images, strict=True
            )
        )
        found[source.name] = (data["counts"], data["n_images"], faces)

    first = found["fer2013.csv"]
    assert first[1] == 10
    assert sum(first[0]["public"].values()) == 2
    assert all(value == first for value in found.values())


def test_a_table_without_usage_is_all_train(
    run_json: RunJson, table_rows: Rows, make_table: MakeTable, tmp_path: Path
) -> None:
    rows = [(label, pixels) for label, pixels, _ in table_rows]
    source = make_table(tmp_path / "train.csv", rows, header="emotion,pixels")

    data = run_json("data", "prepare", source)["data"]

    assert list(data["counts"]) == ["train"]
    assert any("not the complete FER2013" in text for text in data["warnings"])


def test_folders_without_prefixes_are_one_test_split(run_json: RunJson, image_folder: Path) -> None:
    for path in list(image_folder.glob("test/*/*")):
        path.rename(path.with_name(path.name.partition("_")[2]))

    data = run_json("data", "prepare", image_folder)["data"]

    assert list(data["counts"]) == ["train", "test"]
    assert any("cannot be told apart" in text for text in data["warnings"])


def test_precedence_of_tables_is_said_aloud(
    run_json: RunJson, table_rows: Rows, make_table: MakeTable, tmp_path: Path
) -> None:
    folder = tmp_path / "several"
    folder.mkdir()
    make_table(folder / "train.csv", table_rows[:3])
    make_table(folder / "icml_face_data.csv", table_rows)
    (folder / "test.csv").write_text("pixels\n0 0\n")

    data = run_json("data", "prepare", folder)["data"]

    assert data["n_images"] == 10
    assert any("test.csv (it has no labels)" in text for text in data["warnings"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pixels": "1 2 3"}, "3 pixels instead of 2304"),
        ({"pixels": " ".join(["256"] * 2304)}, "pixel value 256 is outside 0-255"),
        ({"pixels": " ".join(["9" * 30] * 2304)}, "is outside 0-255"),
        ({"pixels": " ".join(["-1"] * 2304)}, "found '-"),
        ({"pixels": " ".join(["1.5"] * 2304)}, "found '..."),
        ({"pixels": "nan " * 2304}, "found 'nan"),
        ({"pixels": ""}, "0 pixels"),
        ({"pixels": " ".join(["²"] * 2304)}, "whole numbers"),
        ({"label": 7}, "unknown label '7'"),
        ({"label": -1}, "unknown label '-1'"),
        ({"label": "happy"}, "unknown label 'happy'"),
        ({"usage": "Validation"}, "unknown Usage 'Validation'"),
    ],
)
def test_a_malformed_row_is_refused_with_its_place(
    run: Run,
    table_rows: Rows,
    make_table: MakeTable,
    tmp_path: Path,
    change: dict[str, Any],
    reason: str,
) -> None:
    label, pixels, usage = table_rows[2]
    changed = (change.get("label", label), change.get("pixels", pixels), change.get("usage", usage))
    source = make_table(tmp_path / "bad.csv", [*table_rows[:2], changed, *table_rows[3:]])
    target = tmp_path / "bad.safetensors"

    result = run("data", "prepare", source, "--output", target)

    assert result.exit_code == 3
    assert "bad.csv, row 4:" in result.stderr
    assert reason in result.stderr
    assert not target.exists()
    assert list(tmp_path.glob(".*.tmp")) == []


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"\x00\x01\x02", b"emotion,pixels,Usage\n"]
)
def test_what_is_no_table_is_refused(run: Run, tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "odd.csv"
    source.write_bytes(content)

    assert run("data", "prepare", source).exit_code == 3


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.99])
def test_a_cut_off_archive_is_refused(
    run: Run, table_rows: Rows, make_table: MakeTable, tmp_path: Path, keep: float
) -> None:
    plain = make_table(tmp_path / "fer2013.csv", table_rows).read_bytes()
    for name, whole in (("a.csv.gz", gzip.compress(plain)), ("b.zip", _zip_bytes(plain, tmp_path))):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * keep)])

        assert run("data", "prepare", tmp_path / name).exit_code == 3


def _zip_bytes(content: bytes, folder: Path) -> bytes:
    path = folder / "whole.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fer2013.csv", content)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["../up.png", "/root.png", "C:\\x.png", "a\\..\\b.png"])
def test_names_that_leave_the_archive_are_refused(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")

    result = run("data", "prepare", path)

    assert result.exit_code == 3
    assert "is refused" in result.stderr


def test_a_tar_is_read_as_a_zip_is(
    run_json: RunJson, table_rows: Rows, make_table: MakeTable, image_folder: Path, tmp_path: Path
) -> None:
    table = make_table(tmp_path / "fer2013.csv", table_rows)
    for source, name in ((table, "a.tar.gz"), (table, "a.tar"), (image_folder, "b.tgz")):
        path = tmp_path / name
        with tarfile.open(path, "w") if name == "a.tar" else tarfile.open(path, "w:gz") as archive:
            archive.add(source, arcname=f"fer2013/{source.name}")
        target = f"{name}.safetensors"
        data = run_json("data", "prepare", tmp_path / name, "--output", target)["data"]
        alone = run_json("data", "prepare", source, "--output", f"{name}.alone")["data"]

        assert data["sha256"] == alone["sha256"]


def make_member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([make_member("../up.csv")], "is refused"),
        ([make_member("/root.csv")], "is refused"),
        ([make_member("C:\\x.csv")], "is refused"),
        ([make_member("a.csv", tarfile.SYMTYPE, "/etc/passwd")], "a link"),
        ([make_member("a.csv", tarfile.LNKTYPE, "b.csv")], "a hard link"),
        ([make_member("a.csv", tarfile.CHRTYPE)], "not a regular file"),
        ([make_member("a.csv", tarfile.FIFOTYPE)], "not a regular file"),
        ([make_member("a.csv"), make_member("a.csv")], "twice"),
    ],
)
def test_members_of_a_tar_are_looked_at(
    run: Run, tmp_path: Path, members: list[tarfile.TarInfo], reason: str
) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member)

    result = run("data", "prepare", path)

    assert result.exit_code == 3
    assert reason in result.stderr
    assert list(tmp_path.glob("*.csv")) == []


@pytest.mark.parametrize("kind", ["pax 0.1", "pax 1.0", "gnu"])
def test_holes_of_a_tar_are_refused(run: Run, tmp_path: Path, kind: str) -> None:
    member = make_member("fer2013.csv")
    content = b""
    if kind == "pax 0.1":
        hole = {"name": "fer2013.csv", "size": str(3 << 30), "map": f"{3 << 30},0"}
        member.pax_headers = {f"GNU.sparse.{key}": value for key, value in hole.items()}
    elif kind == "pax 1.0":
        hole = {"major": "1", "minor": "0", "name": "fer2013.csv", "realsize": str(3 << 30)}
        member.pax_headers = {f"GNU.sparse.{key}": value for key, value in hole.items()}
        content = f"1\n{3 << 30}\n0\n".encode().ljust(512, b"\0")
        member.size = len(content)
    else:
        member.type = tarfile.GNUTYPE_SPARSE
    path = tmp_path / "holes.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(content))

    result = run("data", "prepare", path)

    assert result.exit_code == 3
    assert "is a sparse file" in result.stderr


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_unpacks_without_a_bound_is_refused(
    run: Run, tmp_path: Path, method: int
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("train/happy/a.png", bytes(1 << 20))

    result = run("data", "prepare", tmp_path / "a.zip")

    assert result.exit_code == 3
    assert "not with deflate" in result.stderr


def test_an_image_that_asks_for_too_much_is_refused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "faces" / "train" / "happy"
    folder.mkdir(parents=True)
    Image.new("1", (1_000_001, 1)).save(folder / "long.png")

    result = run("data", "prepare", tmp_path / "faces", "--output", "new.safetensors")

    assert result.exit_code == 3
    assert "long.png: 1000001x1 has a side of more than" in result.stderr
    assert not Path("new.safetensors").exists()


def test_a_tar_cut_or_flipped_is_refused(
    run: Run, table_rows: Rows, make_table: MakeTable, tmp_path: Path
) -> None:
    table = make_table(tmp_path / "fer2013.csv", table_rows)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(table, arcname="fer2013.csv")
    whole = bytearray((tmp_path / "a.tar.gz").read_bytes())
    flipped = bytearray(whole)
    flipped[-6] ^= 1
    for content in (whole[: len(whole) // 2], whole[:-4], flipped):
        (tmp_path / "b.tar.gz").write_bytes(content)

        assert run("data", "prepare", tmp_path / "b.tar.gz").exit_code == 3


def test_archives_that_unpack_to_far_too_much_are_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.data.archives._FREE_BYTES", 1 << 20)
    packed = tmp_path / "bomb.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        member = make_member("train/happy/a.png")
        member.size = 8 << 20
        archive.addfile(member, io.BytesIO(bytes(8 << 20)))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("train/happy/a.png", bytes(8 << 20))
    monkeypatch.setattr("fercli.data.archives.MAX_TOTAL_BYTES", 100_000)
    table = tmp_path / "long.csv"
    table.write_text("emotion,pixels\n" + ("0," + "1 " * 2304 + "\n") * 30)
    with zipfile.ZipFile(tmp_path / "table.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.write(table, "fer2013.csv")
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    for path in (packed, "bomb.zip", table, "table.zip", "table.csv.gz"):
        result = run("data", "prepare", tmp_path / path)

        assert result.exit_code == 3, path
        assert "far more" in result.stderr


def test_a_line_that_does_not_end_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_text("emotion,pixels\n0," + "1 " * 200_000)

    result = run("data", "prepare", path)

    assert result.exit_code == 3
    assert "longer than" in result.stderr


def test_zip_members_twice_encrypted_or_rotten_are_refused(run: Run, tmp_path: Path) -> None:
    content = b"emotion,pixels\n0," + b"1 " * 2304 + b"\n"
    plain = tmp_path / "plain.zip"
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("fer2013.csv", content)
    whole = plain.read_bytes()
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("fer2013.csv", content)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("fer2013.csv", content)
    rotten, secret = bytearray(whole), bytearray(whole)
    rotten[200] = ord("2")
    # The flag of encryption, in the local header and in the directory.
    secret[6] |= 1
    secret[whole.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "rotten.zip").write_bytes(rotten)
    (tmp_path / "secret.zip").write_bytes(secret)

    assert run("data", "prepare", plain, "--output", "fine").exit_code == 0
    for name, reason in (("twice", "twice"), ("rotten", "CRC"), ("secret", "encrypted")):
        result = run("data", "prepare", tmp_path / f"{name}.zip")
        assert result.exit_code == 3
        assert reason in result.stderr


def test_a_damaged_prepared_file_is_not_made_valid(
    run: Run, dataset_path: Path, tmp_path: Path
) -> None:
    content = bytearray(dataset_path.read_bytes())
    content[-5000] ^= 1
    rot = tmp_path / "rot.safetensors"
    rot.write_bytes(content)

    assert run("data", "prepare", rot, "--output", "clean.safetensors").exit_code == 3
    assert not Path("clean.safetensors").exists()


@pytest.mark.parametrize("kind", [0o120000, 0o020000, 0o010000])
def test_zip_members_that_are_no_files_are_refused(run: Run, tmp_path: Path, kind: int) -> None:
    path = tmp_path / "evil.zip"
    info = zipfile.ZipInfo("fer2013.csv")
    info.external_attr = (kind | 0o644) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"/etc/passwd")

    result = run("data", "prepare", path)

    assert result.exit_code == 3
    assert "refused" in result.stderr


def save_faces(faces: Dataset, folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for copy in range(12):
            Image.fromarray(faces.images[12 * number + copy]).save(folder / name / f"{copy}.png")
    return folder


def test_own_folders_are_labels_and_splits_are_drawn(
    run: Run, run_json: RunJson, faces: Dataset, tmp_path: Path
) -> None:
    source = save_faces(faces, tmp_path / "own", ["2", "10", "1"])
    (source / "readme.txt").write_text("not an image")
    shutil.copy(source / "1" / "0.png", source / "1" / "copy.png")

    data = run_json("data", "prepare", source)["data"]

    assert list(data["counts"]) == ["train", "validation", "test"]
    assert list(data["counts"]["test"]) == ["1", "2", "10"]
    assert all(sum(counts.values()) for counts in data["counts"].values())
    assert "were assigned" in data["warnings"][0]
    across = run_json("data", "check", "--no-near")["data"]["duplicates"]["across"]
    assert set(across.values()) == {0}
    named = run_json(
        "data", "prepare", source, "--label-names", "1=surprise,2=Anger,10=contempt",
        "--output", "named.safetensors",
    )["data"]  # fmt: skip
    assert list(named["counts"]["train"])[-1] == "contempt"
    assert named["counts"]["train"]["angry"] > 0
    refused = run("data", "prepare", source, "--label-names", "1=happy", "--output", "x")
    assert refused.exit_code == 3
    assert "--label-names" in refused.stderr
    assert run("data", "prepare", source, "--label-names", "1", "--force").exit_code == 2
    assert run("data", "prepare", source, "--label-names", "7=happy", "--force").exit_code == 2


def test_what_belongs_to_no_split_is_said(run: Run, image_folder: Path) -> None:
    (image_folder / "extra" / "happy").mkdir(parents=True)
    face = next(image_folder.glob("train/*/*.png"))
    shutil.copy(face, image_folder / "extra" / "happy" / "a.png")
    (image_folder / "fer2013.tar.gz").write_bytes(b"whatever")

    result = run("data", "prepare", image_folder)

    assert result.exit_code == 0
    assert "ignored extra/happy" in result.stderr
    assert "ignored fer2013.tar.gz" in result.stderr


@pytest.mark.parametrize("names", [[f"{number:03}" for number in range(257)], ["a\x1b[2J", "b"]])
def test_labels_that_cannot_be_are_refused(run: Run, tmp_path: Path, names: list[str]) -> None:
    face = io.BytesIO()
    Image.new("L", (48, 48), 9).save(face, "PNG")
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"{name}/a.png", face.getvalue())

    result = run("data", "prepare", path)

    assert result.exit_code == 3
    assert "\x1b" not in result.stderr


def test_nothing_left_is_refused(run: Run, tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        (tmp_path / "black" / name).mkdir(parents=True)
        Image.new("L", (48, 48)).save(tmp_path / "black" / name / "a.png")

    result = run("data", "prepare", tmp_path / "black", "--drop", "constant")

    assert result.exit_code == 3
    assert "is left" in result.stderr


@pytest.mark.usefixtures("weights_alone")
def test_own_faces_are_trained_and_evaluated(
    run_json: RunJson, faces: Dataset, tmp_path: Path
) -> None:
    source = save_faces(faces, tmp_path / "own", ["calm", "excited"])
    run_json("data", "prepare", source)
    trained = run_json(
        "train", "--recipe", "fast", "--epochs", 1, "--batch-size", 5, "--device", "cpu",
        "--set", "widths=8", "--set", "stem_width=4",
    )["data"]  # fmt: skip
    scores = run_json("evaluate")["data"]

    assert trained["validation_split"] == "validation"
    assert (scores["split"], scores["labels"]) == ("test", ["calm", "excited"])
    assert run_json("predict", source / "calm")["data"]["n_faces"] == 12


def test_an_unknown_emotion_folder_is_named(run: Run, image_folder: Path) -> None:
    (image_folder / "train" / "bored").mkdir()
    next(image_folder.glob("train/*/*.png")).rename(image_folder / "train" / "bored" / "a.png")

    result = run("data", "prepare", image_folder)

    assert result.exit_code == 3
    assert "bored" in result.stderr


def test_a_broken_image_is_named_and_nothing_written(run: Run, image_folder: Path) -> None:
    victim = next(image_folder.glob("train/*/*.png"))
    victim.write_bytes(victim.read_bytes()[:60])

    result = run("data", "prepare", image_folder, "--output", "out.safetensors")

    assert result.exit_code == 3
    assert victim.name in result.stderr
    assert not Path("out.safetensors").exists()


def test_output_is_kept_unless_forced(run: Run) -> None:
    assert run("data", "prepare", "synthetic:100").exit_code == 0
    assert run("data", "prepare", "synthetic:100").exit_code == 2
    assert run("data", "prepare", "synthetic:100", "--force").exit_code == 0


def test_pipes_are_not_read(run_json: RunJson, image_folder: Path) -> None:
    os.mkfifo(image_folder / "train" / "happy" / "pipe.png")
    os.mkfifo(image_folder / "fer2013.csv")

    assert run_json("data", "prepare", image_folder)["data"]["n_images"] == 10


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("train/happy/dead.png", "nowhere.png"),
        ("train/linked", "../nowhere"),
        ("train/linked", "happy/nothing/at/all.png"),
        ("train/linked", "linked"),
        ("train/happy/fear", ".."),
        ("train/linked", "../../archive"),
    ],
)
def test_links_that_lead_nowhere_or_back_are_refused(
    run: Run, image_folder: Path, link: str, target: str
) -> None:
    (image_folder / link).symlink_to(target)

    for words in (
        ["data", "prepare", image_folder, "--output", "out.safetensors"],
        ["data", "check", image_folder, "--no-near", "--output", "audit"],
        ["train", "--data", image_folder, "--recipe", "fast", "--output", "run"],
    ):
        result = run(*words)

        assert result.exit_code == 3, result.output
        assert str(image_folder / link) in result.stderr
        assert "link" in result.stderr
    assert not any(Path(name).exists() for name in ("out.safetensors", "audit", "run"))


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_listed_is_named(
    run: Run, image_folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, at_once: bool
) -> None:
    listed = os.scandir
    victim = next(image_folder.glob("train/*"))

    class Broken:
        """A listing that ends in the middle."""

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self)

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            with listed(victim) as entries:
                yield next(entries)
            raise OSError(number, os.strerror(number))

        def __exit__(self, *_: object) -> None:
            pass

    def scan(path: Path) -> Any:
        if Path(path) != victim:
            return listed(path)
        if at_once:
            raise OSError(number, os.strerror(number), str(path))
        return Broken()

    monkeypatch.setattr(os, "scandir", scan)
    result = run("data", "prepare", image_folder, "--output", "out.safetensors")

    assert result.exit_code == 3
    assert f"{victim} cannot be read ({os.strerror(number)})" in result.stderr
    assert not Path("out.safetensors").exists()


def test_a_file_that_cannot_be_read_is_named(
    run: Run, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = next(image_folder.glob("train/*/*.png"))
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path == victim:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    result = run("data", "prepare", image_folder, "--output", "out.safetensors")

    assert result.exit_code == 3
    assert f"{victim} cannot be read" in result.stderr


def test_linked_folders_are_read(run_json: RunJson, image_folder: Path, tmp_path: Path) -> None:
    label = next(image_folder.glob("train/*"))
    label.rename(tmp_path / "elsewhere")
    label.symlink_to(tmp_path / "elsewhere")

    assert run_json("data", "prepare", image_folder)["data"]["n_images"] == 10


def test_folders_of_splits_are_kept_whatever_files_are_called(
    run_json: RunJson, faces: Dataset, tmp_path: Path
) -> None:
    source = tmp_path / "plain"
    for number in range(20):
        folder = source / ("test" if number < 10 else "train") / "happy"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[number]).save(folder / f"{number}.png")

    run_json("data", "prepare", source, "--output", "out.safetensors")

    dataset = open_dataset(Path("out.safetensors"))
    tested = dataset.select("test").images
    assert dataset.split_names == ("train", "test")
    assert sorted(map(bytes, tested)) == sorted(map(bytes, faces.images[:10]))


def test_missing_and_odd_sources(run: Run, tmp_path: Path) -> None:
    assert run("data", "prepare", "synthetic:100").exit_code == 0
    for name in ("nothing", "x" * 5000):
        assert run("data", "prepare", tmp_path / name).exit_code == 3
    (tmp_path / "empty").mkdir()
    assert run("data", "prepare", tmp_path / "empty", "--force").exit_code == 3
    assert run("data", "prepare", "synthetic:3").exit_code == 2
    assert run("data", "prepare", "synthetic:many").exit_code == 2


def test_a_prepared_file_is_a_source(run_json: RunJson, dataset_path: Path) -> None:
    data = run_json("data", "prepare", dataset_path, "--output", "copy.safetensors")["data"]

    assert data["sha256"] == open_dataset(dataset_path).sha256
    assert data["dropped"] == {}
    assert np.array_equal(
        open_dataset(Path("copy.safetensors")).images, open_dataset(dataset_path).images
    )


def test_what_is_left_out_is_counted(run: Run, run_json: RunJson, dataset_path: Path) -> None:
    words = ("data", "prepare", dataset_path, "--output", "less.safetensors")

    data = run_json(*words, "--drop", "constant,leaks")["data"]

    assert data["dropped"] == {"constant": 0, "leaks": 0}
    assert dict(open_dataset(Path("less.safetensors")).dropped) == data["dropped"]
    assert run(*words, "--drop", "leak").exit_code == 2
    assert run(*words, "--labels", "ferplus").exit_code == 2
    assert run(*words, "--soft").exit_code == 2
    assert run(*words, "--labels", "ferplus", "--ferplus", "x", "--classes", 9).exit_code == 2
    assert run("data", "prepare", dataset_path, "--output", "n", "--labels", "ferplus",
               "--ferplus", "nothing.csv").exit_code == 3  # fmt: skip


@pytest.mark.realdata
def test_the_real_table(run_json: RunJson, real_table: Path) -> None:
    data = run_json("data", "prepare", real_table)["data"]

    assert sum(data["counts"]["train"].values()) == 28_709
    assert tuple(data["counts"]["public"].values()) == (467, 56, 496, 895, 653, 415, 607)


@pytest.mark.parametrize("how", ["replaced", "written"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    dataset_path: Path, make_table: Callable[..., Path], table_rows: list[Any], how: str
) -> None:
    from fercli.data.sources import load_source
    from fercli.errors import DatasetLayoutError

    path = make_table(Path("table.csv"), table_rows)
    other = make_table(Path("other.csv"), table_rows[::-1])

    def change(_done: int, _total: int | None) -> None:
        if how == "replaced" and other.exists():
            other.replace(path)
        elif how == "written":
            # In place, with as many bytes.
            path.write_bytes(path.read_bytes())
            os.utime(path, ns=(0, 0))

    with pytest.raises(DatasetLayoutError, match=r"table\.csv was changed while it was read"):
        load_source(str(path), change)
    assert load_source(str(path)).dataset.n_images == len(table_rows)
    assert load_source(str(dataset_path)).dataset.n_images


def test_only_of_fer2013_it_is_said_whether_it_is_whole(
    run: Run, faces: Dataset, table_rows: Rows, make_table: MakeTable, tmp_path: Path
) -> None:
    own = save_faces(faces, tmp_path / "own", ["calm", "tense"])
    table = make_table(tmp_path / "fer2013.csv", table_rows)

    for source, line in ((table, "complete FER2013  no"), (own, None), ("synthetic:100", None)):
        text = run("data", "prepare", source, "--force").stdout
        assert ("complete FER2013" in text) == (line is not None)
        assert line is None or line in text
