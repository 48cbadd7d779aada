"""Which images make up each step, as a function of seed and epoch: nothing to save or restore."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fercli.config import TrainConfig

__all__ = ["count_steps", "sample_batches", "sample_first_mirrored", "sample_mirrored"]

_EPOCH_STRIDE = 1_000_003
"""Keeps the streams of neighbouring seeds apart; any prime above the number of epochs does."""


def count_steps(n_images: int, batch_size: int) -> int:
    """Return the steps of an epoch in which every image is seen once."""
    return math.ceil(n_images / batch_size)


def sample_batches(labels: Tensor, config: TrainConfig, epoch: int) -> list[Tensor]:
    """Return the shuffled image numbers of every step of an epoch.

    The steps differ by at most one image, so that no small last batch upsets the batch norms.

    Args:
        labels: `[N]` int64 of the training split; looked at for `oversample` only. The numbers
            are moved to their device in one piece, for a copy each step would stall a GPU.
        config: Seed, batch size and balance are used.
        epoch: 0-based.
    """
    generator = torch.Generator().manual_seed(config.seed * _EPOCH_STRIDE + epoch)
    if config.loss.balance == "oversample":
        counts = torch.bincount(labels).cpu().double()
        chances = counts[labels.cpu()] ** -config.loss.balance_power
        order = torch.multinomial(chances, len(labels), replacement=True, generator=generator)
    else:
        order = torch.randperm(len(labels), generator=generator)
    return list(
        torch.tensor_split(order.to(labels.device), count_steps(len(labels), config.batch_size))
    )


def sample_first_mirrored(n_images: int, seed: int) -> Tensor:
    """Return `[n_images]` bool: which images `alternating` mirrors in even epochs."""
    generator = torch.Generator().manual_seed(seed * _EPOCH_STRIDE + _EPOCH_STRIDE - 1)
    return torch.rand(n_images, generator=generator) < 0.5


def sample_mirrored(flip: str, first: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
    """Return which images of a batch to mirror.

    Args:
        flip: `none`, `random` or `alternating`.
        first: `[N]` bool, the batch's part of `sample_first_mirrored`.
        epoch: 0-based.
        generator: Source of `random`, on the device of `first`.
    """
    if flip == "alternating":
        return first ^ bool(epoch % 2)
    if flip == "random":
        return torch.rand(len(first), generator=generator, device=first.device) < 0.5
    return torch.zeros_like(first)
