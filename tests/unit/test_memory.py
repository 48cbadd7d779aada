from __future__ import annotations

import platform
import threading
from concurrent.futures import ThreadPoolExecutor

from fercli.images.memory import MEMORY, ByteBudget, return_large_blocks

MIB = 1 << 20


def test_shares_are_within_the_budget_together() -> None:
    budget = ByteBudget(10 * MIB)
    lock = threading.Lock()
    held = [0, 0]

    def work(_number: int) -> None:
        with budget.open_share() as share:
            share.resize(4 * MIB)
            with lock:
                held[0] += 1
                held[1] = max(held)
            share.resize(3 * MIB)
            with lock:
                held[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))

    assert 1 <= held[1] <= 3


def test_who_came_first_always_goes_on() -> None:
    budget = ByteBudget(10 * MIB)
    done = threading.Event()

    def wait() -> None:
        with budget.open_share() as second:
            second.resize(2 * MIB)
            started.set()
            second.resize(9 * MIB)
            done.set()

    started = threading.Event()
    other = threading.Thread(target=wait)
    with budget.open_share() as first:
        first.resize(6 * MIB)
        other.start()
        assert started.wait(10)
        # Both want more than there is left: the older share may have it all the same.
        first.resize(100 * MIB)
        assert not done.is_set()
    other.join(10)

    assert done.is_set()


def test_small_images_do_not_wait() -> None:
    budget = ByteBudget(10 * MIB)

    with budget.open_share() as first, budget.open_share() as second:
        first.resize(100 * MIB)
        second.resize(MIB)


def test_what_is_larger_than_a_megabyte_waits() -> None:
    budget = ByteBudget(10 * MIB)

    with budget.open_share() as first, budget.open_share() as second:
        first.resize(100 * MIB)
        waiting = threading.Thread(target=second.resize, args=(MIB + 1,))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        first.resize(0)
        waiting.join(10)
        assert not waiting.is_alive()


def test_all_images_share_256_mib() -> None:
    with MEMORY.open_share() as first, MEMORY.open_share() as second:
        first.resize(200 * MIB)
        second.resize(56 * MIB)
        waiting = threading.Thread(target=second.resize, args=(56 * MIB + 1,))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        first.resize(0)
        waiting.join(10)
        assert not waiting.is_alive()


def test_a_process_without_its_parents_threads_starts_anew() -> None:
    budget = ByteBudget(10 * MIB)

    with budget.open_share() as first, budget.open_share() as second:
        first.resize(100 * MIB)
        budget.forget()
        second.resize(100 * MIB)


def test_large_blocks_go_back_where_glibc_is() -> None:
    assert return_large_blocks() == (platform.libc_ver()[0] == "glibc")
