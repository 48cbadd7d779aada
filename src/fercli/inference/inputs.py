"""From what was typed after `fer predict` to a list of files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fercli.errors import InputNotFoundError
from fercli.images import SUFFIXES

__all__ = ["find_images"]


def find_images(paths: Iterable[str], stdin: Iterable[str] = ()) -> list[Path]:
    """Return the files to look at, in the order asked for, each folder's sorted.

    Args:
        paths: Files (whatever their name), folders (searched recursively for names that images
            have, dot files and linked folders left out), patterns with `*`, `?` or `[`, or `-`.
        stdin: Lines of paths, used for `-`.

    Raises:
        InputNotFoundError: A path is missing, or nothing was found at all.
    """
    found: list[Path] = []
    for text in paths:
        if text == "-":
            for line in stdin:
                found.extend(_expand(line.rstrip("\r\n")))
        else:
            found.extend(_expand(text))
    if not found:
        message = f"no images found in {', '.join(map(repr, paths))}"
        raise InputNotFoundError(message)
    return found


def _expand(text: str) -> Iterator[Path]:
    """Yield the files of one word; a blank line of stdin has none."""
    path = Path(text)
    if not text:
        return
    if path.is_dir():
        yield from _search(path)
    elif os.path.lexists(path):  # noqa: TID251  # pathlib cannot ask about a broken link itself
        yield path
    elif glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  # relative as typed
        if not matches:
            message = f"nothing matches {text!r}"
            raise InputNotFoundError(message)
        for match in matches:
            yield from _expand(match)
    else:
        message = f"there is no file or folder {text!r}"
        raise InputNotFoundError(message)


def _search(folder: Path) -> Iterator[Path]:
    closed: list[OSError] = []
    for root, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(root) / name
    # A folder that cannot be searched is named as what cannot be read, not passed over.
    yield from (Path(error.filename) for error in closed)
