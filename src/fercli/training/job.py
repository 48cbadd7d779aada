"""What every part of a training needs to know, in one hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.runs import RunFolder
    from fercli.training.group import Group
    from fercli.training.journal import Journal
    from fercli.training.splits import TrainingSplits

__all__ = ["Job"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: from what, how, to where."""

    dataset: Dataset
    """What it learns from."""
    config: TrainConfig
    """Device and precision resolved."""
    splits: TrainingSplits
    """The images it uses."""
    run: RunFolder
    """Where everything goes."""
    journal: Journal
    """Who is told."""
    data: str | None
    """How `dataset` was named."""
    group: Group
    """Who trains with this process."""
