"""torch's own generators, which dropout draws from: seeded for a run, saved, put back after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["keep_generators", "read_generators", "restore_generators", "seed_generators"]


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


@contextmanager
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
