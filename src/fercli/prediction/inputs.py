"""From what was typed after `fer predict` to files, one at a time, however many there are."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from fercli.errors import ConfigError, InputNotFoundError
from fercli.images import find_kind, may_hold_pictures
from fercli.paths import describe_start, suggest_path
from fercli.prediction.annotate import is_montage
from fercli.prediction.members import has_ending, is_archive_name
from fercli.prediction.sources import Others
from fercli.prediction.stores import StoredObject, Stores, is_stored
from fercli.prediction.writers import are_rows, is_parquet_of_rows
from fercli.storage import check_apart, identify_file

__all__ = ["find_files", "find_images", "join_words", "name_within"]

_RANGE: Final = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}", re.ASCII)
_MOST_IN_RANGE: Final = 100_000
_MOST_JOINED: Final = 20
"""Words that are tried as parts of one name; nobody types more."""


def find_images(
    paths: Sequence[str],
    stdin: Iterable[str] = (),
    outputs: Sequence[Path] = (),
    *,
    keep: bool = False,
    endings: Collection[str] = (),
    others: Others | None = None,
) -> Iterator[Path | StoredObject]:
    """Return the files to look at, in the order asked for, each folder's sorted.

    They are found as they are asked for; what is held are the names of one folder or pattern.

    Args:
        paths: Files, folders (the images, videos and archives in them and below, by name or
            content, but for dot files and linked folders), patterns with `*`, `?` or `[`, ranges
            such as `{000..099}`, addresses of object stores, or `-`. What is named is taken
            whatever it is: what is no image becomes a row that says so.
        stdin: Lines of paths, used for `-`; a path that is not there comes all the same.
        outputs: Files and folders that are being written; a search leaves them out.
        keep: They are gone on with; else what is there is written over.
        endings: Of the files that are taken from folders; all images, videos and archives where
            there are none.
        others: Counts what is passed over in folders.

    Raises:
        InputNotFoundError: A path is missing, or nothing was found at all.
        ConfigError: An output is an input, by whatever name. Those alone that an earlier command
            wrote are left out of folders, patterns and stdin without a word.
        FercliError: As `Stores.check`.
    """
    if not keep:
        check_apart(outputs, (Path(text) for text in paths if text and text != "-"))
    words = list(itertools.chain.from_iterable(map(_expand_ranges, paths)))
    stores = Stores()
    for text in words:
        if is_stored(text):
            stores.check(text)
        elif text != "-":
            _check_there(text, words)
    others = others or Others()
    search = _Search(_Outputs(outputs, keep=keep), endings, others, stores)
    found = itertools.chain.from_iterable(_expand(text, stdin, search) for text in words)
    first = next(found, None)
    if first is None:
        beside = f"; files passed over: {others.n_files:,}" if others.n_files else ""
        message = f"no images found in {', '.join(map(repr, paths))}{beside}"
        raise InputNotFoundError(message)
    return itertools.chain([first], found)


def find_files(
    paths: Sequence[str], outputs: Sequence[Path] = (), *, keep: bool = False
) -> Iterator[Path]:
    """Return the files on disk to look at, for one who reads no store; as `find_images`.

    Raises:
        ConfigError: An address of a store is among them.
        InputNotFoundError: As `find_images`.
    """
    if stored := [text for text in paths if is_stored(text)]:
        message = f"{stored[0]!r} is in a store, but only files on disk are read here"
        raise ConfigError(message)
    found = find_images(paths, outputs=outputs, keep=keep)
    return (path for path in found if isinstance(path, Path))


def name_within(path: Path, roots: Iterable[PurePath]) -> PurePath:
    """Return a file's name below the first of some folders that holds it, else its own name."""
    for root in roots:
        if path != root and path.is_relative_to(root) and ".." not in path.relative_to(root).parts:
            return path.relative_to(root)
    return PurePath(path.name)


def _check_there(text: str, words: Sequence[str]) -> None:
    if not text or os.path.lexists(text):  # noqa: TID251  # pathlib cannot ask about a broken link
        return
    if glob.has_magic(text):
        if next(glob.iglob(text, recursive=True), None) is None:  # noqa: PTH207  # as typed
            message = f"nothing matches {text!r}"
            raise InputNotFoundError(message, hint=describe_start(text))
        return
    message = f"there is no file or folder {text!r}"
    raise InputNotFoundError(message, hint=join_words(words) or suggest_path(text))


def join_words(words: Sequence[str]) -> str:
    """Return what to do where a name with spaces was typed without quotes, else nothing."""
    if len(words) > _MOST_JOINED:
        return ""
    for start, stop in itertools.combinations(range(len(words) + 1), 2):
        name = " ".join(words[start:stop])
        if stop > start + 1 and os.path.lexists(name):  # noqa: TID251  # as above
            return f'put a name with spaces in quotes: "{name}"'
    return ""


def _locate(path: Path | str) -> Path:
    """Return where a path is, its folders' links followed."""
    path = Path(path).absolute()
    return Path(os.path.realpath(path.parent), path.name)  # noqa: TID251  # resolve raises on loops


class _Outputs:
    """What is being written, which no search takes for an input."""

    def __init__(self, outputs: Sequence[Path], *, keep: bool) -> None:
        self._places = {_locate(path) for path in outputs}
        # Most files differ by their names alone, and need not be looked for.
        self._names = {path.name for path in self._places}
        there = [] if keep else [path for path in outputs if identify_file(path) is not None]
        self._lost = [path for path in there if not _is_ours(path)]
        self._folders = [] if keep else [_locate(path) for path in outputs if path.is_dir()]

    def hold(self, path: Path) -> bool:
        """Return whether a path is an output, not an input.

        Raises:
            ConfigError: It is both: somebody's file lies there, and would be written over.
        """
        if self._lost:
            check_apart(self._lost, [path])
        return path.name in self._names and _locate(path) in self._places

    def check_outside(self, path: Path) -> None:
        """Refuse an input in a folder that is filled, where another's file could take its name.

        Raises:
            ConfigError: It lies there.
        """
        for folder in self._folders:
            if _locate(path).is_relative_to(folder):
                message = f"the input {path} is in {folder} and could be overwritten"
                raise ConfigError(message, hint="name another folder")


def _is_ours(path: Path) -> bool:
    """Return whether an earlier command wrote a file, told by how it begins."""
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
            return are_rows(head) or is_montage(head) or is_parquet_of_rows(stream, head)
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class _Search:
    """What a search of folders takes."""

    left_out: _Outputs
    endings: Collection[str]
    others: Others
    stores: Stores

    def take(self, path: Path) -> bool:
        """Return whether a file of a folder is taken; one that is not is counted."""
        if self.endings:
            is_taken = has_ending(path.name, self.endings)
        else:
            is_archive = is_archive_name(path.name) and path.is_file()
            is_taken = may_hold_pictures(path) or is_archive
        if not is_taken:
            self.others.add()
        return is_taken

    def take_object(self, found: StoredObject) -> bool:
        """Return whether an object is taken; one that nobody named and that is not is counted.

        Looking into one is a request: a name with an unknown ending is taken at its word, and one
        without any is read to see what it is.
        """
        if found.is_named:
            return True
        kind = find_kind(found.name)
        if self.endings:
            is_taken = has_ending(found.name, self.endings)
        else:
            is_nameless = "." not in found.name and bool(found.n_bytes)
            is_taken = kind == "image" or is_archive_name(found.name) or is_nameless
        if not is_taken or kind == "video":
            self.others.add(packed_video=kind == "video")
            return False
        return True


def _expand_ranges(text: str) -> Iterator[str]:
    """Yield the words that `{000..099}` stands for, as in shells; a path that is there is one."""
    found = _RANGE.search(text)
    if found is None or os.path.lexists(text):  # noqa: TID251  # as below
        yield text
        return
    first, last = int(found[1]), int(found[2])
    if abs(last - first) >= _MOST_IN_RANGE:
        message = f"{found[0]} stands for more than {_MOST_IN_RANGE:,} names"
        raise ConfigError(message)
    # A leading zero asks for numbers of one width.
    padded = any(len(end) > 1 and end.startswith("0") for end in found.groups())
    width = max(map(len, found.groups())) if padded else 0
    step = 1 if last >= first else -1
    for number in range(first, last + step, step):
        yield from _expand_ranges(
            text[: found.start()] + f"{number:0{width}}" + text[found.end() :]
        )


def _expand(text: str, stdin: Iterable[str], search: _Search) -> Iterator[Path | StoredObject]:
    """Yield the files of one word; a blank line of stdin has none."""
    if is_stored(text):
        yield from filter(search.take_object, search.stores.find(text))
    elif text == "-":
        for line in stdin:
            yield from _expand_line(line.rstrip("\r\n"), search)
    elif glob.has_magic(text) and not os.path.lexists(text):  # noqa: TID251  # as above
        found = glob.glob(text, recursive=True)  # noqa: PTH207  # as typed
        # By their parts, or a folder's files would not all come right after it.
        for match in _drop_inner(sorted(found, key=lambda one: Path(one).parts)):
            yield from _expand_path(match, search)
    else:
        yield from _expand_path(text, search)


def _expand_line(text: str, search: _Search) -> Iterator[Path | StoredObject]:
    if is_stored(text):
        yield from filter(search.take_object, search.stores.name(text))
    else:
        yield from _expand_path(text, search)


def _expand_path(text: str, search: _Search) -> Iterator[Path]:
    path = Path(text)
    if not text or search.left_out.hold(path):
        return
    search.left_out.check_outside(path)
    # Not of pathlib, which raises on names that are too long and folders that are closed.
    if os.path.isdir(text):  # noqa: PTH112, TID251
        yield from _search(path, search)
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


def _search(folder: Path, search: _Search) -> Iterator[Path]:
    closed: list[OSError] = []

    def find_wanted(root: str, names: list[str]) -> Iterator[Path]:
        paths = (Path(root, name) for name in sorted(names) if not name.startswith("."))
        return (path for path in paths if not search.left_out.hold(path))

    for root, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = [path.name for path in find_wanted(root, folders)]
        yield from filter(search.take, find_wanted(root, files))
        # A folder that cannot be searched is named as what cannot be read, not passed over.
        while closed:
            yield Path(closed.pop(0).filename)
    while closed:
        yield Path(closed.pop(0).filename)
