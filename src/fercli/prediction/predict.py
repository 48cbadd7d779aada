"""From files to rows of probabilities, one bad file never ending the rest.

Files are read, and faces looked for, in as many threads as there are processors: Pillow, OpenCV and
onnxruntime all let go of Python's lock. An ONNX model on the CPU is called in these threads, each
call on one core; other models work on what was read while the threads go on. Files travel in small
chunks, whose size depends on the files alone, so that rows, and which faces share a call of the
model, are the same in every run. Only a few chunks are under way at a time: memory does not grow
with the list.

Of a video, frames are read in order by one thread and searched in the others; what depends on the
frame before, the tracks, is worked out as rows are handed over. Of a live source one frame is under
way at a time, so that its rows are there as soon as they can be.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fercli.config import PredictConfig
from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import SIDE_PX, FaceFinder, LiveFeed, VideoFrame, is_video, sample_frames
from fercli.prediction.answers import (
    FilePrediction,
    build_rows,
    describe_smoothed,
    predict_loaded,
)
from fercli.prediction.chunks import pack_images, work_ahead
from fercli.prediction.loading import LoadedImage, describe_failure, load_faces, search_image
from fercli.prediction.tracking import Tracker
from fercli.prediction.writers import key_path

if TYPE_CHECKING:
    from fercli.inference.runtime import Runtime
    from fercli.prediction.clip_rows import ClipSoFar
    from fercli.prediction.sources import Member
    from fercli.results import PredictionRow

__all__ = ["predict_files", "predict_live"]


@dataclass(frozen=True)
class _Clip:
    """A video, what its rows call the model, and how far it is."""

    path: Path
    title: str | None
    so_far: ClipSoFar | None


def predict_files(  # noqa: PLR0913  # how, and of what
    runtime: Runtime,
    paths: Iterable[Path | Member],
    config: PredictConfig | None = None,
    *,
    parallel: bool = False,
    title: str | None = None,
    so_far: ClipSoFar | None = None,
    n_threads: int | None = None,
) -> Generator[FilePrediction, None, None]:
    """Yield what is said of each image and of each sampled frame of a video, in order.

    Args:
        runtime: The model.
        paths: Images, those of archives among them, and videos; taken only a little ahead of what
            is yielded.
        config: What to look for; the defaults where it is None.
        parallel: Call the model in the threads that read, too; for one that takes such calls and
            computes each on one core, which keeps all cores busier than one call on all of them.
        title: What rows call the model.
        so_far: A video among them that is gone on with.
        n_threads: That read and search; None for one per processor.

    Raises:
        ModelFileError: The weights of the detector, or the model, are damaged.
        DependencyMissingError: OpenCV is needed and cannot be imported.
    """
    config = config or PredictConfig()
    finder = FaceFinder(config.faces, config.detector_weights)

    def answer(loaded: list[LoadedImage]) -> list[FilePrediction]:
        return list(predict_loaded(runtime, loaded, config, title))

    def process(
        chunks: Iterable[list[Any]], load: Callable[[Any], LoadedImage]
    ) -> Generator[FilePrediction, None, None]:
        def work(chunk: list[Any]) -> list[Any]:
            loaded = [load(one) for one in chunk]
            return answer(loaded) if parallel else loaded

        # Closed in step with this generator: nothing is read for somebody who has gone.
        with contextlib.closing(work_ahead(chunks, work, n_threads)) as done:
            for chunk in done:
                yield from chunk if parallel else answer(chunk)

    for of_videos, group in itertools.groupby(paths, _is_video):
        if not of_videos:
            images = pack_images(group, config.batch_size)
            yield from process(images, lambda source: load_faces(source, finder, config))
            continue
        for source in group:
            # What lies in an archive is no video.
            path = cast("Path", source)
            is_begun = so_far is not None and key_path(str(path)) == so_far.path
            clip = _Clip(path, title, so_far if is_begun else None)
            yield from _follow_video(clip, config, finder, process)


def _is_video(source: Path | Member) -> bool:
    return isinstance(source, Path) and is_video(source)


def predict_live(
    runtime: Runtime,
    feed: LiveFeed,
    config: PredictConfig | None = None,
    *,
    on_note: Callable[[str], object] = str,
    model: str | None = None,
) -> Generator[FilePrediction, None, None]:
    """Yield what is said of each frame of a live source that is looked at.

    A source that is lost for good ends with a prediction without a frame, whose row has the reason.

    Args:
        runtime: The model.
        feed: The open source; closed at the end.
        config: What to look for; the defaults where it is None. When to look is the feed's.
        on_note: Told in a sentence when the source is lost and when it is back.
        model: What rows call the model.

    Raises:
        InputNotFoundError: It gives no frame at all.
        ModelFileError: The weights of the detector, or the model, are damaged.
        DependencyMissingError: OpenCV is needed and cannot be imported.
    """
    config = config or PredictConfig()
    finder = FaceFinder(config.faces, config.detector_weights)
    tracker = Tracker(every_s=config.every_s, smooth_s=config.smooth_s)
    title, path, is_first = feed.source.title, Path(feed.source.name), True
    try:
        with contextlib.closing(feed), contextlib.closing(feed.read(on_note)) as frames:
            for frame in frames:
                loaded = _search(path, frame, finder, config)
                [prediction] = predict_loaded(runtime, [loaded], config, model)
                rows = _track_faces(prediction, tracker, config.min_confidence)
                titled = tuple(replace(row, path=title) for row in rows)
                yield replace(prediction, rows=titled, is_first=is_first)
                is_first = False
    except ImageDecodeError as reason:
        last = _end_video(path, reason, model, is_first=is_first)
        yield replace(last, rows=(replace(last.rows[0], path=title),))


def _follow_video(
    clip: _Clip,
    config: PredictConfig,
    finder: FaceFinder,
    process: Callable[..., Generator[FilePrediction, None, None]],
) -> Generator[FilePrediction, None, None]:
    """Yield what is said of each sampled frame, its faces with their tracks."""
    path, so_far = clip.path, clip.so_far
    seen = so_far.tracks if so_far else None
    tracker = None
    failed: list[ImageDecodeError] = []
    is_first = True
    with contextlib.closing(_read_frames(clip, config, failed)) as frames:
        for prediction in process(frames, lambda frame: _search(path, frame, finder, config)):
            if tracker is None:
                frame = prediction.frame
                step_s = frame.choose_step_s(config.every_s) if frame else config.every_s
                tracker = Tracker(every_s=step_s, smooth_s=config.smooth_s, seen=seen)
            rows = _track_faces(prediction, tracker, config.min_confidence)
            yield replace(prediction, rows=rows, is_first=is_first)
            is_first = False
    if failed or (is_first and so_far is None):
        until = "" if config.end_s is None else f" to {config.end_s:g}"
        nothing = ImageDecodeError(f"it has no frame from {config.start_s:g}{until} s")
        yield _end_video(path, failed[0] if failed else nothing, clip.title, is_first=is_first)


def _end_video(
    path: Path, reason: ImageDecodeError, title: str | None, *, is_first: bool
) -> FilePrediction:
    """Return what is said of a video at its end that is none."""
    refused = isinstance(reason, ImageRefusedError)
    loaded = LoadedImage(path, reason=describe_failure(reason), refused=refused)
    crops = np.empty((0, SIDE_PX, SIDE_PX), dtype=np.uint8)
    return FilePrediction(path, build_rows(loaded, [], title), crops, is_first=is_first)


def _read_frames(
    clip: _Clip, config: PredictConfig, failed: list[ImageDecodeError]
) -> Generator[list[VideoFrame], None, None]:
    """Yield frames, each a chunk of its own; why there are no more goes to `failed`."""
    frames = sample_frames(
        clip.path,
        every_s=config.every_s,
        start_s=config.start_s,
        end_s=config.end_s,
        max_pixels=config.max_pixels,
        after=clip.so_far.index if clip.so_far else -1,
    )
    with contextlib.closing(frames):
        try:
            for frame in frames:
                yield [frame]
        except ImageDecodeError as reason:
            failed.append(reason)


def _search(
    path: Path, frame: VideoFrame, finder: FaceFinder, config: PredictConfig
) -> LoadedImage:
    try:
        image = frame.convert(color=finder.needs_color)
        return replace(search_image(path, image, finder, config), frames=None, frame=frame)
    except ImageDecodeError as reason:
        return LoadedImage(path, reason=reason.message, frame=frame)


def _track_faces(
    prediction: FilePrediction, tracker: Tracker, min_confidence: float
) -> tuple[PredictionRow, ...]:
    """Return the rows of a frame with the tracks of its faces."""
    frame, rows = prediction.frame, prediction.rows
    if frame is None or rows[0].status != "ok":
        return rows
    boxes = [row.box or (0, 0, 0, 0) for row in rows]
    tracks = tracker.update(frame.time_s, boxes, [row.probabilities or {} for row in rows])
    tracked = []
    for row, (track, smoothed) in zip(rows, tracks, strict=True):
        smooth = {} if smoothed is None else describe_smoothed(smoothed, min_confidence)
        tracked.append(replace(row, track=track, **smooth))
    return tuple(tracked)
