"""Batch norms melted into the convolutions before them: the same answers in fewer passes.

After training a norm multiplies and shifts each channel by constants, which the filters can do
themselves. Runtimes melt a norm that follows its convolution at once; ours follow the pooling, or
are shared by a pair of channels, and there they would stay, passes over memory and little else.

Source:
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-
    Only Inference", 2018, arXiv 1712.05877, section 3.2.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from fercli.networks import FaceNetwork

__all__ = ["can_swap", "fold_norm", "fuse"]


def fuse(network: FaceNetwork) -> FaceNetwork:
    """Return a copy, for evaluation only, whose norms are melted into its convolutions.

    What a network's modules know to melt in their `fuse_norms` is melted; the rest stays.
    """
    simple = copy.deepcopy(network).eval()
    for module in list(simple.modules()):
        fold = getattr(module, "fuse_norms", None)
        if fold is not None:
            fold()
    return simple


def can_swap(norm: nn.Module) -> bool:
    """Tell whether a norm may go before a maximum that it follows: it turns no channel around."""
    return bool((norm.get_parameter("weight") >= 0).all())


def fold_norm(convolution: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """Return a convolution that gives what the norm of a convolution's maps would give.

    Args:
        convolution: Its kind is kept: of paired channels the filters of the first half are held.
        norm: A batch norm of as many channels as there are filters.
    """
    scale, shift = _read_factors(norm)
    folded = copy.deepcopy(convolution)
    with torch.no_grad():
        folded.weight.mul_(scale.view(-1, 1, 1, 1))
        before = torch.zeros_like(shift) if convolution.bias is None else convolution.bias
        folded.bias = nn.Parameter(before * scale + shift)
    return folded


def _read_factors(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return what a norm multiplies each channel by, and what it adds, `[C]` each."""
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        raise TypeError(norm)
    deviation = torch.sqrt(norm.get_buffer("running_var") + norm.eps)
    scale = norm.get_parameter("weight") / deviation
    return scale, norm.get_parameter("bias") - norm.get_buffer("running_mean") * scale
