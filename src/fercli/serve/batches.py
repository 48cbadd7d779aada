"""Faces of several requests share calls of the model.

One thread runs the models. While it works, faces gather and go together in the next call. When it
is idle, a face waits for others, a few milliseconds at most, and only while other requests are
being decoded: who is alone waits for nobody. All of the bookkeeping is in the event loop, so
there is nothing to lock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fercli.inference import predict_in_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.inference import Runtime

__all__ = ["Batcher", "Expected"]


@dataclass(frozen=True, eq=False)
class _Job:
    """The faces of one request."""

    runtime: Runtime
    crops: NDArray[np.uint8]
    answer: asyncio.Future[NDArray[np.float32]]
    due_s: float
    """When it waits no longer, by the loop's clock."""


class Expected:
    """A request whose faces may come; others wait for them until they have.

    Args:
        submit: Takes a model and face crops; returns their answer to be.
        arrive: Is called once: the faces are there, or there are none.
    """

    def __init__(
        self,
        submit: Callable[[Runtime, NDArray[np.uint8]], asyncio.Future[NDArray[np.float32]]],
        arrive: Callable[[], None],
    ) -> None:
        self._submit = submit
        self._arrive = arrive
        self._has_arrived = False

    async def predict(self, runtime: Runtime, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]` of face crops `[N, 48, 48]`, N >= 1.

        Raises:
            ModelFileError: As in `predict_checked`.
        """
        answer = self._submit(runtime, crops)
        self.arrive()
        return await answer

    def arrive(self) -> None:
        """Let nobody wait for this request any longer."""
        if not self._has_arrived:
            self._has_arrived = True
            self._arrive()


class Batcher:
    """Runs models in a thread, on the faces of several requests at once.

    All methods are called in one event loop.

    Args:
        size: Most faces per call of the model.
        wait_s: How long a face may wait for others while the model is idle, in seconds.
    """

    def __init__(self, *, size: int, wait_s: float) -> None:
        self._size = size
        self._wait_s = wait_s
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fer-model")
        self._waiting: deque[_Job] = deque()
        self._n_coming = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_running = False

    @contextlib.contextmanager
    def expect(self) -> Iterator[Expected]:
        """Yield a request whose faces may come; others wait for them inside the block."""
        expected = Expected(self._submit, self._arrive)
        self._n_coming += 1
        try:
            yield expected
        finally:
            expected.arrive()

    def close(self) -> None:
        """Let the thread end; what waits is not answered."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(
        self, runtime: Runtime, crops: NDArray[np.uint8]
    ) -> asyncio.Future[NDArray[np.float32]]:
        loop = asyncio.get_running_loop()
        job = _Job(runtime, crops, loop.create_future(), loop.time() + self._wait_s)
        self._waiting.append(job)
        return job.answer

    def _arrive(self) -> None:
        self._n_coming -= 1
        self._consider()

    def _consider(self) -> None:
        """Call the model now, or a little later, or leave it at what runs."""
        if self._is_running or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        due_s = self._waiting[0].due_s
        is_full = sum(len(job.crops) for job in self._waiting) >= self._size
        if self._n_coming and not is_full and loop.time() < due_s:
            if self._timer is None:
                self._timer = loop.call_at(due_s, self._start)
            return
        self._start()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_running or not self._waiting:
            return
        batch = self._take()
        self._is_running = True
        done = asyncio.get_running_loop().run_in_executor(
            self._pool, _answer, batch[0].runtime, [job.crops for job in batch], self._size
        )
        done.add_done_callback(partial(self._finish, batch))

    def _take(self) -> list[_Job]:
        """Return the jobs of the next call: of one model, in order, as many as fit."""
        first = self._waiting.popleft()
        batch, left, n_faces = [first], deque[_Job](), len(first.crops)
        for job in self._waiting:
            if job.runtime is first.runtime and n_faces + len(job.crops) <= self._size:
                batch.append(job)
                n_faces += len(job.crops)
            else:
                left.append(job)
        self._waiting = left
        return batch

    def _finish(self, batch: list[_Job], done: asyncio.Future[list[NDArray[np.float32]]]) -> None:
        self._is_running = False
        error = None if done.cancelled() else done.exception()
        for index, job in enumerate(batch):
            if job.answer.done():
                # Its client has gone.
                continue
            if done.cancelled():
                job.answer.cancel()
            elif error is not None:
                job.answer.set_exception(error)
            else:
                job.answer.set_result(done.result()[index])
        self._consider()


def _answer(
    runtime: Runtime, crops: list[NDArray[np.uint8]], size: int
) -> list[NDArray[np.float32]]:
    """Return the probabilities of each request's crops."""
    probabilities = predict_in_batches(runtime, np.concatenate(crops), batch_size=size)
    return np.split(probabilities, np.cumsum([len(part) for part in crops])[:-1])
