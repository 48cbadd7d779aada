"""What serving, the demo and the weights of models came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DemoResult", "FetchResult", "ListedModel", "ModelsResult", "ServeResult"]


@dataclass(frozen=True, kw_only=True)
class ServeResult:
    """A service that has ended."""

    url: str
    """Where the page was."""
    model: str
    """What clients got that named none."""
    n_requests: int
    """Requests that got rows."""
    n_faces: int
    """Faces in them."""
    duration_s: float
    """From the start to the end, seconds."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The whole loop on synthetic faces."""

    output: str
    """Path of the folder."""
    accuracy: float
    """On the private split of the synthetic faces."""
    duration_s: float
    """Of the whole loop, seconds."""
    files: Mapping[str, str]
    """What was written, by what it is."""


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A bundled model, or a face detector."""

    name: str
    """As `--model` or `--faces` takes it."""
    finds: str
    """`expressions` or `faces`."""
    state: str
    """Where it comes from, or what to do to have it."""
    path: str | None
    """None where it is not there, or is OpenCV's own."""
    sha256: str | None
    """Digest of the file; of weights that can be fetched the known one."""
    license: str | None = None
    """Of weights that can be fetched; None of what comes with fercli or OpenCV."""
    url: str | None = None
    """Where they are fetched from; None of what comes with fercli or OpenCV."""


@dataclass(frozen=True, kw_only=True)
class ModelsResult:
    """What finds faces and names expressions."""

    models: tuple[ListedModel, ...]
    """Bundled models, then detectors."""


@dataclass(frozen=True, kw_only=True)
class FetchResult:
    """Weights of a face detector that were asked for."""

    name: str
    """As `--faces` takes it."""
    path: str
    """Where they are."""
    sha256: str
    """Digest of the file."""
    size_bytes: int
    """Size of the file."""
    was_there: bool
    """Whether they had been fetched before."""
