"""The weights of face detectors, had once and kept in the data home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fercli.download.sources import download
from fercli.errors import CredentialsError, DownloadError, OutputExistsError, SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fercli.detectors import DetectorWeights
    from fercli.download.fetch import Downloaded, Progress

__all__ = ["fetch_detector"]


def fetch_detector(
    weights: DetectorWeights, *, on_progress: Progress, note: Callable[[str], None]
) -> Downloaded:
    """Download a detector's weights, or find them there.

    Args:
        weights: Which.
        on_progress: Called with bytes done and in all.
        note: Takes sentences about waiting and trying again.

    Raises:
        OutputExistsError: Another file has their name.
        DownloadError: They cannot be had, or are not the known ones.
        CredentialsError: The server, or something on the way, refuses.
        SetupError: The disk has no room.
    """
    try:
        return download(
            weights.url,
            weights.path.parent,
            sha256=weights.sha256,
            on_progress=on_progress,
            note=note,
        )
    except OutputExistsError as reason:
        message = f"{weights.path} already exists, but is not the weights of {weights.name}"
        raise OutputExistsError(message, hint="remove it, and fetch again") from reason
    except (DownloadError, CredentialsError) as reason:
        hint = f"get {weights.url} by hand, and give it to predict: --detector-weights FILE"
        raise type(reason)(reason.message, hint=hint) from reason
    except SetupError as reason:
        hint = "free some space, or set FERCLI_HOME to a folder on another disk"
        raise SetupError(reason.message, hint=hint) from reason
