"""What a training, and a prediction, can be told, as frozen dataclasses that check themselves.

Every default lives here, once: recipes state what they change, the command line only what the
user typed. One dataclass per concern, each in a module of its own, keeps them readable;
`fercli.settings` sees them as one flat mapping.
"""

from __future__ import annotations

from fercli.config.augment import FLIPS, AugmentConfig
from fercli.config.distillation import DistillationConfig
from fercli.config.limits import MAX_PIXELS
from fercli.config.loss import BALANCES, LossConfig
from fercli.config.network import NETWORKS, STEMS, NetworkConfig
from fercli.config.optimizer import AVERAGES, OPTIMIZERS, SCHEDULES, OptimizerConfig
from fercli.config.predict import FACES, PredictConfig
from fercli.config.train import (
    DEFAULTS,
    DEVICES,
    PRECISIONS,
    TrainConfig,
    find_batch_misfit,
    is_device_name,
)
from fercli.config.transfer import TransferConfig

__all__ = [
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
    "SCHEDULES",
    "STEMS",
    "AugmentConfig",
    "DistillationConfig",
    "LossConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "PredictConfig",
    "TrainConfig",
    "TransferConfig",
    "find_batch_misfit",
    "is_device_name",
]
