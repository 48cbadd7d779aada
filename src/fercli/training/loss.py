"""What a training minimizes: cross-entropy with the labels, and with a teacher's answers.

Shape legend: logits float32 [N, K], labels int64 [N], targets float32 [N, K].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from fercli.config import TrainConfig

__all__ = ["compute_loss", "soften"]


def compute_loss(
    logits: Tensor, labels: Tensor, config: TrainConfig, targets: Tensor | None = None
) -> Tensor:
    """Return the mean loss against the labels and, where there is one, against a teacher.

    The teacher's part is multiplied by the squared temperature, which keeps its gradients as
    large as those of the labels.

    Args:
        logits: `[N, K]` float32.
        labels: `[N]` int64.
        config: Label smoothing, and weight and temperature of the teacher.
        targets: `[N, K]` float32, what `soften` made of the teacher's probabilities.

    Source:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """
    loss = functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    if targets is None:
        return loss
    weight = config.distillation.teacher_weight
    temperature = config.distillation.teacher_temperature
    taught = functional.cross_entropy(logits / temperature, targets) * temperature**2
    return torch.lerp(loss, taught, weight)


def soften(probabilities: Tensor, temperature: float) -> Tensor:
    """Return probabilities `[N, K]` as the logits behind them give at another temperature."""
    return torch.softmax(probabilities.clamp_min(1e-8).log() / temperature, dim=1)
