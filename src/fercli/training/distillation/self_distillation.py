"""What a network has answered to each training image, to learn from its own answers.

Answers are taken from the training steps, so they cost nothing; they are to varied views, and to
an epoch ago, which is what makes them smoother than the labels.

Source:
    Kim et al., "Self-Knowledge Distillation with Progressive Refinement of Targets", 2021; keeping
    more than the last epoch: Laine and Aila, "Temporal Ensembling", 2017, section 2.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fercli.training.loss import one_hot

if TYPE_CHECKING:
    from fercli.config import TrainConfig

__all__ = ["build_memory", "read_self_targets", "update_self_targets"]


def build_memory(n_images: int, n_labels: int, config: TrainConfig) -> Tensor | None:
    """Return an empty memory `[N, K]` float32, or None where none is kept."""
    return torch.zeros(n_images, n_labels) if config.distillation.self_weight else None


def read_self_targets(
    memory: Tensor, batch: Tensor, labels: Tensor, config: TrainConfig, epoch: int
) -> Tensor:
    """Return what is wanted of a batch: its labels, and more and more of what was answered.

    Args:
        memory: `[N, K]`.
        batch: `[B]` int64, numbers of images.
        labels: `[B]` int64, or `[B, K]` float32.
        config: `self_weight` and the epochs are used.
        epoch: 0-based.

    Returns:
        Probabilities `[B, K]` float32.
    """
    wanted, answers = one_hot(labels, memory.shape[1]), memory[batch]
    weight = config.distillation.self_weight * epoch / config.epochs
    known = answers.sum(1, keepdim=True) > 0
    return torch.where(known, torch.lerp(wanted, answers, weight), wanted)


def update_self_targets(
    memory: Tensor, batch: Tensor, answers: Tensor, config: TrainConfig
) -> None:
    """Take answers `[B, K]` into a memory, which is changed in place."""
    before = memory[batch]
    kept = torch.where(before.sum(1, keepdim=True) > 0, config.distillation.self_memory, 0.0)
    memory[batch] = torch.lerp(answers, before, kept)
