"""Our regularized CNN, sized by its config.

A 4x4 stride-2 stem halves the image before anything costs much, then each stage halves it again.
Pooling comes before the norm, which quarters the memory-bound work, and the head joins average and
maximum over the map, so the network takes any size from 16 pixels up. The first
stages are narrow and the last is wide: at 24x24 a channel costs sixteen times what it costs at
6x6. A norm after the stem was left out: it cost 7 % of the speed (docs/explanation/log.md).

Source:
    Pooling before the norm and the small-stem layout: Jordan, "94% on CIFAR-10 in 3.29 Seconds on
    a Single GPU", 2024, arXiv 2404.00498. Residual third convolution: the same, airbench96.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from fercli.config import NetworkConfig

__all__ = ["RegularizedCNN", "build"]

_LOGIT_SCALE: Final = 0.25
"""Slows the last layer against the convolutions: at their learning rate it runs away in the first
epoch, and drawn faces are then not learned at all (measured, docs/explanation/log.md)."""
_WHITENING_FLOOR: Final = 5e-3
"""Added to the variance of a direction of patches, so that noise is not blown up."""


def build(config: NetworkConfig, n_labels: int) -> nn.Module:
    """Build the network of a config for K labels."""
    return RegularizedCNN(config, n_labels)


class RegularizedCNN(nn.Module):
    """Stem, stages, pooled head.

    Args:
        config: `stem_width`, `stem`, `widths`, `convolutions`, `norm_scale` and `dropout` are
            used.
        n_labels: K.
    """

    def __init__(self, config: NetworkConfig, n_labels: int) -> None:
        super().__init__()
        inputs = (config.stem_width, *config.widths)
        self.stem = nn.Conv2d(1, config.stem_width, 4, stride=2, padding=1)
        self.stem.requires_grad_(config.stem == "learned")
        self.stages = nn.Sequential(
            *(
                _Stage(before, after, config)
                for before, after in zip(inputs, config.widths, strict=False)
            )
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.widths[-1], n_labels)

    def fit(self, pixels: Tensor) -> None:
        """Compute a whitened stem: filters whose answers to the images are uncorrelated.

        A learned stem is left alone.

        Args:
            pixels: `[N, 1, H, W]`, normalized training images.

        Source:
            Page, "How to Train Your ResNet 8: Bag of Tricks", 2019; both signs of every filter
            and the frozen weights: Jordan 2024, arXiv 2404.00498, section 3.1.
        """
        if self.stem.weight.requires_grad:
            return
        patches = functional.unfold(pixels, 4, stride=2).transpose(1, 2).reshape(-1, 16).double()
        variances, directions = torch.linalg.eigh(torch.cov(patches.T))
        filters = (directions / (variances + _WHITENING_FLOOR).sqrt()).T.flip(0)
        half = filters[: self.stem.out_channels // 2].reshape(-1, 1, 4, 4)
        with torch.no_grad():
            self.stem.weight.copy_(torch.cat([half, -half]))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits `[N, K]` for normalized pixels `[N, 1, H, W]`, H and W at least 16."""
        maps: Tensor = self.stages(functional.relu(self.stem(pixels)))
        features = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)
        logits: Tensor = self.head(self.dropout(features))
        return logits * _LOGIT_SCALE


class _Stage(nn.Module):
    """Convolutions at one width; the map is halved after the first."""

    def __init__(self, before: int, after: int, config: NetworkConfig) -> None:
        super().__init__()
        widths = [before] + [after] * (config.convolutions - 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, after, 3, padding=1, bias=False) for width in widths
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for _ in widths)
        for norm in self.norms:
            norm.get_parameter("weight").requires_grad_(config.norm_scale)

    def forward(self, maps: Tensor) -> Tensor:
        for index, (convolve, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            convolved = convolve(maps)
            if index == 0:
                convolved = functional.max_pool2d(convolved, 2)
            activated = functional.relu(norm(convolved), inplace=True)
            maps = maps + activated if index >= 2 else activated
        return maps
