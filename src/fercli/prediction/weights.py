"""The weights that a way to find faces needs: given, kept, or fetched now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fercli.detectors import DETECTORS, find_weights
from fercli.errors import ModelNotFoundError

__all__ = ["provide_weights"]


def provide_weights(faces: str, given: Path | None, *, note: Callable[[str], None]) -> Path | None:
    """Return the weights that a way to find faces needs, downloaded where they are not there.

    Args:
        faces: One of `config.FACES`. `yunet` gets its weights; `auto` uses them where they are.
        given: A file of somebody's own.
        note: Takes a sentence before anything is downloaded.

    Raises:
        ModelNotFoundError: The file that was given is missing.
        ModelFileError: The weights in the data home are damaged.
        DownloadError: They cannot be had.
    """
    if given is not None:
        if not given.is_file():
            message = f"there are no weights at {given}"
            raise ModelNotFoundError(message, hint="fer models fetch yunet")
        return given
    if faces == "auto":
        return find_weights("yunet") if DETECTORS["yunet"].path.is_file() else None
    if faces not in DETECTORS:
        return None
    weights = DETECTORS[faces]
    if not weights.path.exists():
        from fercli.download import fetch_detector

        note(f"downloading {weights.name}, {weights.n_bytes:,} bytes, to {weights.path.parent}")
        fetch_detector(weights, on_progress=lambda _done, _total: None, note=note)
    return find_weights(faces)
