"""What every part of a training needs to know, in one hand."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

import fercli
from fercli.metadata import RunDatasetRecord, RunRecord
from fercli.networks.devices import name_device
from fercli.runs import utc_now
from fercli.settings import flatten_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.metadata import InitRecord, TeacherRecord
    from fercli.runs import RunFolder
    from fercli.training.callbacks import RunLog
    from fercli.training.distributed import Group
    from fercli.training.splits import TrainingSplits

__all__ = ["TrainingContext", "build_record"]


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """One training: from what, how, to where."""

    dataset: Dataset
    """What it learns from."""
    config: TrainConfig
    """Device and precision resolved."""
    splits: TrainingSplits
    """The images it uses."""
    run: RunFolder
    """Where everything goes."""
    run_log: RunLog
    """Who is told."""
    data: str | None
    """How `dataset` was named."""
    group: Group
    """Who trains with this process."""


def build_record(
    context: TrainingContext, teachers: Sequence[TeacherRecord], init: InitRecord | None = None
) -> RunRecord:
    """Return what `run.json` says of a run that begins.

    Args:
        context: The training.
        teachers: Who teaches, members left out.
        init: The model that it is fine-tuned from.
    """
    config, dataset, splits = context.config, context.dataset, context.splits
    return RunRecord(
        config=flatten_config(config),
        versions={
            "fercli": fercli.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        device=name_device(torch.device(config.device)),
        processes=context.group.size,
        dataset=RunDatasetRecord(
            data=context.data,
            source=dataset.source,
            sha256=dataset.sha256,
            labels=dataset.label_names,
            labeling=dataset.labeling,
            targets=dataset.learned,
            dropped=dataset.dropped,
            n_train=len(splits.train.labels),
            validation=splits.validation_name,
            n_validation=len(splits.validation.labels),
        ),
        started_at=utc_now(),
        teachers=tuple(teachers),
        init=init,
    )
