"""What takes predictions beside their rows: pictures, sheets, sorted folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fercli.prediction.answers import FilePrediction

__all__ = ["Sink"]


class Sink(Protocol):
    """Makes something of each file's prediction."""

    def add(self, prediction: FilePrediction) -> None:
        """Take the prediction of one file."""

    def close(self) -> None:
        """Write what could not be written before all were there."""

    def describe(self) -> str:
        """Return what was made, for people."""
