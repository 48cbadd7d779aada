from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from fercli.data import archives
from fercli.data.archives import Budget, Metered, ZipTree, check_length, is_tar, is_wanted
from fercli.errors import DatasetLayoutError

MIB = 1 << 20


def test_a_small_archive_may_unpack_to_64_mib() -> None:
    budget = Budget("a.zip", 10)

    budget.take_bytes(64 * MIB)
    with pytest.raises(DatasetLayoutError, match=r"a\.zip unpacks to far more"):
        budget.take_bytes(1)


@pytest.mark.parametrize(("n_bytes", "allowed"), [(MIB, 200 * MIB), (10**12, 4 << 30)])
def test_a_larger_archive_may_unpack_to_200_times_its_size_up_to_4_gib(
    n_bytes: int, allowed: int
) -> None:
    budget = Budget("a.zip", n_bytes)

    budget.take_bytes(allowed)
    with pytest.raises(DatasetLayoutError):
        budget.take_bytes(1)


def test_members_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    budget = Budget("a.zip", 10)

    budget.take_member()
    budget.take_member()
    with pytest.raises(DatasetLayoutError, match="more than 2 members"):
        budget.take_member()


def test_what_is_read_is_taken_from_the_budget() -> None:
    budget = Budget("a.tar", 0)
    stream = Metered(io.BytesIO(b"0123456789"), budget)

    assert (stream.read(4), stream.tell(), stream.read()) == (b"0123", 4, b"456789")
    budget.take_bytes(64 * MIB - 10)
    with pytest.raises(DatasetLayoutError):
        budget.take_bytes(1)


def test_an_image_has_at_most_64_mib() -> None:
    check_length("a.zip", PurePosixPath("x.png"), 64 * MIB)
    with pytest.raises(DatasetLayoutError, match=r"'x\.png' is longer than 67,108,864 bytes"):
        check_length("a.zip", PurePosixPath("x.png"), 64 * MIB + 1)


def test_a_longer_image_in_a_zip_is_refused_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 10)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("fits.png", b"0123456789")
        archive.writestr("longer.png", b"01234567890")

    with zipfile.ZipFile(buffer) as archive:
        tree = ZipTree("a.zip", archive, Budget("a.zip", 0))
        assert tree.read(PurePosixPath("fits.png")) == b"0123456789"
        with pytest.raises(DatasetLayoutError, match="longer than 10 bytes"):
            tree.read(PurePosixPath("longer.png"))


def test_hidden_names_are_not_looked_at() -> None:
    assert [name for name in ("a", ".a", "a.b", "..") if is_wanted(name)] == ["a", "a.b"]


def test_a_tar_is_known_by_its_content(tmp_path: Path) -> None:
    for name, mode in (("plain.jpg", "w"), ("packed.jpg", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as archive:  # type: ignore[call-overload]  # one of its modes
            archive.addfile(tarfile.TarInfo("a"))
        assert is_tar(tmp_path / name), name
    for name, content in (("a.tar", b"ustar" * 100), ("empty.tar", b""), ("b.tar", b"\x1f\x8bxx")):
        (tmp_path / name).write_bytes(content)
        assert not is_tar(tmp_path / name), name
    assert not is_tar(tmp_path / "missing.tar")


def test_members_of_a_zip_are_listed_sorted_without_hidden_ones() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("b/2.png", "b/", "a/1.png", ".git/x", "a/.hidden", "__MACOSX/a"):
            archive.writestr(name, name)

    with zipfile.ZipFile(buffer) as archive:
        tree = ZipTree("a.zip", archive, Budget("a.zip", 0))
        assert list(map(str, tree.names)) == ["a/1.png", "b/2.png"]
        first = tree.names[0]
        assert tree.read(first) == b"a/1.png"
        assert tree.size(first) == 7
        with tree.open(first) as stream:
            assert stream.read() == b"a/1.png"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../x", "a\\x", "c:x", "a:b"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "x")

    with (
        zipfile.ZipFile(buffer) as archive,
        pytest.raises(DatasetLayoutError, match=r"the member name .* is refused"),
    ):
        ZipTree("a.zip", archive, Budget("a.zip", 0))
