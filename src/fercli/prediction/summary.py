"""What predictions come to: counts, and rows where they are not written anywhere."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.prediction.members import open_archives
from fercli.prediction.sources import Member, Others
from fercli.prediction.writers import key_path
from fercli.results import PredictionRow, PredictResult, TrackTime

if TYPE_CHECKING:
    from fercli.prediction.answers import FilePrediction
    from fercli.prediction.row_files import Rows
    from fercli.prediction.sinks import Sink
    from fercli.prediction.stores import StoredObject

__all__ = ["PredictionSummary"]

_HOPELESS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""What would befall every other file, too."""


@dataclass
class PredictionSummary:
    """Counts, and rows where they are not written anywhere."""

    labels: tuple[str, ...]
    """The model's, in its order."""
    rows: list[PredictionRow] | None
    """Takes the rows, if they go nowhere else."""
    others: Others = field(default_factory=Others)
    """Counts files that are passed over."""
    n_inputs: int = 0
    n_frames: int = 0
    n_dropped: int = 0
    n_images: int = 0
    n_resumed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faces: Counter[str] = field(default_factory=Counter)
    seconds: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    """Of each track of each video, per label."""
    n_missed: int = 0
    """Photos in which the cascade found nothing."""
    n_unwritten: int = 0
    unwritten: str = ""
    """The first file of which no picture or copy could be written, and why."""
    _shown: tuple[PredictionRow, ...] = ()
    """The rows of the latest frame of a video."""

    @property
    def n_done(self) -> int:
        """Files that have their rows."""
        return self.n_inputs + self.n_resumed

    def pass_over(
        self,
        files: Iterable[Path | StoredObject],
        done: set[str],
        endings: Collection[str] = (),
        column: str | None = None,
    ) -> Iterator[Path | Member]:
        """Yield the files that have no rows yet, those within archives among them.

        Args:
            files: All of them.
            done: Those that have, as `key_path` gives them.
            endings: Of the files that are taken from archives; all images where there are none.
            column: Of tables, the one that holds images; see `open_archives`.
        """

        def is_done(path: str, _n_bytes: int | None) -> bool:
            is_there = bool(done) and key_path(path) in done
            self.n_resumed += is_there
            return is_there

        return open_archives(
            files, endings=endings, others=self.others, is_done=is_done, column=column
        )

    def add(self, prediction: FilePrediction, rows: Rows | None = None) -> None:
        """Count one image or frame and write its rows, where they are to be written."""
        self.n_inputs += prediction.is_first
        self.n_frames += prediction.frame is not None
        self.n_images += 1
        first = prediction.rows[0]
        self._count_seconds(prediction.rows)
        is_missed = first.status == "no_face" and first.detector == "haar"
        self.n_missed += is_missed and prediction.frame is None
        for row in prediction.rows:
            self.statuses[row.status] += 1
            if row.label is not None:
                self.faces[row.label] += 1
            if self.rows is not None:
                self.rows.append(row)
            if rows is not None:
                rows.write(row)

    def _count_seconds(self, rows: tuple[PredictionRow, ...]) -> None:
        """Count the time that passed since the frame before, to the faces that it showed."""
        now = rows[0].time_s
        before, self._shown = self._shown, () if now is None else rows
        if now is None or not before or before[0].path != rows[0].path:
            return
        passed_s = max(0.0, now - (before[0].time_s or 0.0))
        for row in before:
            label = row.smooth_label or row.label
            if row.track is not None and label is not None:
                seconds = self.seconds.setdefault((row.path, row.track), {})
                seconds[label] = seconds.get(label, 0.0) + passed_s

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
            n_dropped=self.n_dropped,
            n_faces=statuses["ok"],
            n_no_face=statuses["no_face"],
            n_skipped=statuses["unreadable"] + statuses["refused"],
            n_resumed=self.n_resumed,
            n_other=self.others.n_files,
            images_per_s=self.n_images / duration_s,
            output=str(output) if output else None,
            model=model,
            # The model's order, then what is no label of it.
            labels={name: self.faces[name] for name in dict.fromkeys([*self.labels, *self.faces])},
            tracks=[
                TrackTime(path=path, track=track, seconds=seconds)
                for (path, track), seconds in self.seconds.items()
            ],
            rows=self.rows,
        )
