"""What a machine and an installation offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Device", "EnvironmentResult", "Paths"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a network can run on."""

    device: str
    """As `--device` takes it."""
    name: str
    """As the system or the driver names it."""
    cores: int | None = None
    """Of the CPU; None of a GPU, or where it is not known."""
    threads: int | None = None
    """That torch uses of it; None of a GPU, or without torch."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where fercli looks; None where that cannot be told."""

    data_home: str | None = None
    """The folder of the prepared dataset, downloads and fetched detectors."""
    dataset: str | None = None
    """The prepared dataset; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentResult:
    """An installation, the machine that it is on, and what is wrong with them."""

    versions: Mapping[str, str | None]
    """Of fercli, Python and the libraries; None of those that are not installed."""
    devices: tuple[Device, ...]
    """What torch can run on; without torch the CPU."""
    providers: tuple[str, ...]
    """What onnxruntime can run on."""
    paths: Paths
    """Where fercli looks for data."""
    models: Mapping[str, bool]
    """Of each bundled model whether it is the one that came with this fercli."""
    detectors: Mapping[str, bool]
    """Of each face detector whether it can be used now."""
    extras: Mapping[str, bool]
    """Of each extra of this package whether all of it is installed."""
    free_bytes: Mapping[str, int]
    """Where datasets (`data_home`) and where runs (`runs`) are written."""
    problems: tuple[str, ...]
    """Sentences that end in the command that mends them, where there is one."""
