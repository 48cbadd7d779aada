from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from fercli.data.trees import FolderTree, open_tree
from fercli.errors import DatasetLayoutError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files on three levels, one of them hidden."""
    root = tmp_path / "faces"
    for name in ("b/2.png", "a/deep/3.png", "a/1.png", ".git/4.png", "a/.5.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


NAMES = ["a/1.png", "a/deep/3.png", "b/2.png"]


def test_folders_and_archives_are_one_thing(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as packed:
        for name in NAMES:
            packed.write(folder / name, name)
    with tarfile.open(tmp_path / "faces.tgz", "w:gz") as archive:
        for name in NAMES:
            archive.add(folder / name, name)

    for path in (folder, tmp_path / "faces.zip", tmp_path / "faces.tgz"):
        with open_tree(path) as tree:
            assert tree.name == path.name
            assert list(map(str, tree.names)) == NAMES
            assert [tree.read(name).decode() for name in tree.names] == NAMES
            assert [tree.size(name) for name in tree.names] == list(map(len, NAMES))
            with tree.open(tree.names[0]) as stream:
                assert stream.read() == b"a/1.png"


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("text")

    with (
        pytest.raises(DatasetLayoutError, match="is not a readable archive"),
        open_tree(tmp_path / "a.zip"),
    ):
        pass


def test_a_linked_folder_is_read_and_a_circle_is_not(folder: Path) -> None:
    (folder / "linked").symlink_to(folder / "b")
    assert PurePosixPath("linked/2.png") in FolderTree(folder).names

    (folder / "b" / "back").symlink_to(folder)
    with pytest.raises(DatasetLayoutError, match="is a link to a folder that contains it"):
        _ = FolderTree(folder).names


def test_a_link_that_leads_nowhere_is_named(folder: Path) -> None:
    (folder / "b" / "lost.png").symlink_to("nowhere.png")

    with pytest.raises(DatasetLayoutError, match=r"lost\.png is a broken link"):
        _ = FolderTree(folder).names


def test_pipes_hold_nothing_to_read(folder: Path) -> None:
    os.mkfifo(folder / "b" / "pipe.png")

    assert list(map(str, FolderTree(folder).names)) == NAMES


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    tree = FolderTree(folder)
    (folder / "b" / "2.png").unlink()

    with pytest.raises(DatasetLayoutError, match=r"2\.png cannot be read"):
        tree.read(PurePosixPath("b/2.png"))
