from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from fercli.errors import OutputBusyError, OutputExistsError
from fercli.locks import FOLDER_LOCK, lock_folder, open_locked
from fercli.storage import name_partial, open_partial

HOLD = """
import sys
from pathlib import Path
from typing import BinaryIO
from fercli.locks import open_locked
with open_locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_told_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.partial"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()

    with pytest.raises(OutputBusyError) as caught, open_locked(path, output=tmp_path / "rows"):
        pass
    holder.kill()
    holder.communicate()

    who = f"process {holder.pid}" if Path("/proc/locks").exists() else "another process"
    assert caught.value.message == f"{tmp_path / 'rows'} is being written by {who}"
    # A killed holder leaves nothing to clean up.
    with open_locked(path):
        pass


def test_a_second_writer_of_the_same_process_is_refused(tmp_path: Path) -> None:
    with (
        open_locked(tmp_path / "file"),
        pytest.raises(OutputBusyError),
        open_locked(tmp_path / "file"),
    ):
        pass


def test_a_lock_never_empties_or_follows(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "precious", tmp_path / "link", tmp_path / "pipe"
    target.write_bytes(b"content")
    link.symlink_to(target)
    os.mkfifo(pipe)

    with open_locked(target) as stream:
        assert stream.read() == b"content"
    for path in (link, pipe):
        with pytest.raises(OutputExistsError, match="no regular file"), open_locked(path):
            pass
    assert target.read_bytes() == b"content"


def test_a_lock_on_a_file_that_was_renamed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.partial"
    real = os.open
    renamed: list[Path] = []

    def open_then_rename(name: Path, *arguments: int) -> int:
        descriptor = real(name, *arguments)
        if not renamed:
            renamed.append(path.rename(tmp_path / "rows"))
        return descriptor

    monkeypatch.setattr(os, "open", open_then_rename)

    with open_locked(path) as stream:
        stream.write(b"mine")

    assert path.read_bytes() == b"mine"
    assert (tmp_path / "rows").read_bytes() == b""


def test_a_held_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()

    with lock_folder(there), lock_folder(tmp_path / "new"):
        assert (there / FOLDER_LOCK).exists()
        with pytest.raises(OutputBusyError), lock_folder(there):
            pass

    assert list(tmp_path.rglob("*")) == [there]


def write_and_fail(stream: BinaryIO, content: bytes) -> None:
    stream.write(content)
    raise ZeroDivisionError


def test_a_partial_file_is_renamed_kept_or_removed(tmp_path: Path) -> None:
    whole, broken, empty = (tmp_path / name for name in ("whole", "broken", "empty"))

    with open_partial(whole) as stream:
        stream.write(b"rows")
    for path, content in ((broken, b"rows so far"), (empty, b"")):
        with pytest.raises(ZeroDivisionError), open_partial(path) as stream:
            write_and_fail(stream, content)

    assert whole.read_bytes() == b"rows"
    assert name_partial(broken).read_bytes() == b"rows so far"
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "broken.partial"}
