"""Our regularized CNN, sized by its config.

A 4x4 stride-2 stem halves the image before anything costs much, then each stage halves it again;
with a GPU, a 3x3 stem of stride 1 and a fourth stage can see every pixel.
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

from fercli.networks.batch_norm_fusion import can_swap, fold_norm
from fercli.networks.flip_equivariant import PairedConv2d, fold_pairs, pool_pairs, unfold_pairs
from fercli.networks.whitening import compute_filters, compute_paired_filters

if TYPE_CHECKING:
    from fercli.config import NetworkConfig

__all__ = ["RegularizedCNN", "build"]

_LOGIT_SCALE: Final = 0.25
"""Slows the last layer against the convolutions: at their learning rate it runs away in the first
epoch, and synthetic faces are then not learned at all (measured, docs/explanation/log.md)."""


def build(config: NetworkConfig, n_labels: int) -> nn.Module:
    """Build the network of a config for K labels."""
    return RegularizedCNN(config, n_labels)


class RegularizedCNN(nn.Module):
    """Stem, stages, pooled head.

    Args:
        config: `stem_width`, `stem`, `stem_stride`, `flip_equivariant`, `widths`, `convolutions`,
            `norm_scale` and `dropout` are used.
        n_labels: K.
    """

    def __init__(self, config: NetworkConfig, n_labels: int) -> None:
        super().__init__()
        inputs = (config.stem_width, *config.widths)
        self.paired = config.flip_equivariant
        convolution = PairedConv2d if self.paired else nn.Conv2d
        stride = config.stem_stride
        self.stem = convolution(1, config.stem_width, 2 + stride, stride=stride, padding=1)
        self.stem.requires_grad_(config.stem == "learned")
        self.stages = nn.Sequential(
            *(
                self.build_stage(before, after, config)
                for before, after in zip(inputs, config.widths, strict=False)
            )
        )
        self.dropout = nn.Dropout(config.dropout)
        # Of a pair of channels the head sees what does not depend on which is which.
        n_features = config.widths[-1] if self.paired else 2 * config.widths[-1]
        self.head = nn.Linear(n_features, n_labels)

    @staticmethod
    def build_stage(before: int, after: int, config: NetworkConfig) -> nn.Module:
        """Build what halves the map and takes it from one width to another."""
        return _Stage(before, after, config)

    def fit(self, pixels: Tensor) -> None:
        """Compute a whitened stem: filters whose answers to the images are uncorrelated.

        A learned stem is left alone.

        Args:
            pixels: `[N, 1, H, W]`, normalized training images.
        """
        if self.stem.weight.requires_grad:
            return
        compute = compute_paired_filters if self.paired else compute_filters
        with torch.no_grad():
            self.stem.weight.copy_(
                compute(pixels, self.stem.out_channels, self.stem.kernel_size[0])
            )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits `[N, K]` for normalized pixels `[N, 1, H, W]`, H and W at least 16."""
        maps: Tensor = self.stages(functional.relu(self.stem(pixels)))
        means, peaks = maps.mean((2, 3)), maps.amax((2, 3))
        if self.paired:
            means, peaks = pool_pairs(means, peaks)
        logits: Tensor = self.head(self.dropout(torch.cat([means, peaks], dim=1)))
        return logits * _LOGIT_SCALE


class _Stage(nn.Module):
    """Convolutions at one width; the map is halved after the first."""

    def __init__(self, before: int, after: int, config: NetworkConfig) -> None:
        super().__init__()
        widths = [before] + [after] * (config.convolutions - 1)
        self.paired = config.flip_equivariant
        convolution = PairedConv2d if self.paired else nn.Conv2d
        self.convolutions = nn.ModuleList(
            convolution(width, after, 3, padding=1, bias=False) for width in widths
        )
        normed = after // 2 if self.paired else after
        self.norms = nn.ModuleList(nn.BatchNorm2d(normed) for _ in widths)
        for norm in self.norms:
            norm.get_parameter("weight").requires_grad_(config.norm_scale)

    def fuse_norms(self) -> None:
        """Melt the norms into the convolutions, for evaluation; in place."""
        for index, (convolve, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            # The first follows its pooling.
            if isinstance(convolve, nn.Conv2d) and (index > 0 or can_swap(norm)):
                self.convolutions[index] = fold_norm(convolve, norm)
                self.norms[index] = nn.Identity()
        self.paired = self.paired and isinstance(self.norms[0], nn.BatchNorm2d)

    def forward(self, maps: Tensor) -> Tensor:
        for index, (convolve, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            convolved = convolve(maps)
            if index == 0 and isinstance(norm, nn.Identity):
                # Runtimes join the two to the convolution in this order, and in eight bits.
                maps = functional.max_pool2d(functional.relu(convolved), 2)
                continue
            if index == 0:
                convolved = functional.max_pool2d(convolved, 2)
            convolved = fold_pairs(convolved) if self.paired else convolved
            activated = functional.relu(norm(convolved), inplace=True)
            activated = unfold_pairs(activated) if self.paired else activated
            maps = maps + activated if index >= 2 else activated
        return maps
