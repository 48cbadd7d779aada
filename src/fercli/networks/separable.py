"""Depthwise separable convolutions: more layers and width for few numbers.

A 3x3 convolution of each channel alone and a 1x1 convolution across channels hold a seventh to a
ninth of what a full 3x3 convolution holds. They are slower than their arithmetic says, so that the
full ones win wherever numbers are not what is scarce. Stem, pooling and head are those of `cnn`.

Source:
    Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from fercli.networks.batch_norm_fusion import can_swap, fold_norm
from fercli.networks.cnn import RegularizedCNN

if TYPE_CHECKING:
    from fercli.config import NetworkConfig

__all__ = ["SeparableCNN", "build"]


def build(config: NetworkConfig, n_labels: int) -> nn.Module:
    """Build the network of a config for K labels; filters are not shared with mirror images."""
    return SeparableCNN(dataclasses.replace(config, flip_equivariant=False), n_labels)


class SeparableCNN(RegularizedCNN):
    """Stem, stages of separable convolutions, pooled head; the config is read as `cnn` reads it."""

    @staticmethod
    def build_stage(before: int, after: int, config: NetworkConfig) -> nn.Module:
        """Build a stage: one block that halves the map, then residual ones."""
        blocks = [_Separable(before, after, halves=True)]
        blocks += [_Separable(after, after, halves=False) for _ in range(config.convolutions - 1)]
        return nn.Sequential(*blocks)


class _Separable(nn.Module):
    """Each channel alone, then across channels; pooled, or added to what came in."""

    def __init__(self, before: int, after: int, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.alone = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
        self.alone_norm: nn.Module = nn.BatchNorm2d(before)
        self.across = nn.Conv2d(before, after, 1, bias=False)
        self.across_norm: nn.Module = nn.BatchNorm2d(after)

    def fuse_norms(self) -> None:
        """Melt the norms into the convolutions, for evaluation; in place."""
        self.alone = fold_norm(self.alone, self.alone_norm)
        self.alone_norm = nn.Identity()
        if not self.halves or can_swap(self.across_norm):
            self.across = fold_norm(self.across, self.across_norm)
            self.across_norm = nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        mixed = self.across(self.alone_norm(self.alone(maps)))
        if self.halves:
            return functional.relu(self.across_norm(functional.max_pool2d(mixed, 2)))
        return maps + functional.relu(self.across_norm(mixed))
