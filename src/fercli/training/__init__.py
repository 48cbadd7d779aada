"""Training: from a dataset and a configuration to a run folder with a model in it."""

from __future__ import annotations

from fercli.training.callbacks import Callbacks, StepReport
from fercli.training.checks import check_training, resolve_config
from fercli.training.distillation.teacher import list_config_files
from fercli.training.events import check_tensorboard
from fercli.training.extend import plan_extension
from fercli.training.process import tune_malloc
from fercli.training.repeats import list_repeats, open_repeats, train_repeats
from fercli.training.run import extend, resume, train

__all__ = [
    "Callbacks",
    "StepReport",
    "check_tensorboard",
    "check_training",
    "extend",
    "list_config_files",
    "list_repeats",
    "open_repeats",
    "plan_extension",
    "resolve_config",
    "resume",
    "train",
    "train_repeats",
    "tune_malloc",
]
