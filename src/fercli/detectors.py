"""Face detectors whose weights do not come with anything: where they are had, and kept.

Source of the figures: the pointer of the file in OpenCV's own repository of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fercli.errors import ModelFileError, ModelNotFoundError
from fercli.paths import find_data_home
from fercli.storage import digest_file

__all__ = ["DETECTORS", "DetectorWeights", "find_weights"]


@dataclass(frozen=True, kw_only=True)
class DetectorWeights:
    """One file of weights."""

    name: str
    """What `--faces` calls the detector."""
    url: str
    """Where it is had, at a fixed commit."""
    sha256: str
    """Of the whole file."""
    n_bytes: int
    """Its size."""
    license: str
    """Under which it is given."""

    @property
    def path(self) -> Path:
        """Where it is kept once it was fetched."""
        return find_data_home() / "models" / self.url.rpartition("/")[2]


DETECTORS: Final = {
    "yunet": DetectorWeights(
        name="yunet",
        url="https://huggingface.co/opencv/face_detection_yunet/resolve/"
        "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310/face_detection_yunet_2023mar.onnx",
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        n_bytes=232_589,
        license="MIT",
    )
}


def find_weights(name: str) -> Path:
    """Return the fetched weights of a detector.

    Raises:
        ModelNotFoundError: They were not fetched.
        ModelFileError: They are not what was fetched.
        DependencyMissingError: As in `find_data_home`.
    """
    weights = DETECTORS[name]
    hint = f"fer models fetch {name}; or give a file of your own: --detector-weights FILE"
    if not weights.path.is_file():
        message = f"the weights of {name} are missing: {weights.path}"
        raise ModelNotFoundError(message, hint=hint)
    if digest_file(weights.path) != weights.sha256:
        message = f"{weights.path} is damaged: its sha256 is not {weights.sha256}"
        raise ModelFileError(message, hint=f"remove it, then: fer models fetch {name}")
    return weights.path
