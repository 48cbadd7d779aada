"""Run folders as everybody sees them: their names, their `run.json`, which is the newest.

`run.json` is written first, with the whole configuration, and completed at the end with the
result; a folder whose `run.json` has a `finished_at` is a finished run. Modification times are
never looked at: copying a folder changes them.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fercli.errors import ModelFileError, RunExistsError
from fercli.fields import parse_json
from fercli.locks import FOLDER_LOCK
from fercli.metadata import RepeatsRecord, RunRecord, ScoreRecord
from fercli.results import EpochReport
from fercli.storage import RECORD_DIGEST, find_drafts, is_sealed, write_json

__all__ = [
    "REPEATS",
    "TRAIN_DIGESTS",
    "RunFolder",
    "find_newest_run",
    "find_repeats",
    "is_finished",
    "name_run_directory",
    "read_history",
    "read_repeats_record",
    "read_run_record",
    "read_scores",
    "utc_now",
]

RUNS: Final = Path("runs")
"""Where runs go without `--output`, below the working folder."""
REPEATS: Final = "repeats.json"
"""In a folder of repeated trainings: what they vary, and what they came to."""
_REPEAT: Final = re.compile(r"(seed|fold)-[0-9]+")
"""The run of one of them; one that was trained for longer has another name."""
TRAIN_DIGESTS: Final = "train-digests.safetensors"
"""Lies beside a model: which images it learned from."""


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path
    """The folder."""

    @property
    def record(self) -> Path:
        """Configuration, versions, device, data and result."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """One row per epoch."""
        return self.path / "metrics.csv"

    @property
    def curves(self) -> Path:
        """Loss and accuracy over the epochs."""
        return self.path / "curves.png"

    @property
    def events(self) -> Path:
        """The same for TensorBoard, where it was asked for: a folder."""
        return self.path / "tensorboard"

    @property
    def log(self) -> Path:
        """What happened when, for people."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """The newest states of the training."""
        return self.path / "checkpoints"

    @property
    def members(self) -> Path:
        """The runs of an ensemble's members, numbered from 1."""
        return self.path / "members"

    @property
    def targets(self) -> Path:
        """What a teacher says of the training images; none where it looks at every varied image."""
        return self.path / "targets.safetensors"

    @property
    def model(self) -> Path:
        """The trained weights."""
        return self.path / "model.safetensors"

    @property
    def onnx(self) -> Path:
        """The same, exported."""
        return self.path / "model.onnx"

    @property
    def train_digests(self) -> Path:
        """Which images were learned from."""
        return self.path / TRAIN_DIGESTS

    @property
    def scores(self) -> Path:
        """What `fer evaluate` found, one JSON object a line."""
        return self.path / "scores.jsonl"

    def check_new(self, *, overwrite: bool = False) -> None:
        """Refuse to begin a run in a folder that holds something.

        What a killed process left of a file that it was writing is nothing, nor is an empty folder.

        Args:
            overwrite: Whether an older run may be replaced.

        Raises:
            RunExistsError: It holds something and `overwrite` is not set, or it is a file.
        """
        if self.path.is_file():
            message = f"{self.path} is a file, and a run is a folder"
            raise RunExistsError(message, hint="name another --output")
        if overwrite or not self.path.exists():
            return
        nothing = {self.path / FOLDER_LOCK, *find_drafts(self.path)}
        if any(item not in nothing and not _is_empty(item) for item in self.path.iterdir()):
            message = f"{self.path} is already there"
            hint = f"go on with it (fer train --resume {self.path}), name another, or give --force"
            raise RunExistsError(message, hint=hint)

    def remove_drafts(self) -> None:
        """Remove what killed processes left of files that they were writing; hold it meanwhile."""
        for folder in (self.path, self.checkpoints):
            for draft in find_drafts(folder):
                draft.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the files of a run, of its members and of repeated trainings, and only those.

        Folders that this leaves empty go, too.
        """
        files = list(self.list_files())
        for path in files:
            path.unlink(missing_ok=True)
        # The deepest first; this folder itself stays.
        within = {above for path in files for above in path.parents if self.path in above.parents}
        for folder in sorted(within, key=lambda one: len(one.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()

    @property
    def files(self) -> list[Path]:
        """All of them, there or not, but for checkpoints and members.

        The record comes first: without it, what a kill leaves of their removal is no run.
        """
        return [
            self.record, self.metrics, self.curves, self.log, self.model, self.onnx, self.scores,
            self.targets, self.train_digests,
        ]  # fmt: skip

    def list_files(self) -> Iterator[Path]:
        """Yield the same with checkpoints, members and repeated trainings, those first."""
        if (self.path / REPEATS).is_file():
            for repeat in self.list_repeats():
                yield from RunFolder(repeat).list_files()
            yield self.path / REPEATS
        # Members whose record is gone already, by a kill while they were removed, count all the
        # same.
        for member in self.members.glob("[0-9]*"):
            yield from RunFolder(member).list_files()
        yield from self.files
        yield from self.checkpoints.glob("step-*.safetensors")
        yield from self.events.glob("events.out.tfevents.*")

    def list_repeats(self) -> list[Path]:
        """Return the folders of repeated trainings, in order, whatever is in them."""
        folders = (path for path in self.path.glob("*-*") if _REPEAT.fullmatch(path.name))
        return sorted(folders, key=lambda one: (len(one.name), one.name))

    def write_record(self, record: RunRecord) -> None:
        """Write `run.json` atomically."""
        write_json(self.record, record.to_json())


def _is_empty(path: Path) -> bool:
    """Return whether it is a folder with nothing in it."""
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def name_run_directory(recipe: str, root: Path = RUNS) -> Path:
    """Return the first free of `runs/<recipe>`, `runs/<recipe>-2`, `runs/<recipe>-3`, ..."""
    candidate = root / recipe
    number = 2
    while candidate.exists():
        candidate = root / f"{recipe}-{number}"
        number += 1
    return candidate


def read_run_record(folder: Path) -> RunRecord:
    """Return the content of a run's `run.json`.

    Raises:
        ModelFileError: The folder has none, or it does not read as one.
    """
    path = RunFolder(folder).record
    try:
        value = parse_json(path.read_bytes())
    except FileNotFoundError:
        message = f"{folder} is not a run: it has no run.json"
        raise ModelFileError(message) from None
    except (OSError, ValueError) as reason:
        message = f"{path} cannot be read ({reason})"
        raise ModelFileError(message) from reason
    return RunRecord.from_json(value, path=path)


def read_repeats_record(folder: Path) -> RepeatsRecord:
    """Return the content of a folder's `repeats.json`.

    Raises:
        ModelFileError: The folder has none, or it does not read as one.
    """
    path = folder / REPEATS
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError) as reason:
        message = f"{path} cannot be read ({reason})"
        raise ModelFileError(message) from reason
    return RepeatsRecord.from_json(value, path=path)


def find_repeats(folder: Path) -> list[Path]:
    """Return the finished runs of repeated trainings, in order; none where a folder holds none."""
    if not (folder / REPEATS).is_file():
        return []
    return [run for run in RunFolder(folder).list_repeats() if is_finished(RunFolder(run))]


def read_history(run: RunFolder) -> list[EpochReport]:
    """Return the epochs of a run's `metrics.csv`.

    Raises:
        ModelFileError: There is none, or it does not read as one.
    """
    names = [item.name for item in dataclasses.fields(EpochReport)]
    try:
        with run.metrics.open(encoding="utf-8", newline="") as stream:
            return [
                EpochReport(
                    epoch=int(row[names[0]]), **{name: float(row[name]) for name in names[1:]}
                )
                for row in csv.DictReader(stream)
            ]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        message = f"{run.metrics} cannot be read ({reason!r})"
        raise ModelFileError(message) from reason


def read_scores(run: RunFolder) -> dict[str, ScoreRecord]:
    """Return the last score of each split that `fer evaluate` recorded; none where none is.

    A split of other data than the run was trained on stands under its name and the data's. Lines
    that are not what was written are left out.
    """
    if not run.scores.exists():
        return {}
    own = read_run_record(run.path).dataset.sha256
    scores: dict[str, ScoreRecord] = {}
    for line in run.scores.read_bytes().decode(errors="replace").splitlines():
        # A line that a power cut tore is not worth more than the others.
        with contextlib.suppress(ValueError, ModelFileError):
            value = parse_json(line)
            # An older fercli wrote lines without a digest.
            if isinstance(value, dict) and RECORD_DIGEST in value:
                if not is_sealed(value):
                    continue
                del value[RECORD_DIGEST]
            entry = ScoreRecord.from_json(value, path=run.scores)
            other = "" if entry.dataset.sha256 == own else f" of {entry.dataset.source}"
            scores[f"{entry.split}{other}"] = entry
    return scores


def is_finished(folder: RunFolder) -> bool:
    """Return whether a run came to its end and still has its model; False if there is no run."""
    if not folder.record.exists() or not folder.model.exists():
        return False
    try:
        return bool(read_run_record(folder.path).finished_at)
    except ModelFileError:
        return False


def find_newest_run(root: Path = RUNS) -> Path | None:
    """Return the run that finished last below a folder, or None."""
    newest: tuple[str, Path] | None = None
    for record_path in sorted(root.glob("*/run.json")):
        try:
            finished = read_run_record(record_path.parent).finished_at
        except ModelFileError:
            continue
        if finished and (newest is None or (finished, record_path.parent) > newest):
            newest = (finished, record_path.parent)
    return newest[1] if newest else None


def utc_now() -> str:
    """Return the time in UTC, to the millisecond, as text that sorts."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
