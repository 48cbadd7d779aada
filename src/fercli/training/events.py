"""Curves for TensorBoard, beside `metrics.csv`, which stays the source of them.

Events can only be added to a file, and a resumed run may have lost epochs that were logged. So a
process that begins to log puts all epochs of the run into a new file, and removes the older ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli.dependencies import check_installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fercli.results import EpochReport

__all__ = ["EventFile", "check_tensorboard"]

_TAGS: Final = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "learning_rate": "learning_rate",
    "images_per_s": "images_per_s",
}
"""Scalars, and the fields of an `EpochReport` that they are."""


def check_tensorboard() -> None:
    """Refuse to log for TensorBoard where it is missing.

    Raises:
        DependencyMissingError: It is not installed.
    """
    check_installed("tensorboard", consequence="--log tensorboard cannot be used")


class EventFile:
    """The events of a run.

    Args:
        folder: Where they go; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def write(self, history: Sequence[EpochReport]) -> None:
        """Log the last epoch, and the first time those before it, too."""
        missing = history[-1:]
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            for old in self._folder.glob("events.out.tfevents.*"):
                old.unlink()
            self._writer, missing = SummaryWriter(str(self._folder)), history
        for report in missing:
            for tag, name in _TAGS.items():
                self._writer.add_scalar(tag, getattr(report, name), report.epoch)
        self._writer.flush()

    def close(self) -> None:
        """End the file; what is written next begins another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
