from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from fercli.errors import OutputBusyError, OutputExistsError
from fercli.locks import FOLDER_LOCK, append_line, lock_folder, open_locked
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
        with pytest.raises(OutputExistsError, match="not a regular file"), open_locked(path):
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


def test_a_partial_file_that_somebody_removed_does_not_hide_the_reason(tmp_path: Path) -> None:
    def remove(stream: BinaryIO) -> None:
        name_partial(tmp_path / "rows").unlink()
        write_and_fail(stream, b"")

    with pytest.raises(ZeroDivisionError), open_partial(tmp_path / "rows") as stream:
        remove(stream)

    assert list(tmp_path.iterdir()) == []


APPEND = """
import sys
from pathlib import Path
from fercli.locks import append_line
for number in range(100):
    append_line(Path("lines"), f"{sys.argv[1]}:{number}:" + "x" * 5000)
"""


def test_no_line_is_lost_or_torn_when_many_append() -> None:
    many = [subprocess.Popen([sys.executable, "-c", APPEND, str(one)]) for one in range(4)]

    assert [one.wait(timeout=120) for one in many] == [0] * 4

    lines = Path("lines").read_text().splitlines()
    assert len(lines) == 400
    for one in range(4):
        own = [line for line in lines if line.startswith(f"{one}:")]
        assert own == [f"{one}:{number}:{'x' * 5000}" for number in range(100)]


def test_a_torn_line_stays_a_line_of_its_own() -> None:
    path = Path("lines")
    path.write_bytes(b"whole\ntor")

    append_line(path, "next")

    assert path.read_bytes() == b"whole\ntor\nnext\n"


def test_a_line_that_does_not_fit_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("lines")
    append_line(path, "first")
    write = os.write

    def write_a_part(descriptor: int, content: memoryview) -> int:
        if len(content) < 5:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:4])

    monkeypatch.setattr(os, "write", write_a_part)

    with pytest.raises(OSError, match="No space left"):
        append_line(path, "second")

    assert path.read_bytes() == b"first\n"


def test_a_line_waits_for_who_holds_the_file_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path("lines")
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("fercli.locks.time.monotonic", lambda: now)
    monkeypatch.setattr("fercli.locks.time.sleep", sleep)

    with open_locked(path), pytest.raises(OutputBusyError):
        append_line(path, "next")
    append_line(path, "next")

    assert now == pytest.approx(10, abs=0.1)
    assert path.read_bytes() == b"next\n"


def test_a_folder_below_missing_ones_is_made_and_removed_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"

    with lock_folder(folder):
        assert folder.is_dir()
    assert list((tmp_path / "a").iterdir()) == []
    with lock_folder(folder):
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_file_that_is_made_may_be_used_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        append_line(tmp_path / "lines", "one")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "lines").stat().st_mode) == 0o664
