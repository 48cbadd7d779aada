"""The options of a training, and of a prediction, as frozen dataclasses that check themselves.

Every option is declared here, once, with its type, default, range or choices, help and flag; the
command line, `--set`, the checks and the reference page are derived from that (see
`fercli.config.options`). Recipes state what they change, the command line what the user typed. One
dataclass per concern, each in a module of its own, keeps them readable; `fercli.settings` sees them
as one flat mapping.
"""

from __future__ import annotations

from fercli.config.augment import FLIPS, AugmentConfig
from fercli.config.distillation import DistillationConfig
from fercli.config.limits import MAX_PIXELS
from fercli.config.loss import BALANCES, LossConfig
from fercli.config.network import ARCHITECTURE, NETWORKS, STEMS, NetworkConfig
from fercli.config.optimizer import AVERAGES, OPTIMIZERS, SCHEDULES, OptimizerConfig
from fercli.config.options import Option, list_options
from fercli.config.predict import FACES, ROW_FILE_FORMATS, PredictConfig
from fercli.config.repeats import RepeatConfig
from fercli.config.serve import ServeConfig
from fercli.config.train import (
    DEFAULTS,
    DEVICES,
    PRECISIONS,
    TrainConfig,
    find_batch_misfit,
    find_size_misfit,
    is_device_name,
)
from fercli.config.transfer import TransferConfig

__all__ = [
    "ARCHITECTURE",
    "AVERAGES",
    "BALANCES",
    "DEFAULTS",
    "DEVICES",
    "FACES",
    "FLIPS",
    "MAX_PIXELS",
    "NETWORKS",
    "OPTIMIZERS",
    "PRECISIONS",
    "ROW_FILE_FORMATS",
    "SCHEDULES",
    "STEMS",
    "AugmentConfig",
    "DistillationConfig",
    "LossConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "Option",
    "PredictConfig",
    "RepeatConfig",
    "ServeConfig",
    "TrainConfig",
    "TransferConfig",
    "find_batch_misfit",
    "find_size_misfit",
    "is_device_name",
    "list_options",
]
