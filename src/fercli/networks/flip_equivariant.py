"""Layers that treat a face and its mirror image alike.

The channels of a map come in pairs: the second half is what the first half would be for the
mirrored image, read from the other side. Filters are shared accordingly, so half as many are
learned at the same cost of computing, every image is seen from both sides in every step, and
nothing of it has to be learned from examples.

Source:
    Cohen and Welling, "Group Equivariant Convolutional Networks", 2016, arXiv 1602.07576, for the
    group of two: identity and left-right reflection.

Shape legend: N images, 2C channels in C pairs, maps H x W.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PairedConv2d", "fold_pairs", "pool_pairs", "unfold_pairs"]


class PairedConv2d(nn.Conv2d):
    """A convolution onto pairs of channels; it holds the filters of the first half.

    Exact where the sampled columns are symmetric: padding `(kernel - stride) / 2` on a width that
    the stride divides.

    Args:
        inputs: Channels in pairs, or 1, an image.
        outputs: Channels, an even number.
        kernel: Side of the filters.
        options: As of `torch.nn.Conv2d`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, **options: Any) -> None:  # noqa: ANN401  # handed on
        super().__init__(inputs, outputs // 2, kernel, **options)

    def forward(self, maps: Tensor) -> Tensor:
        """Return `[N, 2C', H', W']` for `[N, 2C, H, W]`."""
        mirrored = self.weight.flip(3)
        if self.in_channels > 1:
            mirrored = torch.cat(mirrored.chunk(2, dim=1)[::-1], dim=1)
        weight = torch.cat([self.weight, mirrored])
        bias = None if self.bias is None else self.bias.repeat(2)
        return functional.conv2d(maps, weight, bias, self.stride, self.padding)


def fold_pairs(maps: Tensor) -> Tensor:
    """Return `[N, C, H, 2W]` for `[N, 2C, H, W]`: both of a pair in one channel, for its norm.

    A view where the memory format is channels_last.
    """
    n_images, channels, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).reshape(n_images, height, 2 * width, channels // 2)
    return rows.permute(0, 3, 1, 2)


def unfold_pairs(maps: Tensor) -> Tensor:
    """Undo `fold_pairs`."""
    n_images, channels, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).reshape(n_images, height, width // 2, 2 * channels)
    return rows.permute(0, 3, 1, 2)


def pool_pairs(means: Tensor, peaks: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and largest value of each pair, `[N, C]` each, for those of `[N, 2C]`."""
    n_images, channels = means.shape
    shape = (n_images, 2, channels // 2)
    return means.reshape(shape).mean(1), peaks.reshape(shape).amax(1)
