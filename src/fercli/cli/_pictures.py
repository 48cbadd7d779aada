"""What `fer predict` makes of the predictions beside their rows: pictures, copies, a sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from fercli.errors import ConfigError
from fercli.storage import check_output, name_partial

if TYPE_CHECKING:
    from fercli.prediction.sinks import Sink

__all__ = ["WantedPictures"]


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
