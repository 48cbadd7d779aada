"""What a training minimizes: cross-entropy with the labels, and with a teacher's answers.

Shape legend: N images, K labels; logits float32 [N, K].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from fercli.config import DistillationConfig, LossConfig, TrainConfig

__all__ = ["Criterion", "build_criterion", "compute_loss", "count_labels", "one_hot", "soften"]


@dataclass(frozen=True)
class Criterion:
    """What is minimized, with what it needs to know of the training labels."""

    loss: LossConfig
    """The part of the labels."""
    distillation: DistillationConfig
    """The part of a teacher."""
    weights: Tensor | None
    """[K] float32, what an image of a label counts; 1 on average over the training images."""
    log_prior: Tensor | None
    """[K] float32, what is added to the logits."""


def build_criterion(config: TrainConfig, counts: Tensor) -> Criterion:
    """Return the criterion of a config.

    Args:
        config: Loss and distillation are used.
        counts: `[K]` int64, training images of each label, on the training device.
    """
    loss = config.loss
    shares = counts.clamp_min(1).float() / counts.sum()
    weights = log_prior = None
    if loss.balance == "weights":
        weights = shares**-loss.balance_power
        weights = weights / (weights * shares).sum()
    if loss.logit_adjustment:
        log_prior = loss.logit_adjustment * shares.log()
    return Criterion(loss, config.distillation, weights, log_prior)


def compute_loss(
    logits: Tensor, labels: Tensor, criterion: Criterion, targets: Tensor | None = None
) -> Tensor:
    """Return the mean loss against the labels and, where there is one, against a teacher.

    The teacher's part is multiplied by the squared temperature, which keeps its gradients as
    large as those of the labels.

    Args:
        logits: `[N, K]` float32.
        labels: `[N]` int64, or `[N, K]` float32, a probability for each label.
        criterion: What to compute.
        targets: `[N, K]` float32, what `soften` made of the teacher's probabilities.

    Source:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """
    loss = _compare_with_labels(logits, labels, criterion)
    if targets is None:
        return loss
    weight = criterion.distillation.teacher_weight
    temperature = criterion.distillation.teacher_temperature
    taught = functional.cross_entropy(logits / temperature, targets) * temperature**2
    return torch.lerp(loss, taught, weight)


def soften(probabilities: Tensor, temperature: float) -> Tensor:
    """Return probabilities `[N, K]` as the logits behind them give at another temperature."""
    return torch.softmax(probabilities.clamp_min(1e-8).log() / temperature, dim=1)


def count_labels(labels: Tensor, n_labels: int) -> Tensor:
    """Return `[K]` int64, how many of labels `[N]` there are of each."""
    return torch.bincount(labels, minlength=n_labels)


def one_hot(labels: Tensor, n_labels: int) -> Tensor:
    """Return labels `[N]` int64 as probabilities `[N, K]` float32; such probabilities stay."""
    return labels if labels.ndim == 2 else functional.one_hot(labels, n_labels).float()


def _compare_with_labels(logits: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
    config = criterion.loss
    if criterion.log_prior is not None:
        logits = logits + criterion.log_prior
    if criterion.weights is None and not config.focal_gamma:
        return functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    n_labels = logits.shape[1]
    wanted = one_hot(labels, n_labels)
    weights = 1.0 if criterion.weights is None else wanted @ criterion.weights
    wanted = wanted * (1 - config.label_smoothing) + config.label_smoothing / n_labels
    log_probabilities = functional.log_softmax(logits, dim=1)
    terms = -wanted * log_probabilities
    if config.focal_gamma:
        # At a probability of exactly one the slope of a power below one would be infinite.
        missing = (1 - log_probabilities.exp()).clamp_min(1e-6)
        terms = terms * missing**config.focal_gamma
    return (terms.sum(1) * weights).mean()
