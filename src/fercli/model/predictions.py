"""What predicting returns: faces, streams of rows, frames of a live source.

Shape legend: images of H x W pixels, K labels.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from fercli.config import ROW_FILE_FORMATS
from fercli.dependencies import import_pandas
from fercli.errors import ImageDecodeError
from fercli.model.arguments import check_choice
from fercli.prediction.parts import Part, PartRows, write_part
from fercli.prediction.row_files import RowFile
from fercli.prediction.summary import PredictionSummary

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from pandas import DataFrame

    from fercli.images import LiveFeed
    from fercli.prediction import FilePrediction
    from fercli.prediction.stores import StoredObject
    from fercli.prediction.writers import RowLayout
    from fercli.results import PredictionRow

__all__ = ["FacePrediction", "LiveFrame", "LiveStream", "Predictions", "RowStream", "ShardWork"]


@dataclass(frozen=True)
class FacePrediction:
    """A model's prediction for one face."""

    image: int
    """Which of the images it was found in, from 0."""
    label: str
    """The most probable label, or `uncertain`."""
    confidence: float
    """Its probability."""
    probabilities: dict[str, float]
    """Probability of each label."""
    box: tuple[int, int, int, int]
    """x, y, width, height in pixels of the upright image."""
    detector: str
    """How it was found; `whole` takes the image as one face."""


class Predictions(list[FacePrediction]):
    """A list with a prediction for every face, and the images that were skipped."""

    def __init__(self, faces: Iterable[FacePrediction] = ()) -> None:
        super().__init__(faces)
        self.skipped: dict[int, str] = {}
        """The reason for each image that could not be used, by its number; with `errors="skip"`."""

    def to_frame(self) -> DataFrame:
        """Return a row per face: image, label, confidence, box, detector, `p_<label>`.

        Raises:
            DependencyMissingError: pandas cannot be imported.
        """
        rows = [
            {
                "image": face.image, "label": face.label, "confidence": face.confidence,
                **dict(zip(("box_x", "box_y", "box_width", "box_height"), face.box, strict=True)),
                "detector": face.detector,
                **{f"p_{label}": value for label, value in face.probabilities.items()},
            }
            for face in self
        ]  # fmt: skip
        frame: DataFrame = import_pandas().DataFrame(rows)
        return frame


@dataclass(frozen=True)
class ShardWork:
    """What the part of a shard is made of."""

    content: PartRows
    predictions: Iterator[FilePrediction]
    list_files: Callable[[], Iterator[Path | StoredObject]]


class RowStream(Iterator["PredictionRow"]):
    """Rows of predictions, computed while they are iterated; as `fer predict` streams them.

    Args:
        rows: Yields them; closed with the stream.
        layout: Which columns they have.
        work: What the rows are of, where they are a shard's.
    """

    def __init__(
        self, rows: Iterator[PredictionRow], layout: RowLayout, work: ShardWork | None = None
    ) -> None:
        self._rows = rows
        self._layout = layout
        self._work = work

    @property
    def labels(self) -> tuple[str, ...]:
        """The K labels of the model."""
        return self._layout.labels

    def __next__(self) -> PredictionRow:
        """Return the next row."""
        # A part holds all rows of a shard: from here on there is none to be made.
        self._work = None
        return next(self._rows)

    def to_frame(self) -> DataFrame:
        """Return the remaining rows as a data frame with the columns of the CSV.

        Raises:
            DependencyMissingError: pandas cannot be imported.
        """
        pandas = import_pandas()
        rows = [self._layout.flatten(row) for row in self]
        frame: DataFrame = pandas.DataFrame(rows, columns=self._layout.columns)
        return frame

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the remaining rows; the ending chooses the format.

        Args:
            path: A `.jsonl`, `.csv` or `.parquet`.
            overwrite: Replace a file that is there.

        Raises:
            OutputExistsError: The file is there, and `overwrite` is not set.
            OutputBusyError: Another process writes it.
            ValueError: The name has another ending.
            DependencyMissingError: Parquet without pyarrow.
        """
        target = Path(path)
        kind = target.suffix.lstrip(".").lower()
        if kind not in ROW_FILE_FORMATS:
            message = f"rows are written to .jsonl, .csv or .parquet, not to {target.name}"
            raise ValueError(message)
        file = RowFile(path=target, kind=kind, overwrite=overwrite)
        with file.open(self._layout) as rows:
            for row in self:
                rows.write(row)

    def save_part(
        self,
        folder: str | PathLike[str],
        kind: Literal["jsonl", "csv", "parquet"] = "jsonl",
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> Path:
        """Write the rows of a shard as its part, and return the file; `merge_parts` joins parts.

        Args:
            folder: Of the parts of all shards.
            kind: The format.
            resume: Leave a finished part of the same inputs, model, options and versions as it is.
            overwrite: Write over any other finished part.

        Raises:
            OutputExistsError: The part is there and may not stay or be written over, or the folder
                holds parts of another number of shards or format.
            OutputBusyError: Another process writes it.
            DataError: The side file of a finished part is damaged.
            ValueError: The rows are not a shard's, some were taken already, or there is no such
                format.
            DependencyMissingError: Parquet without pyarrow.
        """
        check_choice("kind", kind, ROW_FILE_FORMATS)
        work, self._work = self._work, None
        if work is None:
            message = "a part holds all rows of a shard: give shard=(k, n) to predict_files first"
            raise ValueError(message)
        part = Part(
            folder=Path(folder), shard=work.content.inputs.shard, kind=kind, resume=resume,
            overwrite=overwrite,
        )  # fmt: skip
        part.check()
        if part.find_finished(work.content.origin, work.list_files) is None:
            summary = PredictionSummary(self._layout.labels, rows=None)
            write_part(part, work.content, work.predictions, summary)
        return part.path


@dataclass(frozen=True)
class LiveFrame:
    """A model's predictions for one frame of a live source."""

    index: int
    """Its number among the frames that the source sent, from 0; those passed over count, too."""
    time_s: float
    """Seconds since the first frame."""
    image: NDArray[np.uint8]
    """`[H, W, 3]` uint8, red, green and blue: the frame."""
    faces: tuple[PredictionRow, ...]
    """One per face, largest first: `label`, `confidence`, `probabilities`, `box`, `track`, and the
    smoothed ones where they were asked for."""


class LiveStream(Iterator[LiveFrame]):
    """Frames of a live source with their faces, each the newest when it is asked for.

    It holds the source until it is closed, at the end of a `with` at the latest, or forgotten.

    Args:
        predictions: Yields what is said of each frame.
        feed: The open source.
    """

    def __init__(self, predictions: Iterator[FilePrediction], feed: LiveFeed) -> None:
        self._predictions = predictions
        self._feed = feed
        self._close = weakref.finalize(self, feed.close)

    def __next__(self) -> LiveFrame:
        """Return the next frame that is due; waits for it.

        Raises:
            ImageDecodeError: The source was lost, and cannot be opened again.
            InputNotFoundError: It gives no frame at all.
        """
        prediction = next(self._predictions)
        if (frame := prediction.frame) is None:
            message = f"{self._feed.source.noun}: {prediction.rows[0].reason}"
            raise ImageDecodeError(message)
        faces = tuple(row for row in prediction.rows if row.status == "ok")
        rgb = np.ascontiguousarray(frame.bgr[:, :, ::-1])
        return LiveFrame(frame.index, frame.time_s, rgb, faces)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the source."""
        self.close()

    @property
    def n_dropped(self) -> int:
        """Number of frames that were due so far but skipped, because there was no time for them."""
        return self._feed.n_dropped

    def close(self) -> None:
        """Close the source; it gives no more frames."""
        self._predictions = iter(())
        self._close()
