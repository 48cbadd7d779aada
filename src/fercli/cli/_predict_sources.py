"""What `fer predict` looks at: files, or one live source; how its end and its progress are told."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.cli._display import watch_images, watch_seconds
from fercli.errors import ConfigError
from fercli.signals import catch_signals

if TYPE_CHECKING:
    from fercli.cli._output import Output
    from fercli.config import PredictConfig
    from fercli.errors import FercliError
    from fercli.images import LiveSource
    from fercli.inference import Runtime
    from fercli.prediction import FilePrediction
    from fercli.prediction.row_files import Rows
    from fercli.prediction.shards import ShardInputs
    from fercli.prediction.stores import StoredObject
    from fercli.prediction.summary import PredictionSummary
    from fercli.ray_engine import Cluster

    OnPrediction = Callable[[FilePrediction, PredictionSummary, int | None], None]
    Follow = Callable[[Output], AbstractContextManager[OnPrediction]]

__all__ = ["FileSource", "Work", "choose_live_source", "open_live", "open_work"]

_COUNTED_AHEAD: Final = 20_000
"""Files that are listed before the first is read, so that the time left can be told."""


@dataclass(frozen=True)
class Work:
    """What is looked at, and how to tell how far it is."""

    start: Callable[[Rows | None], Generator[FilePrediction, None, None]]
    """Begins to predict; takes the target of rows, which knows the inputs that have theirs."""
    follow: Follow
    """Shows the progress."""
    total: int | None = None
    """Files in all, where they were counted."""
    source: LiveSource | None = None
    """What it is, where it is no files."""
    get_signal: Callable[[], int] = int
    """Returns the signal that asked for an end, or 0."""
    count_dropped: Callable[[], int] = int
    """Returns the frames that there was no time for."""


@dataclass(frozen=True)
class FileSource:
    """Files that were asked for."""

    files: Iterator[Path | StoredObject]
    is_counted: bool
    """Whether they may be listed ahead; those of stdin may come slowly."""
    parallel: bool
    """Whether threads may share the model."""
    title: str
    """What rows call the model."""
    endings: Collection[str] = ()
    """Of the files that are taken from archives; all images where there are none."""
    connect: Callable[[], AbstractContextManager[Cluster]] | None = None
    """Connects to the cluster that is to predict; None for this process."""


def choose_live_source(paths: list[str], *, resume: bool, sorts: bool) -> LiveSource | None:
    """Return the live source that was named, None where files were.

    Args:
        paths: What was typed.
        resume: Whether rows are to be gone on with.
        sorts: Whether files are to be sorted.

    Raises:
        ConfigError: It is named beside others, or with what there is for files alone.
    """
    from fercli.images import find_live_source
    from fercli.prediction.inputs import join_words
    from fercli.prediction.stores import is_stored

    words = [path for path in paths if not is_stored(path)]
    found = [source for path in words if (source := find_live_source(path)) is not None]
    if not found:
        return None
    problems = []
    if len(paths) > 1:
        problems.append(f"{found[0].noun} is live: give it alone, without other paths")
    if resume:
        problems.append("--resume works with files only: a live source cannot be replayed")
    if sorts:
        problems.append("--sort-into copies files: a live source has none")
    if problems:
        raise ConfigError(*problems, hint=join_words(paths))
    return found[0]


@contextlib.contextmanager
def open_live(
    source: LiveSource, runtime: Runtime, config: PredictConfig, output: Output, title: str
) -> Iterator[Work]:
    """Yield the work on a live source, signals caught: the first one ends it.

    Raises:
        FercliError: As `LiveFeed`.
    """
    from fercli.images import LiveFeed
    from fercli.prediction import predict_live

    with catch_signals() as get_signal:
        feed = LiveFeed(
            source,
            every_s=config.every_s,
            start_s=config.start_s,
            end_s=config.end_s,
            max_pixels=config.max_pixels,
            should_stop=get_signal,
        )
        with contextlib.closing(feed):
            yield Work(
                lambda _rows: predict_live(runtime, feed, config, on_note=output.note, model=title),
                _follow_clip,
                None,
                source,
                get_signal,
                lambda: feed.n_dropped,
            )


@contextlib.contextmanager
def open_work(
    given: FileSource,
    runtime: Runtime,
    config: PredictConfig,
    summary: PredictionSummary,
    inputs: ShardInputs | None = None,
) -> Iterator[Work]:
    """Yield the work on files, or on those of a shard."""
    from fercli.images import is_video
    from fercli.prediction import predict_files
    from fercli.prediction.members import holds_images
    from fercli.prediction.sources import hold_error, raise_held

    files: Iterable[Path | StoredObject] = given.files
    total, is_clip = None, False
    if given.is_counted:
        held: list[FercliError] = []
        first = list(hold_error(itertools.islice(given.files, _COUNTED_AHEAD), held))
        files = itertools.chain(first, given.files, raise_held(held))
        # An archive holds nobody knows how many.
        is_short = len(first) < _COUNTED_AHEAD and not any(map(holds_images, first)) and not held
        total = len(first) if is_short else None
        is_clip = total == 1 and isinstance(first[0], Path) and is_video(first[0])

    def start(rows: Rows | None, cluster: Cluster | None) -> Generator[FilePrediction, None, None]:
        done = rows.done if rows else set()
        if inputs is None and cluster is not None:
            # Archives are opened where they are read.
            return cluster.predict(files, done=done, summary=summary)
        if inputs is None:
            left = summary.pass_over(files, done, given.endings, config.image_column)
        else:
            left = inputs.select(files, given.endings, summary.others, config.image_column)
        if cluster is not None:
            return cluster.predict(left, summary=summary)
        return predict_files(
            runtime,
            left,
            config,
            parallel=given.parallel,
            title=given.title,
            so_far=rows.so_far if rows else None,
        )

    with given.connect() if given.connect else contextlib.nullcontext() as cluster:
        follow = _follow_clip if is_clip else _follow_files
        yield Work(lambda rows: start(rows, cluster), follow, total)


@contextlib.contextmanager
def _follow_files(output: Output) -> Iterator[OnPrediction]:
    """Count files."""
    with watch_images(output, "predicting") as report:
        yield lambda _prediction, summary, total: report(summary.n_done, total)


@contextlib.contextmanager
def _follow_clip(output: Output) -> Iterator[OnPrediction]:
    """Count the seconds of one video, which say more than that it is one file."""
    with watch_seconds(output, "predicting") as report:

        def on_prediction(prediction: FilePrediction, *_: object) -> None:
            if (frame := prediction.frame) is not None:
                report(int(frame.time_s), int(frame.duration_s) if frame.duration_s else None)

        yield on_prediction
