"""What a training changes in this process: memory, and torch's own random generators.

Dropout draws from these: they are seeded for a run, saved with it, and put back after it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from fercli.images.memory import ask_malloc

__all__ = [
    "keep_generators",
    "read_generators",
    "restore_generators",
    "seed_generators",
    "tune_malloc",
]

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_MAX: Final = -4
_M_ARENA_MAX: Final = -8


def tune_malloc() -> bool:
    """Let this process keep the memory that a step has used for the next one, until it ends.

    glibc gives large blocks back to the system as soon as they are free, and the system hands them
    out again page by page, each filled with zeros first: a ninth of a training step on a CPU
    (measured, docs/explanation/log.md). An application may turn that off, a library should not:
    `fer train` does.

    Returns:
        Whether that could be asked for: of glibc, on Linux.
    """
    wanted = {
        _M_MMAP_MAX: 0,
        _M_TRIM_THRESHOLD: 2**31 - 1,
        _M_TOP_PAD: 64 * 2**20,
        # Backward passes run in a thread of their own, whose arena could not hold large blocks.
        _M_ARENA_MAX: 1,
    }
    return ask_malloc(wanted)


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed the generators of the CPU and of a device."""
    for generator in _find_generators(device).values():
        generator.manual_seed(seed)


def read_generators(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators of the CPU and of a device."""
    return {name: generator.get_state() for name, generator in _find_generators(device).items()}


def restore_generators(device: torch.device, states: dict[str, Tensor]) -> None:
    """Take over what `read_generators` gave.

    Raises:
        KeyError: The states are of another kind of device.
    """
    for name, generator in _find_generators(device).items():
        generator.set_state(states[name])


@contextlib.contextmanager
def keep_generators(device: torch.device) -> Iterator[None]:
    """Put the generators of the CPU and of a device back after the block."""
    states = read_generators(device)
    try:
        yield
    finally:
        restore_generators(device, states)


def _find_generators(device: torch.device) -> dict[str, torch.Generator]:
    # torch.cuda's own functions seed the current device, which cuda:1 need not be.
    generators = {"torch": torch.default_generator}
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch's has no annotations
        index = torch.cuda.current_device() if str(device) == "cuda" else device.index
        generators["cuda"] = torch.cuda.default_generators[index]
    elif device.type == "mps":
        generators["mps"] = torch.mps._get_default_mps_generator()  # noqa: SLF001  # as torch.mps does
    return generators
