"""Training: from a dataset and a configuration to a run folder with a model in it."""

from __future__ import annotations

from fercli.training.allocator import tune_malloc
from fercli.training.checks import check_training, resolve_config
from fercli.training.hooks import StepReport
from fercli.training.run import resume, train
from fercli.training.run_log import Callbacks
from fercli.training.signals import catch_signals
from fercli.training.teacher import list_config_files

__all__ = [
    "Callbacks",
    "StepReport",
    "catch_signals",
    "check_training",
    "list_config_files",
    "resolve_config",
    "resume",
    "train",
    "tune_malloc",
]
