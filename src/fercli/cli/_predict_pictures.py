"""The pictures and copies that `fer predict` is asked for, and what takes predictions for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from fercli.dependencies import check_installed
from fercli.errors import ConfigError
from fercli.storage import check_output, name_partial

if TYPE_CHECKING:
    from fercli.config import PredictConfig
    from fercli.prediction.sinks import Sink

__all__ = ["WantedPictures"]

_H264: Final = ".mp4"
_FILMS: Final = (_H264, ".webm")
_PICTURE_ENDINGS: Final = {"--montage": (".png",), "--timeline": (".png", ".html")}


@dataclass(frozen=True)
class WantedPictures:
    """What was asked for, and how far what is there is respected."""

    annotate: Path | None
    """Folder of images with their faces framed; an `.mp4` or a `.webm` of one video."""
    sort_into: Path | None
    """Folder of folders, one per label."""
    link: bool
    """Whether links are made there instead of copies."""
    montage: Path | None
    """A sheet of faces."""
    timeline: Path | None
    """A chart of the faces of videos."""
    force: bool
    resume: bool

    @property
    def film(self) -> Path | None:
        """The video that is to be written as one file."""
        path = self.annotate
        return path if path is not None and path.suffix.lower() in _FILMS else None

    def list_outputs(self, target: Path | None) -> list[Path]:
        """Return what is going to be written, which no search is to take for an input.

        Args:
            target: The file that rows go to.

        Raises:
            ConfigError: Two have the same name.
        """
        rows = [] if target is None else [target, name_partial(target)]
        others = (self.annotate, self.sort_into, self.montage, self.timeline)
        outputs = rows + [path for path in others if path is not None]
        if len({path.absolute() for path in outputs}) < len(outputs):
            message = "two outputs have the same name"
            raise ConfigError(message)
        return outputs

    def open_sinks(self, roots: list[PurePath], config: PredictConfig) -> list[Sink]:
        """Return what takes the predictions; `open_timeline` is for when the model is known.

        Args:
            roots: The inputs as they were named; folders below them are made again, those within
                archives, too. None where a live source was.
            config: What is looked for.

        Raises:
            ConfigError: Options contradict each other, or an output is there already.
            DependencyMissingError: What writes such a video is not there.
        """
        self._check(roots)
        if self.timeline is not None and self.timeline.suffix.lower() == ".png":
            # It is drawn last, when all the work is done.
            check_installed("matplotlib", consequence="pictures cannot be drawn")
        if not (self.annotate or self.sort_into or self.montage):
            return []
        from fercli.prediction.annotate import Montage
        from fercli.prediction.outputs import OutputFolder, Sorter

        roots = [*roots, *(PurePath(f"{root}!") for root in roots)]

        def open_folder(path: Path) -> OutputFolder:
            return OutputFolder(path, roots, force=self.force, keep=self.resume)

        sinks: list[Sink] = []
        if self.film is not None:
            sinks.append(_open_film(self.film, config.every_s))
        elif self.annotate is not None:
            from fercli.prediction.annotate import Annotator

            folder = open_folder(self.annotate)
            sinks.append(Annotator(folder, max_pixels=config.max_pixels, every_s=config.every_s))
        if self.sort_into is not None:
            sinks.append(Sorter(open_folder(self.sort_into), link=self.link))
        if self.montage is not None:
            sinks.append(Montage(self.montage))
        return sinks

    def open_timeline(self, labels: tuple[str, ...], config: PredictConfig) -> list[Sink]:
        """Return the chart that was asked for, if one was.

        Args:
            labels: The model's.
            config: What is looked for.

        Raises:
            DependencyMissingError: matplotlib cannot be imported.
        """
        if self.timeline is None:
            return []
        from fercli.prediction.timeline import Timeline

        return [Timeline(self.timeline, labels, every_s=config.every_s)]

    def _check(self, roots: list[PurePath]) -> None:
        problems = _find_film_problems(self.film, roots, resume=self.resume)
        if self.link and self.sort_into is None:
            problems.append("--link needs --sort-into: give --sort-into DIR with it")
        pictures = {"--montage": self.montage, "--timeline": self.timeline}
        for flag, path in pictures.items():
            if path is None:
                continue
            if self.resume:
                problems.append(f"{flag} needs all faces in one run: leave it out with --resume")
            endings = _PICTURE_ENDINGS[flag]
            if path.suffix.lower() not in endings:
                problems.append(f"{flag} {path} does not end in {' or '.join(endings)}")
        if problems:
            raise ConfigError(*problems)
        for path in filter(None, (*pictures.values(), self.film)):
            check_output(path, force=self.force)


def _open_film(path: Path, every_s: float) -> Sink:
    """Return what writes one annotated video, by the ending of its name."""
    if path.suffix.lower() == _H264:
        from fercli.prediction.video_file import VideoFile

        return VideoFile(path, every_s=every_s)
    from fercli.prediction.annotate import ClipFile

    return ClipFile(path, every_s=every_s)


def _find_film_problems(film: Path | None, roots: list[PurePath], *, resume: bool) -> list[str]:
    if film is None:
        return []
    from fercli.images import is_video

    problems = []
    if resume:
        problems.append("--annotate FILE needs the whole video: leave it out with --resume")
    if len(roots) > 1 or (roots and not is_video(Path(roots[0]))):
        problems.append(f"--annotate {film} takes one video: give only that, or name a folder")
    return problems
