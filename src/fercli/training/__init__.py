"""Training: from a dataset and a configuration to a run folder with a model in it."""

from __future__ import annotations

from fercli.training.allocator import keep_memory
from fercli.training.hooks import StepReport
from fercli.training.interrupt import catch_signals
from fercli.training.journal import Watcher
from fercli.training.preflight import check_training, resolve_config
from fercli.training.run import resume, train
from fercli.training.teacher import list_config_files

__all__ = [
    "StepReport",
    "Watcher",
    "catch_signals",
    "check_training",
    "keep_memory",
    "list_config_files",
    "resolve_config",
    "resume",
    "train",
]
