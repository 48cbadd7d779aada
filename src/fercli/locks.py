"""One writer per output: locks that end with the process that holds them.

A lock is the system's own on an open file (`flock`; on Windows a locked byte beyond the end), so
that a killed process leaves nothing to clean up. The file that is written is itself locked: the
library `filelock` needs a second file, which stays behind, or empties the one it locks.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from fercli.errors import OutputBusyError, OutputExistsError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FOLDER_LOCK", "append_line", "lock_folder", "open_locked"]

FOLDER_LOCK: Final = ".lock"
"""The file in a folder whose lock holds the folder."""
_APPEND_S: Final = 10.0
"""Seconds that an appended line waits for others, each of which takes milliseconds."""
_FAR: Final = 1 << 40
"""The byte that Windows locks: nothing is written there, so reading is not blocked."""


@contextlib.contextmanager
def open_locked(path: Path, *, output: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file for reading and writing that nobody else writes until the block ends.

    It is made when missing, and never truncated; a symbolic link is not followed.

    Args:
        path: The file.
        output: What to call it in messages; `path` itself where it is None.

    Raises:
        OutputBusyError: Another process, or another part of this one, holds it.
        OutputExistsError: It is a link, or no regular file.
    """
    while True:
        with _open(path) as stream:
            _lock(stream, output or path)
            # Between our opening and our locking its holder may have renamed or removed it.
            if _is_same_file(stream, path):
                yield stream
                return


def append_line(path: Path, line: str) -> None:
    """Append a line to a file that other processes append to as well, and flush it to the disk.

    Args:
        path: The file; it is made when missing. What a power cut left of a last line stays a line
            of its own.
        line: Without its end.

    Raises:
        OutputBusyError: Others held it for ten seconds.
        OutputExistsError: It is a link, or no regular file.
        OSError: It cannot be written; it is then as it was.
    """
    with _open_waiting(path) as stream:
        end = stream.seek(0, os.SEEK_END)
        begin = b""
        if end:
            stream.seek(end - 1)
            begin = b"" if stream.read(1) == b"\n" else b"\n"
        # Past the stream's buffer, which would try again what failed when it is closed.
        descriptor = stream.fileno()
        os.lseek(descriptor, end, os.SEEK_SET)
        rest = memoryview(begin + line.encode() + b"\n")
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(descriptor, end)
            raise


@contextlib.contextmanager
def _open_waiting(path: Path) -> Iterator[BinaryIO]:
    """Open a file like `open_locked`, and wait for who holds it."""
    last = time.monotonic() + _APPEND_S
    with contextlib.ExitStack() as stack:
        yield _enter_waiting(stack, path, last)


def _enter_waiting(stack: contextlib.ExitStack, path: Path, last: float) -> BinaryIO:
    while True:
        try:
            return stack.enter_context(open_locked(path))
        except OutputBusyError:
            if time.monotonic() > last:
                raise
            time.sleep(0.01)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made when missing, until the block ends.

    A folder that was made for it and is still empty is removed again.

    Raises:
        OutputBusyError: Another process, or another part of this one, holds it.
        OutputExistsError: It is a file.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        message = f"{folder} is a file, and a folder is needed"
        raise OutputExistsError(message, hint="name another --output") from None
    path = folder / FOLDER_LOCK
    with open_locked(path, output=folder):
        try:
            yield
        finally:
            # While it is held, so that nobody can have taken it over.
            path.unlink(missing_ok=True)
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _open(path: Path) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    is_link = f"{path} is a link or not a regular file, and cannot be written"
    if path.is_symlink():
        raise OutputExistsError(is_link, hint="remove it, or name another --output")
    descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OutputExistsError(is_link, hint="remove it, or name another --output")
    return os.fdopen(descriptor, "r+b")


def _lock(stream: BinaryIO, output: Path) -> None:
    try:
        if sys.platform == "win32":
            stream.seek(_FAR)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            stream.seek(0)
        else:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        holder = _find_holder(os.fstat(stream.fileno()).st_ino)
        message = f"{output} is being written by {holder}"
        hint = "wait for it to end, or name another --output"
        raise OutputBusyError(message, hint=hint) from None


def _is_same_file(stream: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.lstat())  # noqa: TID251  # not in pathlib
    except FileNotFoundError:
        return False


def _find_holder(inode: int) -> str:
    """Return who holds a lock on a file, as far as the system tells."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] == "FLOCK" and int(words[5].rpartition(":")[2]) == inode:
                own = int(words[4]) == os.getpid()
                return "this process already" if own else f"process {words[4]}"
    return "another process"
