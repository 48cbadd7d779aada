"""From images in memory to rows, for many clients at once and within bounds.

Decoding and the search for faces run in a few threads, the model in another; the event loop only
hands on. The rows are made by the code of `fer predict`. What is under way is counted, requests and
bytes, and what would be too much is sent away at once: a client that is told to come again is
better off than one that waits for minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from fercli import __version__
from fercli.config import FACES, ServeConfig
from fercli.errors import ConfigError
from fercli.images import FaceFinder
from fercli.inference import LABEL_SETS
from fercli.prediction import FilePrediction
from fercli.prediction.answers import build_rows, describe_faces
from fercli.prediction.chunks import count_processors
from fercli.prediction.loading import LoadedImage, load_faces
from fercli.prediction.members import Member
from fercli.prediction.summary import PredictionSummary
from fercli.prediction.weights import provide_weights
from fercli.prediction.writers import RowLayout
from fercli.results import build_envelope, to_json
from fercli.serve.answers import COMMAND, ENDING, refuse_busy
from fercli.serve.batches import Batcher
from fercli.serve.query import PredictQuery, parse_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.inference import Runtime
    from fercli.serve.models import ServedModels
    from fercli.serve.uploads import Upload

__all__ = ["Service"]

_T = TypeVar("_T")
_FULL: Final = "too many requests are in progress"
_SKIPPED: Final = {"unreadable", "refused"}
_LOG: Final = logging.getLogger(__name__)


class Service:
    """Answers requests; all methods but the constructor are called in one event loop.

    Args:
        models: What is served.
        config: The bounds.

    Raises:
        ModelFileError: The weights of yunet that are here are damaged.
    """

    def __init__(self, models: ServedModels, config: ServeConfig) -> None:
        self.models = models
        self.config = config
        self._weights = provide_weights("auto", None, note=_LOG.info)
        self.faces = [kind for kind in FACES if kind != "yunet" or self._weights is not None]
        """The ways to find faces that need no download."""
        self.is_draining = False
        self.n_requests = 0
        """Requests that are under way."""
        self.n_answered = 0
        """Requests that got rows."""
        self.n_faces = 0
        """Faces in them."""
        self._n_bytes = 0
        self._finders: dict[str, FaceFinder] = {}
        self._finding = threading.Lock()
        # Two where there is one core: one decodes while the other waits for the budget of bytes.
        self._pool = ThreadPoolExecutor(max(2, count_processors()), thread_name_prefix="fer-decode")
        self._batcher = Batcher(size=config.batch_size, wait_s=config.batch_wait_s)

    def close(self) -> None:
        """Let the threads end, after what they do just now."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._batcher.close()

    @contextlib.contextmanager
    def open_slot(self) -> Iterator[Callable[[int], None]]:
        """Count a request inside the block.

        Yields:
            A function that counts its bytes; it raises where all requests have too many.

        Raises:
            RequestError: There are too many, or the service is about to end.
        """
        if self.is_draining:
            raise refuse_busy(ENDING)
        if self.n_requests >= self.config.max_requests:
            raise refuse_busy(_FULL)
        n_bytes = 0

        def reserve(n_more: int) -> None:
            nonlocal n_bytes
            # One request as large as it may be has room, whatever waits is to take.
            most = max(self.config.max_waiting_bytes, self.config.max_bytes)
            if self._n_bytes + n_more > most:
                raise refuse_busy(_FULL)
            self._n_bytes += n_more
            n_bytes += n_more

        self.n_requests += 1
        try:
            yield reserve
        finally:
            self.n_requests -= 1
            self._n_bytes -= n_bytes

    async def run(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Return what a function returns that takes its time, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, function, *arguments)

    def parse_query(self, pairs: list[tuple[str, str]]) -> PredictQuery:
        """Return what a client asks for; see `query.parse_query`."""
        return parse_query(
            pairs,
            models=self.models.names,
            faces=self.faces,
            max_pixels=self.config.max_pixels,
        )

    async def describe(self) -> dict[str, Any]:
        """Return what there is to ask for."""
        config = self.config
        return {
            "models": await self.run(self.models.describe),
            "faces": self.faces,
            "limits": {
                "bytes": config.max_bytes,
                "pixels": config.max_pixels,
                "images": config.max_images,
            },
            "version": __version__,
        }

    async def predict(self, uploads: list[Upload], query: PredictQuery) -> dict[str, Any]:
        """Return the envelope with the rows of images, in their order.

        Raises:
            ConfigError: The model lacks labels that are asked for.
            ModelFileError: The model is damaged.
            DependencyMissingError: OpenCV is needed and cannot be imported.
        """
        started = perf_counter()
        with self._batcher.expect() as expected:
            runtime = await self._open(query)
            loaded = await asyncio.gather(
                *(self.run(self._load_faces, upload, query) for upload in uploads)
            )
            crops = [crop for image in loaded for crop in image.crops]
            found = (
                await expected.predict(runtime, np.stack(crops))
                if crops
                else np.empty((0, len(runtime.labels)), dtype=np.float32)
            )
        summary = PredictionSummary(runtime.labels, rows=[])
        for prediction in _build_predictions(uploads, loaded, found, runtime, query):
            summary.add(prediction)
        return self._conclude(summary, perf_counter() - started, query.model)

    async def _open(self, query: PredictQuery) -> Runtime:
        """Return the model that is asked for.

        Raises:
            ConfigError: It lacks labels that are asked for.
        """
        opened = self.models.find_open(query.model, query.labels_of)
        if opened is not None:
            return opened
        plain = await self.run(self.models.open, query.model, None)
        if query.labels_of is None:
            return plain
        if missing := set(LABEL_SETS[query.labels_of]) - set(plain.labels):
            message = f"{query.model} lacks {', '.join(sorted(missing))} of {query.labels_of}"
            raise ConfigError(message, hint="leave labels_of out, or ask another model")
        return await self.run(self.models.open, query.model, query.labels_of)

    def _load_faces(self, upload: Upload, query: PredictQuery) -> LoadedImage:
        kind = query.config.faces
        with self._finding:
            if kind not in self._finders:
                weights = self._weights if kind in {"auto", "yunet"} else None
                self._finders[kind] = FaceFinder(kind, weights)
        # Of the name nothing is made: the content decides what it is.
        member = Member(Path("image"), upload.content)
        return replace(load_faces(member, self._finders[kind], query.config), content=None)

    def _conclude(
        self, summary: PredictionSummary, duration_s: float, model: str
    ) -> dict[str, Any]:
        result = summary.conclude(duration_s, output=None, model=model)
        self.n_answered += 1
        self.n_faces += result.n_faces
        layout = RowLayout(summary.labels)
        rows = [layout.select(row) for row in result.rows or ()]
        counts = to_json(replace(result, rows=None))
        data = {**counts, "duration_s": duration_s, "rows": rows}
        errors = [
            {"code": "skipped", "message": f"{row['path']}: {row['reason']}", "hint": ""}
            for row in rows
            if row["status"] in _SKIPPED
        ]
        status = "partial" if errors else "ok"
        return build_envelope(COMMAND, status, 7 if errors else 0, data, errors)


def _build_predictions(
    uploads: list[Upload],
    loaded: list[LoadedImage],
    found: NDArray[np.float32],
    runtime: Runtime,
    query: PredictQuery,
) -> Iterator[FilePrediction]:
    """Yield what is said of each image, under its client's name for it."""
    answers = describe_faces(found, runtime.labels, query.config.min_confidence)
    at = 0
    for upload, image in zip(uploads, loaded, strict=True):
        n_faces = len(image.crops)
        rows = build_rows(image, answers[at : at + n_faces], query.model)
        named = tuple(replace(row, path=upload.name) for row in rows)
        yield FilePrediction(image.path, named, np.empty((0, 48, 48), dtype=np.uint8))
        at += n_faces
