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
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numpy as np

from fercli.config import PredictConfig
from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import (
    MEMORY,
    SIDE_PX,
    DecodedImage,
    Face,
    FaceFinder,
    LiveFeed,
    VideoFrame,
    cut_faces,
    is_video,
    load_image,
    sample_frames,
)
from fercli.inference.runtime import predict_checked
from fercli.prediction.sources import Member, hold_error
from fercli.prediction.stores import StoredObject
from fercli.prediction.tracking import Tracker
from fercli.prediction.writers import key_path
from fercli.results import PredictionRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.errors import FercliError
    from fercli.images.memory import Share
    from fercli.inference.runtime import Runtime
    from fercli.prediction.clip_rows import ClipSoFar

__all__ = [
    "UNCERTAIN",
    "FilePrediction",
    "LoadedImage",
    "build_rows",
    "count_processors",
    "describe_faces",
    "load_faces",
    "pack_images",
    "predict_files",
    "predict_live",
    "predict_loaded",
    "search_image",
]

T = TypeVar("T", Path | Member, Path | Member | StoredObject)

UNCERTAIN: Final = "uncertain"
"""Label of a face whose best probability is below the threshold."""
_CHUNK_BYTES: Final = 1 << 20
"""A chunk ends with the file that fills it: about 500 face crops, or one photo."""
_AHEAD_BYTES: Final = 3 << 25
"""Of decoded frames under way: 16 of 1080p, 4 of 4K."""
_SAMPLED: Final = 8
"""Of so many files of a chunk the size of the first is looked up, and counts for each."""


@dataclass(frozen=True)
class FilePrediction:
    """What was said of one image, or of one frame of a video."""

    path: Path
    """The file; of a live source, a name for what is made of it."""
    rows: tuple[PredictionRow, ...]
    """One per face, largest first; one without a face where there is none."""
    crops: NDArray[np.uint8]
    """[F, 48, 48], the faces as the model saw them."""
    frame: VideoFrame | None = None
    """The frame, of a video."""
    is_first: bool = True
    """Whether it is the first of its file."""
    content: bytes | None = None
    """The file, where it came from an archive, a table or a store: `path` is no place on disk."""


@dataclass(frozen=True)
class LoadedImage:
    """A file with the faces found in it, or the reason why it has none."""

    path: Path
    """The file, or what is made of its name."""
    crops: tuple[NDArray[np.uint8], ...] = ()
    """Each `[48, 48]`, largest face first."""
    faces: tuple[Face, ...] = ()
    """Their boxes."""
    detector: str | None = None
    """How they were found."""
    reason: str | None = None
    """Why the file cannot be used."""
    refused: bool = False
    """Whether that is because it asks for too much."""
    width: int | None = None
    """Pixels of the upright image."""
    height: int | None = None
    """Pixels of the upright image."""
    frames: int | None = None
    """Frames in an image file."""
    frame: VideoFrame | None = None
    """The frame, of a video."""
    content: bytes | None = None
    """The file, where it came from within an archive."""
    title: str | None = None
    """What its rows call it, where that is not its path."""


@dataclass(frozen=True)
class _Clip:
    """A video, what its rows call the model, and how far it is."""

    path: Path
    title: str | None
    so_far: ClipSoFar | None


Work = Callable[[list[Any]], list[Any]]
"""What is done to a chunk, in a thread."""


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
        with contextlib.closing(_work_ahead(chunks, work, n_threads)) as done:
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
    tracker = Tracker(every_s=config.every_s, smooth_s=config.smooth_s, seen=seen)
    failed: list[ImageDecodeError] = []
    is_first = True
    with contextlib.closing(_read_frames(clip, config, failed)) as frames:
        for prediction in process(frames, lambda frame: _search(path, frame, finder, config)):
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
    loaded = LoadedImage(path, reason=_describe_failure(reason), refused=refused)
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
        smooth = {} if smoothed is None else _describe_smoothed(smoothed, min_confidence)
        tracked.append(replace(row, track=track, **smooth))
    return tuple(tracked)


def _describe_smoothed(smoothed: dict[str, float], min_confidence: float) -> dict[str, Any]:
    label, confidence = max(smoothed.items(), key=lambda item: item[1])
    return {
        "smooth_label": label if confidence >= min_confidence else UNCERTAIN,
        "smooth_confidence": confidence,
        "smooth_probabilities": smoothed,
    }


def describe_faces(
    probabilities: NDArray[np.float32], labels: tuple[str, ...], min_confidence: float
) -> list[tuple[str, float, dict[str, float]]]:
    """Return label, confidence and probabilities by name for each row of `[N, K]`."""
    described = []
    for row in probabilities:
        best = int(row.argmax())
        confidence = float(row[best])
        label = labels[best] if confidence >= min_confidence else UNCERTAIN
        described.append((label, confidence, dict(zip(labels, map(float, row), strict=True))))
    return described


def _work_ahead(
    chunks: Iterable[list[Any]], work: Work, n_threads: int | None = None
) -> Generator[list[Any], None, None]:
    """Yield what becomes of chunks, in order; the next ones are worked on meanwhile."""
    n_threads = n_threads or count_processors()
    with ThreadPoolExecutor(n_threads, thread_name_prefix="fer-load") as pool:
        under_way: deque[tuple[int, Future[list[Any]]]] = deque()
        n_bytes = 0
        held: list[FercliError] = []
        try:
            for chunk in hold_error(chunks, held):
                size = sum(getattr(one, "n_bytes", 0) for one in chunk)
                under_way.append((size, pool.submit(work, chunk)))
                n_bytes += size
                while len(under_way) > 2 * n_threads or n_bytes > _AHEAD_BYTES:
                    size, done = under_way.popleft()
                    n_bytes -= size
                    yield done.result()
            while under_way:
                yield under_way.popleft()[1].result()
            if held:
                raise held[0]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def count_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pack_images(paths: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield files in chunks: at most so many, and of so many bytes.

    Where a chunk ends depends on its own files alone, so that work which is cut up at the ends of
    chunks has the same chunks everywhere.
    """
    chunk: list[T] = []
    n_bytes = 0
    held: list[FercliError] = []
    for path in hold_error(paths, held):
        if not isinstance(path, Path):
            n_bytes += path.n_bytes or 0
        elif len(chunk) % _SAMPLED == 0:
            n_bytes += _SAMPLED * _measure(path)
        chunk.append(path)
        if len(chunk) >= most or n_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk
    if held:
        raise held[0]


def _measure(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return path.stat().st_size
    return 0


def load_faces(source: Path | Member, finder: FaceFinder, config: PredictConfig) -> LoadedImage:
    """Return the face crops of an image file, or why there are none; for any thread.

    Args:
        source: A file, or the content of one.
        finder: Finds the faces.
        config: What to look for.
        share: What counts the image's bytes, where somebody keeps it.

    Raises:
        ImageDecodeError: Its file cannot be decoded again, where small faces need that.
        DependencyMissingError: OpenCV is needed and cannot be imported.
    """
    if isinstance(source, Member):
        path, content, title = source.path, source.content, source.title or None
        if source.reason is not None:
            return LoadedImage(path, reason=source.reason, refused=source.refused, title=title)
    else:
        path, content, title = source, None, None
    try:
        # The image's bytes count until its faces are cut out.
        with MEMORY.open_share() as share:
            image = load_image(
                path if content is None else content,
                max_pixels=config.max_pixels,
                color=finder.needs_color,
                enough_px=finder.enough_px,
                share=share,
            )
            loaded = search_image(path, image, finder, config, share)
            return replace(loaded, content=content, title=title)
    except ImageDecodeError as reason:
        refused = isinstance(reason, ImageRefusedError)
        said = _describe_failure(reason)
        return LoadedImage(path, reason=said, refused=refused, title=title)


def _describe_failure(reason: ImageDecodeError) -> str:
    """Return why a file cannot be used, and the option that lifts it, where one does."""
    return f"{reason.message}; {reason.hint} lifts it" if reason.hint else reason.message


def search_image(
    path: Path,
    image: DecodedImage,
    finder: FaceFinder,
    config: PredictConfig,
    share: Share | None = None,
) -> LoadedImage:
    """Return the face crops of a decoded image.

    Args:
        path: What to call it.
        image: The image.
        finder: Finds the faces.
        config: What to look for.
        share: What counts the image's bytes, where somebody keeps it.

    Raises:
        ImageDecodeError: Its file cannot be decoded again, where small faces need that.
        DependencyMissingError: OpenCV is needed and cannot be imported.
    """
    detector, found = finder.find(image)
    faces = [face for face in found if min(face.width, face.height) >= config.min_face_px]
    return LoadedImage(
        path,
        crops=tuple(cut_faces(image, faces, detector, share)),
        faces=tuple(faces),
        detector=detector,
        width=image.width,
        height=image.height,
        frames=image.frames,
    )


def predict_loaded(
    runtime: Runtime, chunk: list[LoadedImage], config: PredictConfig, title: str | None
) -> Iterator[FilePrediction]:
    """Yield what is said of each image whose faces were found already, in order.

    Args:
        runtime: The model.
        chunk: As `load_faces` or `search_image` returned them.
        config: What to say.
        title: What rows call the model.

    Raises:
        ModelFileError: The model is damaged.
    """
    crops = [crop for loaded in chunk for crop in loaded.crops]
    starts = range(0, len(crops), config.batch_size)
    batches = [np.stack(crops[at : at + config.batch_size]) for at in starts]
    answers = [
        answer
        for batch in batches
        for answer in describe_faces(
            predict_checked(runtime, batch), runtime.labels, config.min_confidence
        )
    ]
    at = 0
    for loaded in chunk:
        count = len(loaded.crops)
        yield FilePrediction(
            loaded.path,
            build_rows(loaded, answers[at : at + count], title),
            np.stack(loaded.crops) if count else np.empty((0, SIDE_PX, SIDE_PX), dtype=np.uint8),
            loaded.frame,
            content=loaded.content,
        )
        at += count


def build_rows(
    loaded: LoadedImage, answers: list[tuple[str, float, dict[str, float]]], title: str | None
) -> tuple[PredictionRow, ...]:
    """Return the rows of an image: one per face, or one that says why there is none.

    Args:
        loaded: As `load_faces` returned it.
        answers: For each of its crops, as `describe_faces` returns them.
        title: What rows call the model.
    """
    shared = {
        "path": loaded.title or str(loaded.path),
        "frame": loaded.frame.index if loaded.frame else None,
        "time_s": loaded.frame.time_s if loaded.frame else None,
        "model": title,
    }
    if loaded.reason is not None:
        status = "refused" if loaded.refused else "unreadable"
        return (PredictionRow(status=status, reason=loaded.reason, **shared),)  # type: ignore[arg-type]  # mypy takes the values for one type
    shared |= {
        "image_width": loaded.width,
        "image_height": loaded.height,
        "detector": loaded.detector,
        "frames": loaded.frames,
    }
    if not answers:
        reason = f"{loaded.detector} finds no face"
        return (PredictionRow(status="no_face", reason=reason, **shared),)  # type: ignore[arg-type]  # as above
    return tuple(
        PredictionRow(
            status="ok",
            face=index,
            box=(face.x, face.y, face.width, face.height),
            label=label,
            confidence=confidence,
            probabilities=probabilities,
            **shared,  # type: ignore[arg-type]  # as above
        )
        for index, (face, (label, confidence, probabilities)) in enumerate(
            zip(loaded.faces, answers, strict=True)
        )
    )
