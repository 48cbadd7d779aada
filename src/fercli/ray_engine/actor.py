"""The actor: opens the model once, then predicts block after block."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.errors import FercliError, InputNotFoundError, RunFailedError, SetupError
from fercli.images import SIDE_PX
from fercli.images.memory import return_large_blocks
from fercli.inference import choose_labels
from fercli.model_files import find_model, open_runtime
from fercli.prediction.members import open_archives
from fercli.prediction.parts import Origin
from fercli.prediction.predict import predict_files
from fercli.prediction.sources import Member
from fercli.prediction.weights import provide_weights
from fercli.prediction.writers import key_path
from fercli.ray_engine.blocks import Answer, Block, Source

if TYPE_CHECKING:
    import pyarrow  # noqa: ICN001  # as `import_pyarrow` has it
    from ray.actor import ActorHandle

    from fercli.config import PredictConfig
    from fercli.inference import Runtime
    from fercli.prediction.answers import FilePrediction
    from fercli.ray_engine.job import RayJob

__all__ = ["Actor", "Tries", "strip_pixels"]

_LOG: Final = logging.getLogger(__name__)
_TRIES: Final = 4
"""How often a block is begun: a file that ends its process would do so for ever."""
_ASKED: Final = ("labels_of", "excel", "ext", "device")
"""Options of an origin that callers add."""
_NO_CROPS: Final = np.empty((0, SIDE_PX, SIDE_PX), dtype=np.uint8)
_NO_FRAME: Final = np.empty((0, 0, 3), dtype=np.uint8)


class Tries:
    """Counts how often each block was begun, apart from those who may die of it."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count a try, and return how many there were."""
        self._counts[number] += 1
        return self._counts[number]


class Actor:
    """Predicts blocks; the model is opened at the first one, where what is wrong can be answered.

    Args:
        job: What it needs to know.
        tries: An actor that counts, as `Tries`.
    """

    def __init__(self, job: RayJob, tries: ActorHandle) -> None:
        self._job = job
        self._tries = tries
        self._opened: _Opened | None = None

    def __call__(self, batch: pyarrow.Table) -> dict[str, list[bytes]]:
        """Return the answer to a block, both pickled."""
        [content] = batch["block"].to_pylist()
        block: Block = pickle.loads(content)  # noqa: S301  # made by our own driver
        try:
            self._check_tries(block)
            answer = self.answer(block)
        except FercliError as reason:
            answer = Answer(failure=reason)
        return {"answer": [pickle.dumps(answer)]}

    def answer(self, block: Block) -> Answer:
        """Return what comes of a block.

        Raises:
            FercliError: It cannot be worked on here.
        """
        if self._opened is None:
            self._opened = self._open()
        self._check_there(block)
        opened, answer = self._opened, Answer()
        predictions = predict_files(
            opened.runtime, self._unpack(block, answer), opened.config, parallel=opened.parallel,
            title=self._job.origin.model, n_threads=self._job.n_threads,
        )  # fmt: skip
        answer.predictions = [strip_pixels(prediction) for prediction in predictions]
        return answer

    def _open(self) -> _Opened:
        """Return the model, in the folder that paths start from.

        Raises:
            SetupError: Rows would come of other things here.
            FercliError: The model is not there or not whole, or has no device.
        """
        job = self._job
        # Where it is not there, files that are will be looked for by their whole paths.
        with contextlib.suppress(OSError):
            os.chdir(job.folder)
        return_large_blocks()
        on_cpu = job.device == "cpu"
        found = find_model(job.model, prefer_onnx=on_cpu)
        runtime = open_runtime(found, device=job.device, n_threads=1)
        runtime = choose_labels(runtime, job.labels_of)
        config = job.config
        weights = provide_weights(config.faces, job.weights, note=_LOG.info)
        config = replace(config, detector_weights=weights)
        asked = {name: job.origin.options[name] for name in _ASKED}
        origin = Origin.describe(job.origin.model, found.compute_digest(), runtime, config, **asked)
        if differences := origin.list_differences(job.origin):
            message = f"a Ray actor on {socket.gethostname()} would give different rows: "
            hint = "every machine of the cluster needs the same fercli, libraries and model"
            raise SetupError(message + "; ".join(differences), hint=hint)
        return _Opened(runtime, config, parallel=on_cpu and found.is_onnx)

    def _check_tries(self, block: Block) -> None:
        """Refuse a block over which this process would die, too.

        Raises:
            RunFailedError: All those before did.
        """
        import ray

        if ray.get(self._tries.begin.remote(block.number)) > _TRIES:
            first, *others = block.sources
            more = f" or one of {len(others):,} after it" if others else ""
            message = f"{_TRIES} Ray actors died over the same block of files: {first}{more}"
            hint = "leave out the file that kills them; --resume continues with the rows so far"
            raise RunFailedError(message, hint=hint)

    def _check_there(self, block: Block) -> None:
        """Refuse a block of which nothing is there, on another machine than the list's.

        Raises:
            InputNotFoundError: It would come to rows that say that no file can be read.
        """
        files = [source for source in block.sources if isinstance(source, Path)]
        if len(files) < 2 or any(map(_is_there, files)):
            return
        import ray

        if ray.get_runtime_context().get_node_id() != self._job.node:
            host = socket.gethostname()
            message = f"{files[0]} and {len(files) - 1:,} more are not on {host} of the Ray cluster"
            hint = "every machine of the cluster must find the inputs under the same path"
            raise InputNotFoundError(message, hint=hint)

    def _unpack(self, block: Block, answer: Answer) -> Iterator[Path | Member]:
        def is_done(path: str, _n_bytes: int | None) -> bool:
            is_there = key_path(path) in block.done
            answer.n_passed += is_there
            return is_there

        for is_read, group in itertools.groupby(block.sources, _is_read):
            if is_read:
                yield from (one for one in group if isinstance(one, Member))
                continue
            yield from open_archives(
                (one for one in group if not isinstance(one, Member)),
                endings=self._job.endings, others=answer.others, is_done=is_done,
                column=self._job.config.image_column,
            )  # fmt: skip


def strip_pixels(prediction: FilePrediction) -> FilePrediction:
    """Return a prediction without the pixels and bytes that it was made of, as it travels."""
    frame = prediction.frame
    return replace(
        prediction, crops=_NO_CROPS, content=None,
        frame=None if frame is None else replace(frame, bgr=_NO_FRAME),
    )  # fmt: skip


@dataclass(frozen=True)
class _Opened:
    runtime: Runtime
    config: PredictConfig
    parallel: bool


def _is_read(source: Source) -> bool:
    return isinstance(source, Member)


def _is_there(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return path.exists()
    return False
