"""Mixup: every image of a batch is blended with another one, and so is what is wanted of it.

How much is a function of seed, epoch and step, so there is nothing to save or restore. The
partner of an image is the one before it: the order is shuffled anyway.

Source:
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, section 2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["blend", "sample_lambda"]


def sample_lambda(alpha: float, seed: int, epoch: int, step: int) -> float:
    """Return the part, in [0.5, 1], that an image keeps in a step: Beta(alpha, alpha), folded.

    Folding gives up nothing, for a pair is blended both ways, and leaves an image its own label.

    Args:
        alpha: Above 0; small values leave most images nearly alone.
        seed: Of the run.
        epoch: 0-based.
        step: 0-based, of the epoch.
    """
    share = float(np.random.default_rng([seed, epoch, step]).beta(alpha, alpha))
    return max(share, 1 - share)


def blend(values: Tensor, share: float) -> Tensor:
    """Return `share` of each of `[N, ...]` and the rest of the one before it."""
    return torch.lerp(values.roll(1, 0), values, share)
