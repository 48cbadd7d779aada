"""Where `fer predict` puts what it finds: rows on the terminal, stdout or a file, and pictures."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from fercli.cli._display import print_table
from fercli.config import ROW_FILE_FORMATS
from fercli.dependencies import check_installed
from fercli.errors import ConfigError
from fercli.names import safe_name
from fercli.ranges import find_unknown_choice
from fercli.storage import check_output, name_partial

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.prediction.parts import Part
    from fercli.prediction.row_files import RowFile, Rows
    from fercli.prediction.sinks import Sink
    from fercli.prediction.writers import RowLayout, Write
    from fercli.results import PredictionRow, TrackTime

__all__ = [
    "FORMATS",
    "Target",
    "WantedPictures",
    "choose_part",
    "choose_target",
    "open_rows",
    "print_summary",
    "print_tracks",
    "split_endings",
]

FORMATS: Final = ("table", *ROW_FILE_FORMATS)
_BAR: Final = 20
_SHOWN_TRACKS: Final = 8
_H264: Final = ".mp4"
_FILMS: Final = (_H264, ".webm")
_PICTURE_ENDINGS: Final = {"--montage": (".png",), "--timeline": (".png", ".html")}


@dataclass(frozen=True)
class Target:
    """Where rows go."""

    kind: str
    """One of `FORMATS`."""
    file: RowFile | None
    """None for stdout."""


def choose_target(
    row_format: str | None,
    path: Path | None,
    *,
    json: bool,
    resume: bool,
    force: bool,
    for_excel: bool = False,
    within_clips: bool = False,
) -> Target:
    """Return where rows go: the format is the one asked for, or what the file's name says.

    Raises:
        ConfigError: The options contradict each other; all that is wrong is said at once.
        OutputExistsError: The file, or an interrupted command's part of it, is there and is neither
            to be gone on with nor overwritten.
    """
    kind = row_format or ("table" if path is None else path.suffix.lstrip(".").lower())
    problems = (
        _find_stdout_problems(kind, json=json, resume=resume)
        if path is None
        else _find_file_problems(path, kind, row_format, resume=resume)
    )
    if for_excel and kind != "csv":
        problems.append("--excel is a form of CSV: give --output FILE.csv or --format csv with it")
    if problems:
        raise ConfigError(*problems)
    if path is None:
        return Target(kind, None)
    from fercli.prediction.row_files import RowFile

    file = RowFile(path=path, kind=kind, resume=resume, overwrite=force, within_clips=within_clips)
    file.check()
    return Target(kind, file)


def choose_part(
    shard: str,
    folder: Path | None,
    row_format: str | None,
    *,
    resume: bool,
    force: bool,
    for_excel: bool,
    alone: Sequence[str],
) -> Part:
    """Return the part that a shard's rows go to; `jsonl` where no format was asked for.

    The default does not depend on what is installed: parts of several machines go together.

    Args:
        shard: What was typed, `K/N`.
        folder: Of the parts.
        row_format: What was typed.
        resume: As `Part`.
        force: As `Part.overwrite`.
        for_excel: Whether a CSV is for spreadsheets.
        alone: Options that were typed and are of one process with all rows.

    Raises:
        ConfigError: There is no such shard, or the options contradict each other.
        OutputExistsError: The part is there already, or does not go with others that are.
    """
    from fercli.prediction.parts import Part
    from fercli.prediction.shards import parse_shard

    chosen = parse_shard(shard)
    kind = row_format or "jsonl"
    problems = find_unknown_choice("format", kind, ROW_FILE_FORMATS)
    if folder is None:
        problems.append("--shard leaves a part in a folder: give --output DIR with it")
    if for_excel and kind != "csv":
        problems.append("--excel is a form of CSV: give --format csv with it")
    problems += [f"{flag} is of one process with all rows: leave it out with --shard"
                 for flag in alone]  # fmt: skip
    if problems or folder is None:
        raise ConfigError(*problems)
    part = Part(folder=folder, shard=chosen, kind=kind, resume=resume, overwrite=force)
    part.check()
    return part


def split_endings(words: list[str]) -> frozenset[str]:
    """Return the endings that were typed, `jpg,.PNG` or one at a time, without their dots.

    Raises:
        ConfigError: One is none.
    """
    parts = [part.strip().lower().removeprefix(".") for word in words for part in word.split(",")]
    if words and not all(parts):
        message = f"--ext takes endings of files, such as jpg,png, not {','.join(words)!r}"
        raise ConfigError(message)
    return frozenset(parts)


def _find_stdout_problems(kind: str, *, json: bool, resume: bool) -> list[str]:
    problems = find_unknown_choice("format", kind, FORMATS)
    if resume:
        problems.append("--resume needs the file of rows to go on with: --output")
    if kind == "parquet":
        problems.append("parquet is no text: give --output FILE.parquet")
    elif json and kind in ROW_FILE_FORMATS:
        problems.append("--json with --format needs --output: both would write to stdout")
    return problems


def _find_file_problems(
    path: Path, kind: str, row_format: str | None, *, resume: bool
) -> list[str]:
    if row_format == "table":
        return ["a table cannot be written to a file: give --format jsonl or csv"]
    if row_format is None and kind not in ROW_FILE_FORMATS:
        return [f"--output {path} does not end in .jsonl, .csv or .parquet: give --format"]
    if resume and kind == "parquet":
        return ["a torn parquet file cannot be gone on with: use jsonl or csv"]
    return find_unknown_choice("format", kind, FORMATS)


@contextlib.contextmanager
def open_rows(target: Target, layout: RowLayout, *, shown: bool) -> Iterator[Rows]:
    """Open a target for rows.

    Args:
        target: Where to.
        layout: Which columns rows have.
        shown: Whether a table's rows are printed as they come; else somebody else keeps them.

    Raises:
        FercliError: As `RowFile.open`.
    """
    from fercli.prediction.row_files import Rows
    from fercli.prediction.writers import open_writer

    if target.kind == "table":
        yield Rows(_Lines(layout.labels).write if shown else lambda _row: None)
    elif target.file is None:
        with open_writer(target.kind, sys.stdout, layout) as write:
            yield Rows(_flush_each(write))
    else:
        with target.file.open(layout) as rows:
            yield rows


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
    max_pixels: int
    every_s: float

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

    def open_sinks(self, roots: list[PurePath]) -> list[Sink]:
        """Return what takes the predictions; `open_timeline` is for when the model is known.

        Args:
            roots: The inputs as they were named; folders below them are made again, those within
                archives, too. None where a live source was.

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
            sinks.append(_open_film(self.film, self.every_s))
        elif self.annotate is not None:
            from fercli.prediction.annotate import Annotator

            folder = open_folder(self.annotate)
            sinks.append(Annotator(folder, max_pixels=self.max_pixels, every_s=self.every_s))
        if self.sort_into is not None:
            sinks.append(Sorter(open_folder(self.sort_into), link=self.link))
        if self.montage is not None:
            sinks.append(Montage(self.montage))
        return sinks

    def open_timeline(self, labels: tuple[str, ...]) -> list[Sink]:
        """Return the chart that was asked for, if one was.

        Args:
            labels: The model's.

        Raises:
            DependencyMissingError: matplotlib cannot be imported.
        """
        if self.timeline is None:
            return []
        from fercli.prediction.timeline import Timeline

        return [Timeline(self.timeline, labels, every_s=self.every_s)]

    def _check(self, roots: list[PurePath]) -> None:
        problems = _find_film_problems(self.film, roots, resume=self.resume)
        if self.link and self.sort_into is None:
            problems.append("--link says how files are sorted: give --sort-into DIR with it")
        pictures = {"--montage": self.montage, "--timeline": self.timeline}
        for flag, path in pictures.items():
            if path is None:
                continue
            if self.resume:
                problems.append(f"{flag} shows the faces of one run: leave it out with --resume")
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
        problems.append("--annotate FILE shows one run: leave it out with --resume")
    if len(roots) > 1 or (roots and not is_video(Path(roots[0]))):
        problems.append(f"--annotate {film} is of one video: give that alone, or name a folder")
    return problems


def print_summary(console: Console, labels: Mapping[str, int]) -> None:
    """Print how many faces there are of each label."""
    from rich.table import Table

    total = sum(labels.values())
    if not total:
        return
    full, empty = _choose_blocks()
    table = Table(title="faces per expression", title_justify="left")
    table.add_column("expression")
    table.add_column("faces", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for label, count in labels.items():
        share = count / total
        table.add_row(safe_name(label), f"{count:,}", f"{share:.1%}", _draw_bar(share, full, empty))
    console.print()
    print_table(console, table)


def print_tracks(console: Console, tracks: Sequence[TrackTime]) -> None:
    """Print how long the faces of videos had which expression, those that were seen longest."""
    from rich.table import Table

    longest = sorted(tracks, key=lambda one: -sum(one.seconds.values()))[:_SHOWN_TRACKS]
    if not longest:
        return
    table = Table(title="seconds per expression", title_justify="left")
    is_one = len({one.path for one in longest}) == 1
    if not is_one:
        table.add_column("video")
    table.add_column("track", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("expressions")
    for one in longest:
        parts = sorted(one.seconds.items(), key=lambda item: -item[1])
        said = ", ".join(f"{safe_name(label)} {seconds:.1f}" for label, seconds in parts)
        cells = (str(one.track), f"{sum(one.seconds.values()):.1f}", said)
        table.add_row(*(() if is_one else (safe_name(Path(one.path).name),)), *cells)
    console.print()
    print_table(console, table)
    if len(tracks) > len(longest):
        console.print(f"the {len(longest)} longest of {len(tracks):,} tracks")


class _Lines:
    """One aligned line per face, the file last, so that nothing has to be known in advance."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        words = [*map(safe_name, labels), "uncertain", "unreadable"]
        self._width = max(map(len, words))
        self._blocks = _choose_blocks()

    def write(self, row: PredictionRow) -> None:
        """Print a row at once, so that a reader of the pipe need not wait."""
        name = safe_name(row.path)
        if row.time_s is not None:
            name = f"{name} at {row.time_s:.2f} s"
        if row.probabilities is None:
            line = f"{row.status:<{self._width}}  {name}: {safe_name(row.reason or '')}"
        else:
            number = f", face {row.face + 1}" if row.face else ""
            ranked = sorted(row.probabilities.items(), key=lambda item: -item[1])
            second = f"{safe_name(ranked[1][0])} {ranked[1][1]:.0%}" if len(ranked) > 1 else ""
            bar = _draw_bar(row.confidence or 0, *self._blocks)
            label = safe_name(row.label or "")
            line = (
                f"{label:<{self._width}}  {bar} {row.confidence:6.1%}  "
                f"{second:<{self._width + 4}}  {name}{number}"
            )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _draw_bar(share: float, full: str, empty: str) -> str:
    filled = round(share * _BAR)
    return full * filled + empty * (_BAR - filled)


def _choose_blocks() -> tuple[str, str]:
    """Return what bars are made of where the output's encoding has it."""
    try:
        "█·".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", "."
    return "█", "·"


def _flush_each(write: Write) -> Write:
    """Return a function that writes a row to stdout where its reader sees it at once."""

    def write_and_flush(row: PredictionRow) -> None:
        write(row)
        sys.stdout.flush()

    return write_and_flush
