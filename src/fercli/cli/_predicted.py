"""What `fer predict` counts, and what it makes beside the rows: pictures, copies, a sheet."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from fercli.errors import ConfigError
from fercli.results import PredictionRow, PredictResult
from fercli.storage import check_output, name_partial

if TYPE_CHECKING:
    from fercli.cli._rows import Rows
    from fercli.prediction import FilePrediction
    from fercli.prediction.sinks import Sink

__all__ = ["PredictionSummary", "WantedPictures"]


_HOPELESS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""What would befall every other file, too."""


@dataclass
class PredictionSummary:
    """Counts, and rows where they are not written anywhere."""

    labels: tuple[str, ...]
    """The model's, in its order."""
    rows: list[PredictionRow] | None
    """Takes the rows, if they go nowhere else."""
    n_inputs: int = 0
    n_frames: int = 0
    n_images: int = 0
    n_resumed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faces: Counter[str] = field(default_factory=Counter)
    n_unwritten: int = 0
    unwritten: str = ""
    """The first file of which no picture or copy could be written, and why."""

    @property
    def n_done(self) -> int:
        """Files that have their rows."""
        return self.n_inputs + self.n_resumed

    def pass_over(self, files: Iterable[Path], done: set[str]) -> Iterator[Path]:
        """Yield the files that have no rows yet.

        Args:
            files: All of them.
            done: Those that have, as `key_path` gives them.
        """
        if not done:
            yield from files
            return
        from fercli.prediction.writers import key_path

        for path in files:
            if key_path(str(path)) in done:
                self.n_resumed += 1
            else:
                yield path

    def add(self, prediction: FilePrediction, rows: Rows) -> None:
        """Count one image or frame and write its rows."""
        self.n_inputs += prediction.is_first
        self.n_frames += prediction.frame is not None
        self.n_images += 1
        for row in prediction.rows:
            self.statuses[row.status] += 1
            if row.label is not None:
                self.faces[row.label] += 1
            if self.rows is not None:
                self.rows.append(row)
            rows.write(row)

    def keep(self, sink: Sink, prediction: FilePrediction) -> None:
        """Hand a file's prediction on; a name that cannot be written costs that file alone.

        Raises:
            OSError: No other file could be written either.
        """
        try:
            sink.add(prediction)
        except OSError as reason:
            if reason.errno in _HOPELESS:
                raise
            self.n_unwritten += 1
            self.unwritten = self.unwritten or f"{prediction.path}: {reason.strerror or reason}"

    def conclude(self, duration_s: float, *, output: Path | None, model: str) -> PredictResult:
        """Return the result."""
        statuses = self.statuses
        return PredictResult(
            n_inputs=self.n_inputs,
            n_frames=self.n_frames,
            n_faces=statuses["ok"],
            n_no_face=statuses["no_face"],
            n_skipped=statuses["unreadable"] + statuses["refused"],
            n_resumed=self.n_resumed,
            images_per_s=self.n_images / duration_s,
            output=str(output) if output else None,
            model=model,
            # The model's order, then what is no label of it.
            labels={name: self.faces[name] for name in dict.fromkeys([*self.labels, *self.faces])},
            rows=self.rows,
        )


@dataclass(frozen=True)
class WantedPictures:
    """What was asked for, and how far what is there is respected."""

    annotate: Path | None
    """Folder of images with their faces framed."""
    sort_into: Path | None
    """Folder of folders, one per label."""
    link: bool
    """Whether links are made there instead of copies."""
    montage: Path | None
    """A sheet of faces."""
    force: bool
    resume: bool
    max_pixels: int

    def list_outputs(self, target: Path | None) -> list[Path]:
        """Return what is going to be written, which no search is to take for an input.

        Args:
            target: The file that rows go to.

        Raises:
            ConfigError: Two have the same name.
        """
        rows = [] if target is None else [target, name_partial(target)]
        others = (self.annotate, self.sort_into, self.montage)
        outputs = rows + [path for path in others if path is not None]
        if len({path.absolute() for path in outputs}) < len(outputs):
            message = "two outputs have the same name"
            raise ConfigError(message)
        return outputs

    def open_sinks(self, roots: list[PurePath]) -> list[Sink]:
        """Return what takes the predictions.

        Args:
            roots: The inputs as they were named; folders below them are made again.

        Raises:
            ConfigError: Options contradict each other, or an output is there already.
        """
        self._check()
        if not (self.annotate or self.sort_into or self.montage):
            return []
        from fercli.prediction.annotate import Annotator, Montage
        from fercli.prediction.outputs import OutputFolder, Sorter

        def open_folder(path: Path) -> OutputFolder:
            return OutputFolder(path, roots, force=self.force, keep=self.resume)

        sinks: list[Sink] = []
        if self.annotate is not None:
            sinks.append(Annotator(open_folder(self.annotate), max_pixels=self.max_pixels))
        if self.sort_into is not None:
            sinks.append(Sorter(open_folder(self.sort_into), link=self.link))
        if self.montage is not None:
            sinks.append(Montage(self.montage))
        return sinks

    def _check(self) -> None:
        problems = []
        if self.link and self.sort_into is None:
            problems.append("--link says how files are sorted: give --sort-into DIR with it")
        if self.montage is not None:
            if self.resume:
                problems.append("--montage shows the faces of one run: leave it out with --resume")
            if self.montage.suffix.lower() != ".png":
                problems.append(f"--montage {self.montage} does not end in .png")
        if problems:
            raise ConfigError(*problems)
        if self.montage is not None:
            check_output(self.montage, force=self.force)
