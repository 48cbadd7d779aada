from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fercli.emotions import LABELS
from fercli.errors import ModelFileError
from fercli.metadata import ModelMetadata
from fercli.serve.batches import Batcher

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Counting:
    """Says of each face how bright its first pixel is; remembers the sizes of its calls."""

    labels = LABELS
    device = "cpu"
    metadata = ModelMetadata(labels=LABELS)

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.calls: list[int] = []
        self.gate = gate

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls.append(len(images))
        if self.gate:
            assert self.gate.wait(10)
        answer = np.zeros((len(images), 7), dtype=np.float32)
        answer[:, 0] = images[:, 0, 0] / 255
        answer[:, 1] = 1 - answer[:, 0]
        return answer


def draw(*brightness: int) -> NDArray[np.uint8]:
    return np.stack([np.full((48, 48), value, dtype=np.uint8) for value in brightness])


async def ask(batcher: Batcher, runtime: Counting, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    with batcher.expect() as request:
        return await request.predict(runtime, crops)


def run(work: Callable[[Batcher], Awaitable[None]], *, size: int = 64, wait_s: float = 5) -> None:
    async def call() -> None:
        with contextlib.closing(Batcher(size=size, wait_s=wait_s)) as batcher:
            await work(batcher)

    asyncio.run(call())


def test_faces_of_several_requests_share_a_call() -> None:
    runtime = Counting()

    async def work(batcher: Batcher) -> None:
        async def decode_and_ask(pause_s: float, *brightness: int) -> list[int]:
            with batcher.expect() as request:
                await asyncio.sleep(pause_s)
                answer = await request.predict(runtime, draw(*brightness))
            return [round(float(value) * 255) for value in answer[:, 0]]

        answers = await asyncio.gather(
            decode_and_ask(0.01, 1, 2), decode_and_ask(0.02, 3), decode_and_ask(0.03, 4, 5, 6)
        )

        assert list(answers) == [[1, 2], [3], [4, 5, 6]]

    run(work)
    assert runtime.calls == [6]


def test_who_is_alone_waits_for_nobody() -> None:
    async def work(batcher: Batcher) -> None:
        async with asyncio.timeout(2):
            await ask(batcher, Counting(), draw(1))

    run(work, wait_s=5)


def test_waiting_for_others_has_an_end() -> None:
    async def work(batcher: Batcher) -> None:
        with batcher.expect():
            started = time.perf_counter()
            await ask(batcher, Counting(), draw(1))
            assert 0.04 < time.perf_counter() - started < 2

    run(work, wait_s=0.05)


def test_a_full_batch_goes_at_once() -> None:
    async def work(batcher: Batcher) -> None:
        with batcher.expect():
            async with asyncio.timeout(2):
                await ask(batcher, Counting(), draw(1, 2, 3))

    run(work, size=3, wait_s=5)


def test_who_brings_no_face_holds_nobody_up() -> None:
    async def work(batcher: Batcher) -> None:
        async def bring_nothing() -> None:
            with batcher.expect():
                await asyncio.sleep(0.05)

        async with asyncio.timeout(2):
            await asyncio.gather(bring_nothing(), ask(batcher, Counting(), draw(1)))

    run(work, wait_s=5)


def test_faces_gather_while_the_model_runs() -> None:
    gate = threading.Event()
    runtime = Counting(gate)

    async def work(batcher: Batcher) -> None:
        first = asyncio.create_task(ask(batcher, runtime, draw(1)))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(ask(batcher, runtime, draw(n))) for n in (2, 3, 4)]
        await asyncio.sleep(0.05)
        gate.set()
        answers = await asyncio.gather(first, *others)
        assert [round(float(answer[0, 0]) * 255) for answer in answers] == [1, 2, 3, 4]

    run(work)
    assert runtime.calls == [1, 3]


def test_one_request_may_have_more_faces_than_a_call() -> None:
    runtime = Counting()

    async def work(batcher: Batcher) -> None:
        answer = await ask(batcher, runtime, draw(*range(7)))
        assert [round(float(value) * 255) for value in answer[:, 0]] == list(range(7))

    run(work, size=3)
    assert runtime.calls == [3, 3, 1]


def test_models_do_not_share_calls() -> None:
    gate = threading.Event()
    one, other = Counting(gate), Counting(gate)

    async def work(batcher: Batcher) -> None:
        asked = [
            asyncio.create_task(ask(batcher, runtime, draw(n)))
            for n, runtime in enumerate((one, other, one, other))
        ]
        await asyncio.sleep(0.05)
        gate.set()
        answers = await asyncio.gather(*asked)
        assert [round(float(answer[0, 0]) * 255) for answer in answers] == [0, 1, 2, 3]

    run(work)
    assert sum(one.calls) == sum(other.calls) == 2
    assert other.calls == [2]


def test_a_model_that_fails_is_told_to_everybody_and_goes_on() -> None:
    class Broken(Counting):
        def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.full((len(images), 7), np.nan, dtype=np.float32)

    async def work(batcher: Batcher) -> None:
        broken = Broken()
        asked = [asyncio.create_task(ask(batcher, broken, draw(n))) for n in (1, 2)]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, ModelFileError)
        answer = await ask(batcher, Counting(), draw(255))
        assert answer[0, 0] == pytest.approx(1)

    run(work)


def test_a_client_that_has_gone_keeps_nobody_from_an_answer() -> None:
    gate = threading.Event()
    runtime = Counting(gate)

    async def work(batcher: Batcher) -> None:
        first = asyncio.create_task(ask(batcher, runtime, draw(1)))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(ask(batcher, runtime, draw(2)))
        other = asyncio.create_task(ask(batcher, runtime, draw(3)))
        await asyncio.sleep(0.05)
        gone.cancel()
        gate.set()
        await first
        assert round(float((await other)[0, 0]) * 255) == 3

    run(work)
