"""Filters computed from patches of images, whose answers are uncorrelated and of one variance.

Source:
    Page, "How to Train Your ResNet 8: Bag of Tricks", 2019; both signs of every filter, and that
    they stay as they are: Jordan 2024, arXiv 2404.00498, section 3.1.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["compute_filters", "compute_paired_filters"]

_FLOOR: Final = 5e-3
"""Added to the variance of a direction of patches, so that noise is not blown up."""


def compute_filters(pixels: Tensor, n_filters: int, side: int) -> Tensor:
    """Return `[n_filters, 1, side, side]`: the strongest directions of patches, of both signs.

    Args:
        pixels: `[N, 1, H, W]`, normalized images.
        n_filters: An even number, at most twice the pixels of a patch.
        side: Of a patch, pixels.
    """
    half = _whiten(_cut(pixels, side), torch.eye(side * side, dtype=torch.float64))
    return _take_signs(half, n_filters, side)


def compute_paired_filters(pixels: Tensor, n_filters: int, side: int) -> Tensor:
    """Return `[n_filters, 1, side, side]` that whiten together with their mirror images.

    Symmetric and antisymmetric directions are whitened apart; the sum of one of each is a filter,
    their difference its mirror image. Where the floor keeps one of the two from the variance of the
    other, a filter and its own mirror image stay correlated a little.

    Args:
        pixels: As of `compute_filters`.
        n_filters: An even number, at most the pixels of a patch.
        side: Of a patch, an even number of pixels.
    """
    patches = _cut(pixels, side)
    patches = torch.cat([patches, _mirror(patches, side)])
    identity = torch.eye(side * side, dtype=torch.float64)
    mirrored = _mirror(identity, side)
    # The left half of a patch, with its mirror image added or taken off.
    left = torch.arange(side * side).reshape(side, side)[:, : side // 2].flatten()
    symmetric = _whiten(patches, (identity + mirrored)[left].T / 2**0.5)
    antisymmetric = _whiten(patches, (identity - mirrored)[left].T / 2**0.5)
    return _take_signs((symmetric + antisymmetric) / 2**0.5, n_filters, side)


def _mirror(patches: Tensor, side: int) -> Tensor:
    return patches.reshape(-1, side, side).flip(2).flatten(1)


def _cut(pixels: Tensor, side: int) -> Tensor:
    return functional.unfold(pixels, side, stride=2).transpose(1, 2).reshape(-1, side**2).double()


def _whiten(patches: Tensor, basis: Tensor) -> Tensor:
    """Return whitening directions within a basis `[P, B]`, `[B, P]`, the strongest first."""
    variances, directions = torch.linalg.eigh(basis.T @ torch.cov(patches.T) @ basis)
    whitening: Tensor = (basis @ directions / (variances + _FLOOR).sqrt()).T.flip(0)
    return whitening


def _take_signs(filters: Tensor, n_filters: int, side: int) -> Tensor:
    half = filters[: n_filters // 2].reshape(-1, 1, side, side)
    return torch.cat([half, -half])
