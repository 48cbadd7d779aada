"""Folders that predictions fill with files: names that are free, and files sorted by label."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from fercli.errors import OutputExistsError
from fercli.inference.inputs import name_within
from fercli.storage import open_atomically

if TYPE_CHECKING:
    from fercli.inference.predict import FilePrediction

__all__ = ["OutputFolder", "Sorter"]


class OutputFolder:
    """A folder in which every input gets a file of its name, or of the next name that is free.

    Args:
        path: The folder; made when the first file comes.
        roots: Folders below which inputs keep their subfolders.
        force: Overwrite what an earlier prediction left there.
        keep: Add to what is there, under other names.

    Raises:
        OutputExistsError: It is a file, or holds something and neither `force` nor `keep` is set.
    """

    def __init__(
        self, path: Path, roots: Iterable[PurePath], *, force: bool = False, keep: bool = False
    ) -> None:
        self.path = path
        self._roots = tuple(roots)
        self._force = force
        self._taken: set[PurePath] = set()
        if path.exists() and not path.is_dir():
            message = f"{path} is a file, and a folder is needed"
            raise OutputExistsError(message, hint="name another folder")
        if path.is_dir() and not (force or keep) and any(path.iterdir()):
            message = f"{path} is not empty"
            raise OutputExistsError(message, hint="give --force to add to it, or name another")

    def choose(self, source: Path, *, below: str = "", suffix: str | None = None) -> Path:
        """Return where the file of an input goes; it is taken from then on.

        Args:
            source: The input.
            below: A folder in the folder.
            suffix: The ending that a file must have; added where the input has another.
        """
        name = PurePath(below) / name_within(source, self._roots)
        if suffix is not None and name.suffix.lower() != suffix:
            name = name.with_name(name.name + suffix)
        chosen, number = name, 1
        while chosen in self._taken or (not self._force and (self.path / chosen).exists()):
            number += 1
            chosen = name.with_name(f"{name.stem}-{number}{name.suffix}")
        self._taken.add(chosen)
        target = self.path / chosen
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


class Sorter:
    """Copies or links each input into a folder named by the label of its largest face.

    Inputs without a face go to `no_face`; what cannot be read stays where it is.

    Args:
        folder: Where to.
        link: Make symbolic links instead of copies.
    """

    def __init__(self, folder: OutputFolder, *, link: bool = False) -> None:
        self._folder = folder
        self._link = link
        self._n_files = 0

    def add(self, prediction: FilePrediction) -> None:
        """Sort one input."""
        first = prediction.rows[0]
        if first.status not in {"ok", "no_face"}:
            return
        below = _name_folder(first.label or first.status)
        target = self._folder.choose(prediction.path, below=below)
        self._n_files += 1
        if self._link:
            target.unlink(missing_ok=True)
            target.symlink_to(prediction.path.absolute())
            return
        try:
            source = prediction.path.open("rb")
        except OSError:
            # Gone since its faces were found.
            return
        with source, open_atomically(target, durable=False) as copy:
            shutil.copyfileobj(source, copy)
            status = os.fstat(source.fileno())
        # A photo keeps the time at which it was taken.
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def close(self) -> None:
        """Do nothing; every file is in its place."""

    def describe(self) -> str:
        """Return what was made."""
        return f"{self._n_files:,} files sorted into {self._folder.path}"


def _name_folder(label: str) -> str:
    """Return a label as a folder's name; a model's labels are whatever its maker wrote."""
    return re.sub(r"[^\w-]", "_", label) or "_"
