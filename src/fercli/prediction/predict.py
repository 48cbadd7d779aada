"""From files to rows of probabilities, one bad file never ending the rest.

Files are read, and faces looked for, in as many threads as there are processors: Pillow, OpenCV and
onnxruntime all let go of Python's lock. An ONNX model on the CPU is called in these threads, each
call on one core; other models work on what was read while the threads go on. Files travel in small
chunks, whose size depends on the files alone, so that rows, and which faces share a call of the
model, are the same in every run. Only a few chunks are under way at a time: memory does not grow
with the list.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.config import PredictConfig
from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import MEMORY, DecodedImage, Face, FaceFinder, cut_face, load_image
from fercli.inference.runtime import predict_checked
from fercli.results import PredictionRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.inference.runtime import Runtime

__all__ = ["UNCERTAIN", "FilePrediction", "describe_faces", "predict_files"]

UNCERTAIN: Final = "uncertain"
"""Label of a face whose best probability is below the threshold."""
_CHUNK_BYTES: Final = 1 << 20
"""A chunk ends with the file that fills it: about 500 face crops, or one photo."""
_SAMPLED: Final = 8
"""Of so many files of a chunk the size of the first is looked up, and counts for each."""


@dataclass(frozen=True)
class FilePrediction:
    """What was said of one file."""

    path: Path
    """The file."""
    rows: tuple[PredictionRow, ...]
    """One per face, largest first; one without a face where there is none."""
    crops: NDArray[np.uint8]
    """[F, 48, 48], the faces as the model saw them."""


@dataclass(frozen=True)
class _Loaded:
    """A file with the faces found in it, or the reason why it has none."""

    path: Path
    crops: tuple[NDArray[np.uint8], ...] = ()
    faces: tuple[Face, ...] = ()
    detector: str | None = None
    reason: str | None = None
    refused: bool = False
    width: int | None = None
    height: int | None = None
    frames: int | None = None


def predict_files(
    runtime: Runtime,
    paths: Iterable[Path],
    config: PredictConfig | None = None,
    *,
    parallel: bool = False,
) -> Generator[FilePrediction, None, None]:
    """Yield what is said of each file, in order.

    Args:
        runtime: The model.
        paths: Image files; taken only a little ahead of what is yielded.
        config: What to look for; the defaults where it is None.
        parallel: Call the model in the threads that read, too; for one that takes such calls and
            computes each on one core, which keeps all cores busier than one call on all of them.

    Raises:
        ModelFileError: The weights of the detector, or the model, are damaged.
        DependencyMissingError: OpenCV is needed and cannot be imported.
    """
    config = config or PredictConfig()
    finder = FaceFinder(config.faces, config.detector_weights)

    def load(chunk: list[Path]) -> list[_Loaded]:
        return [_load(path, finder, config.max_pixels) for path in chunk]

    def answer(loaded: list[_Loaded]) -> list[FilePrediction]:
        return list(_predict_chunk(runtime, loaded, config))

    work = (lambda chunk: answer(load(chunk))) if parallel else load
    finish = (lambda done: done) if parallel else answer
    # Closed in step with this generator: nothing is read for somebody who has gone.
    with contextlib.closing(_work_ahead(_pack(paths, config.batch_size), work)) as done:
        for chunk in done:
            yield from finish(chunk)


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
    chunks: Iterable[list[Path]], work: Callable[[list[Path]], list[Any]]
) -> Generator[list[Any], None, None]:
    """Yield what becomes of chunks, in order; the next ones are worked on meanwhile."""
    n_threads = _count_processors()
    with ThreadPoolExecutor(n_threads, thread_name_prefix="fer-load") as pool:
        under_way: deque[Future[list[Any]]] = deque()
        try:
            for chunk in chunks:
                under_way.append(pool.submit(work, chunk))
                if len(under_way) > 2 * n_threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _count_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pack(paths: Iterable[Path], most: int) -> Iterator[list[Path]]:
    """Yield files in chunks: at most so many, and of so many bytes."""
    chunk: list[Path] = []
    n_bytes = 0
    for path in paths:
        if len(chunk) % _SAMPLED == 0:
            n_bytes += _SAMPLED * _measure(path)
        chunk.append(path)
        if len(chunk) >= most or n_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _measure(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return path.stat().st_size
    return 0


def _load(path: Path, finder: FaceFinder, max_pixels: int) -> _Loaded:
    try:
        # The image's bytes count until its faces are cut out.
        with MEMORY.open_share() as share:
            image = load_image(path, max_pixels=max_pixels, color=finder.needs_color, share=share)
            return _find_faces(path, image, finder)
    except ImageDecodeError as reason:
        refused = isinstance(reason, ImageRefusedError)
        return _Loaded(path, reason=reason.message, refused=refused)


def _find_faces(path: Path, image: DecodedImage, finder: FaceFinder) -> _Loaded:
    detector, faces = finder.find(image)
    height, width = image.gray.shape
    return _Loaded(
        path,
        crops=tuple(cut_face(image, face, detector) for face in faces),
        faces=tuple(faces),
        detector=detector,
        width=width,
        height=height,
        frames=image.frames,
    )


def _predict_chunk(
    runtime: Runtime, chunk: list[_Loaded], config: PredictConfig
) -> Iterator[FilePrediction]:
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
            _build_rows(loaded, answers[at : at + count]),
            np.stack(loaded.crops) if count else np.empty((0, 48, 48), dtype=np.uint8),
        )
        at += count


def _build_rows(
    loaded: _Loaded, answers: list[tuple[str, float, dict[str, float]]]
) -> tuple[PredictionRow, ...]:
    path = str(loaded.path)
    if loaded.reason is not None:
        status = "refused" if loaded.refused else "unreadable"
        return (PredictionRow(path=path, status=status, reason=loaded.reason),)
    shared = {
        "path": path,
        "image_width": loaded.width,
        "image_height": loaded.height,
        "detector": loaded.detector,
        "frames": loaded.frames,
    }
    if not answers:
        reason = f"{loaded.detector} finds no face"
        return (PredictionRow(status="no_face", reason=reason, **shared),)  # type: ignore[arg-type]  # mypy takes the values for one type
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
