"""Folders that predictions fill with files: names that are free, and files sorted by label."""

from __future__ import annotations

import filecmp
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO

from fercli.errors import ConfigError, OutputExistsError
from fercli.names import count
from fercli.prediction.inputs import name_within
from fercli.storage import identify_file

if TYPE_CHECKING:
    from fercli.prediction.answers import FilePrediction

__all__ = ["OutputFolder", "Sorter"]


class OutputFolder:
    """A folder in which every input gets a file of its name, or of the next name that is free.

    Args:
        path: The folder; made when the first file comes.
        roots: Folders below which inputs keep their subfolders.
        force: Overwrite what an earlier prediction left there.
        keep: Add to what is there, under other names; a file that is there already stays alone.

    Raises:
        OutputExistsError: It is a file, or holds something and neither `force` nor `keep` is set.
        ConfigError: An input lies in it, and could be overwritten.
    """

    def __init__(
        self, path: Path, roots: Iterable[PurePath], *, force: bool = False, keep: bool = False
    ) -> None:
        self.path = path
        self._roots = tuple(roots)
        # What is kept is not written over, whatever else was asked for.
        self._force = force and not keep
        self._keep = keep
        # Of a folder that is overwritten: what is there says nothing about what was just written.
        self._taken: set[PurePath] = set()
        self._numbers: dict[PurePath, int] = {}
        if path.exists() and not path.is_dir():
            message = f"{path} is a file, and a folder is needed"
            raise OutputExistsError(message, hint="name another folder")
        place = _locate(path)
        if path.is_dir() and any(_locate(root).is_relative_to(place) for root in self._roots):
            message = f"{path} contains the inputs, and would be overwritten"
            raise ConfigError(message, hint="name another folder")
        if path.is_dir() and not (force or keep) and any(path.iterdir()):
            message = f"{path} is not empty"
            raise OutputExistsError(message, hint="--force overwrites what is there")

    def add(
        self,
        source: Path,
        fill: Callable[[BinaryIO], None],
        *,
        below: str = "",
        suffix: str | None = None,
    ) -> None:
        """Write the file of an input.

        Args:
            source: The input.
            fill: Writes the content.
            below: A folder in the folder.
            suffix: The ending that the file must have; added where the input has another.

        Raises:
            OSError: It cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        # A name of its own: with anything added, the input's could be too long.
        draft = self.path / f".{secrets.token_hex(8)}.tmp"
        try:
            with draft.open("xb") as stream:
                fill(stream)
            target = self._choose(
                source, below, suffix, lambda there: filecmp.cmp(draft, there, shallow=False)
            )
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def link(self, source: Path, *, below: str) -> None:
        """Make a symbolic link to an input.

        Raises:
            OSError: It cannot be made.
        """
        aim = source.absolute()
        target = self._choose(
            source, below, None, lambda there: there.is_symlink() and there.readlink() == aim
        )
        target.unlink(missing_ok=True)
        target.symlink_to(aim)

    def _choose(
        self, source: Path, below: str, suffix: str | None, is_same: Callable[[Path], bool]
    ) -> Path:
        """Return a path that is free, may be overwritten, or holds the same already."""
        name = PurePath(below) / name_within(source, self._roots)
        if suffix is not None and name.suffix.lower() != suffix:
            name = name.with_name(name.name + suffix)
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        number = self._numbers.get(name, 1)
        while True:
            chosen = name if number == 1 else name.with_name(f"{name.stem}-{number}{name.suffix}")
            target = self.path / chosen
            if self._is_free(chosen, target, source) or (self._keep and is_same(target)):
                break
            number += 1
        if number > 1:
            self._numbers[name] = number
        if self._force:
            self._taken.add(chosen)
        return target

    def _is_free(self, chosen: PurePath, target: Path, source: Path) -> bool:
        if not os.path.lexists(target):  # noqa: TID251  # pathlib cannot ask about a broken link
            return True
        if not self._force or chosen in self._taken:
            return False
        # Never an input, not even by another name.
        if target.is_symlink() or identify_file(source) is None:
            return True
        return not target.samefile(source)


class Sorter:
    """Copies or links each input into a folder named by the label of its largest face.

    Inputs without a face go to `no_face`; what cannot be read stays where it is.

    Args:
        folder: Where to.
        link: Make symbolic links instead of copies; of what lies in an archive there are copies.
    """

    def __init__(self, folder: OutputFolder, *, link: bool = False) -> None:
        self._folder = folder
        self._link = link
        self._n_files = 0

    def add(self, prediction: FilePrediction) -> None:
        """Sort one image; a video, which has many faces, stays where it is."""
        first = prediction.rows[0]
        if prediction.frame is not None or first.status not in {"ok", "no_face"}:
            return
        below = _name_folder(first.label or first.status)
        content = prediction.content
        if content is not None:
            self._folder.add(prediction.path, lambda copy: _write(content, copy), below=below)
        elif self._link:
            self._folder.link(prediction.path, below=below)
        else:
            self._folder.add(
                prediction.path, lambda copy: _copy(prediction.path, copy), below=below
            )
        self._n_files += 1

    def close(self) -> None:
        """Do nothing; every file is in its place."""

    def describe(self) -> str:
        """Return what was made."""
        return f"{count(self._n_files, 'file')} sorted into {self._folder.path}"


def _write(content: bytes, target: BinaryIO) -> None:
    target.write(content)


def _copy(path: Path, target: BinaryIO) -> None:
    """Copy a file, and the time at which a photo was taken."""
    with path.open("rb") as source:
        shutil.copyfileobj(source, target)
        status = os.fstat(source.fileno())
    target.flush()
    os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def _locate(path: PurePath) -> Path:
    return Path(os.path.realpath(path))  # noqa: TID251  # pathlib raises on loops of links


def _name_folder(label: str) -> str:
    """Return a label as a folder's name; a model's labels are whatever its maker wrote."""
    return re.sub(r"[^\w-]", "_", label)[:50] or "_"
