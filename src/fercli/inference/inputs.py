"""From what was typed after `fer predict` to files, one at a time, however many there are."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from fercli.errors import InputNotFoundError

__all__ = ["find_images", "name_within"]


def find_images(
    paths: Sequence[str], stdin: Iterable[str] = (), outputs: Iterable[Path] = ()
) -> Iterator[Path]:
    """Return the files to look at, in the order asked for, each folder's sorted.

    They are found as they are asked for; what is held are the names of one folder or pattern.

    Args:
        paths: Files, folders (all that is in them and below, but for dot files and linked
            folders), patterns with `*`, `?` or `[`, or `-`. Names say nothing: what is no image
            becomes a row that says so.
        stdin: Lines of paths, used for `-`; a path that is not there comes all the same.
        outputs: Files and folders that are being written; a folder's search leaves them out.

    Raises:
        InputNotFoundError: A path is missing, or nothing was found at all.
    """
    for text in paths:
        if text != "-":
            _check_there(text)
    left_out = {_locate(path) for path in outputs}
    found = itertools.chain.from_iterable(_expand(text, stdin, left_out) for text in paths)
    first = next(found, None)
    if first is None:
        message = f"no images found in {', '.join(map(repr, paths))}"
        raise InputNotFoundError(message)
    return itertools.chain([first], found)


def name_within(path: Path, roots: Iterable[PurePath]) -> PurePath:
    """Return a file's name below the first of some folders that holds it, else its own name."""
    for root in roots:
        if path != root and path.is_relative_to(root) and ".." not in path.relative_to(root).parts:
            return path.relative_to(root)
    return PurePath(path.name)


def _check_there(text: str) -> None:
    if not text or os.path.lexists(text):  # noqa: TID251  # pathlib cannot ask about a broken link
        return
    if glob.has_magic(text):
        if next(glob.iglob(text, recursive=True), None) is None:  # noqa: PTH207  # as typed
            message = f"nothing matches {text!r}"
            raise InputNotFoundError(message)
        return
    message = f"there is no file or folder {text!r}"
    raise InputNotFoundError(message)


def _locate(path: Path | str) -> Path:
    """Return where a path is, its folders' links followed."""
    path = Path(path).absolute()
    return Path(os.path.realpath(path.parent), path.name)  # noqa: TID251  # resolve raises on loops


def _expand(text: str, stdin: Iterable[str], left_out: set[Path]) -> Iterator[Path]:
    """Yield the files of one word; a blank line of stdin has none."""
    if text == "-":
        for line in stdin:
            yield from _expand_path(line.rstrip("\r\n"), left_out)
    elif glob.has_magic(text) and not os.path.lexists(text):  # noqa: TID251  # as above
        for match in _drop_inner(sorted(glob.glob(text, recursive=True))):  # noqa: PTH207  # as typed
            yield from _expand_path(match, left_out)
    else:
        yield from _expand_path(text, left_out)


def _expand_path(text: str, left_out: set[Path]) -> Iterator[Path]:
    path = Path(text)
    if not text or (left_out and _locate(path) in left_out):
        return
    # Not of pathlib, which raises on names that are too long and folders that are closed.
    if os.path.isdir(text):  # noqa: PTH112, TID251
        yield from _search(path, left_out)
    else:
        yield path


def _drop_inner(matches: list[str]) -> Iterator[str]:
    """Yield sorted matches but for what lies in a folder that matched, which is searched anyway."""
    folder = None
    for match in matches:
        if folder is not None and match.startswith(folder):
            continue
        if os.path.isdir(match):  # noqa: PTH112, TID251  # as above
            folder = os.path.join(match, "")  # noqa: PTH118, TID251  # with its separator
        yield match


def _search(folder: Path, left_out: set[Path]) -> Iterator[Path]:
    closed: list[OSError] = []
    names = {path.name for path in left_out}

    def is_wanted(root: str, name: str) -> bool:
        if name.startswith("."):
            return False
        return name not in names or _locate(Path(root, name)) not in left_out

    for root, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if is_wanted(root, name))
        for name in sorted(files):
            if is_wanted(root, name):
                yield Path(root, name)
        # A folder that cannot be searched is named as what cannot be read, not passed over.
        while closed:
            yield Path(closed.pop(0).filename)
    while closed:
        yield Path(closed.pop(0).filename)
