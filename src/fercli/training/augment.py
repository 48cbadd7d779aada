"""Vary a batch of images, as pure functions on whatever device it is on.

The dataset stays on the device as uint8 and a batch is varied by a few tensor operations: no
worker processes, no image library. torchvision's transforms were left out because they take one
set of parameters for a whole batch.

Shape legend: pixels are float32 [N, 1, H, W] in [0, 1]; every function returns the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from fercli.config import AugmentConfig

__all__ = ["augment", "blend", "erase", "flip", "jitter_tones", "resize", "sample_lambda", "warp"]


def augment(
    pixels: Tensor, mirrored: Tensor, config: AugmentConfig, generator: torch.Generator
) -> Tensor:
    """Apply everything a config asks for.

    Args:
        pixels: `[N, 1, H, W]` float32 in [0, 1].
        mirrored: `[N]` bool, which images to mirror.
        config: What to vary, and how far.
        generator: Source of randomness, on the device of `pixels`.
    """
    pixels = flip(pixels, mirrored)
    if config.rotation_deg or config.scale or config.shift:
        pixels = warp(pixels, config, generator)
    if config.brightness or config.contrast:
        pixels = jitter_tones(pixels, config, generator)
    if config.erasing:
        pixels = erase(pixels, config, generator)
    return pixels


def flip(pixels: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the images for which `mirrored`, `[N]` bool, is set."""
    return torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)


def warp(pixels: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Rotate, scale and shift each image by its own amounts, borders reflected."""
    n_images = len(pixels)
    angle = _uniform(n_images, config.rotation_deg * math.pi / 180, generator)
    size = 1 + _uniform(n_images, config.scale, generator)
    # Grid coordinates span 2 over a side, so a shift by a fraction of the side counts double.
    right = _uniform(n_images, 2 * config.shift, generator)
    down = _uniform(n_images, 2 * config.shift, generator)
    cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
    rows = torch.stack([cosine, -sine, right, sine, cosine, down], dim=1)
    grid = functional.affine_grid(rows.view(-1, 2, 3), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def jitter_tones(pixels: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Change the brightness and the contrast (around its mean) of each image."""
    n_images = len(pixels)
    contrast = 1 + _uniform(n_images, config.contrast, generator)
    brightness = _uniform(n_images, config.brightness, generator)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    toned = torch.addcmul(
        mean + brightness[:, None, None, None], pixels - mean, contrast[:, None, None, None]
    )
    return toned.clamp_(0, 1)


def erase(pixels: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Overwrite a rectangle of some images with uniform noise.

    Source:
        Zhong et al., "Random Erasing Data Augmentation", 2017, with their aspect ratios
        0.3 to 3.3.
    """
    n_images, _, height, width = pixels.shape
    device = pixels.device
    draw = torch.rand(5, n_images, generator=generator, device=device)
    area = 0.02 + draw[0] * (config.erasing_area - 0.02)
    ratio = torch.exp((draw[1] * 2 - 1) * math.log(3.3))
    high = (area * ratio).sqrt().clamp_(max=1) * height
    wide = (area / ratio).sqrt().clamp_(max=1) * width
    top = draw[2] * (height - high)
    left = draw[3] * (width - wide)
    row = torch.arange(height, device=device)[None, :]
    column = torch.arange(width, device=device)[None, :]
    in_rows = (row >= top[:, None]) & (row < (top + high)[:, None])
    in_columns = (column >= left[:, None]) & (column < (left + wide)[:, None])
    chosen = draw[4] < config.erasing
    mask = (in_rows[:, None, :, None] & in_columns[:, None, None, :]) & chosen[:, None, None, None]
    noise = torch.rand(pixels.shape, generator=generator, device=device)
    return torch.where(mask, noise, pixels)


def resize(pixels: Tensor, side_px: int) -> Tensor:
    """Bring square images to another side, antialiased; the same side changes nothing."""
    if pixels.shape[-1] == side_px:
        return pixels
    return functional.interpolate(
        pixels, size=(side_px, side_px), mode="bilinear", antialias=True, align_corners=False
    )


def sample_lambda(alpha: float, seed: int, epoch: int, step: int) -> float:
    """Return the part, in [0.5, 1], that an image keeps in a step: Beta(alpha, alpha), folded.

    Folding gives up nothing, for a pair is blended both ways, and leaves an image its own label.

    Args:
        alpha: Above 0; small values leave most images nearly alone.
        seed: Of the run.
        epoch: 0-based.
        step: 0-based, of the epoch.

    Source:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, section 2.
    """
    lam = float(np.random.default_rng([seed, epoch, step]).beta(alpha, alpha))
    return max(lam, 1 - lam)


def blend(values: Tensor, lam: float) -> Tensor:
    """Return `lam` of each of `[N, ...]` and the rest of the one before it.

    The order is shuffled anyway, so that the one before is a partner at random.
    """
    return torch.lerp(values.roll(1, 0), values, lam)


def _uniform(n: int, bound: float, generator: torch.Generator) -> Tensor:
    """Return `[n]` numbers in [-bound, bound)."""
    return (torch.rand(n, generator=generator, device=generator.device) * 2 - 1) * bound
