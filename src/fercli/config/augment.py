"""How training images are varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fercli.config.checks import raise_on
from fercli.ranges import find_below, find_outside, find_unknown_choice

__all__ = ["FLIPS", "AugmentConfig"]

FLIPS: Final = ("none", "random", "alternating")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training images are varied; a field at 0 (or `none`) leaves them alone."""

    flip: str = "random"
    """`none`, `random` (each view mirrored with probability 1/2) or `alternating` (every image
    mirrored in every second epoch, which halves repeats; Jordan 2024, arXiv 2404.00498)."""
    rotation_deg: float = 10.0
    """Largest rotation to either side, degrees in [0, 180]."""
    scale: float = 0.1
    """Largest relative change of size, in [0, 0.9]: 0.1 is 0.9 to 1.1 times."""
    shift: float = 0.08
    """Largest shift to each side, as a fraction of the side, in [0, 1]."""
    brightness: float = 0.1
    """Largest change of brightness, as a fraction of the full range, in [0, 1]."""
    contrast: float = 0.2
    """Largest relative change of contrast, in [0, 1]."""
    mixup: float = 0.0
    """Blends every image, and its label, with another one: the alpha of mixup's Beta
    distribution, at least 0; 0 blends nothing, 0.2 a little."""
    views: int = 1
    """Times that each image of a batch is in it, varied anew each time, 1 to 64; a step costs as
    much more (Hoffer et al., "Augment your batch", 2019)."""
    erasing: float = 0.0
    """Probability of overwriting a rectangle with noise (Zhong et al. 2017), in [0, 1]."""
    erasing_area: float = 0.2
    """Largest erased part of an image, in (0, 1]; the smallest is 0.02."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        raise_on(
            [
                *find_unknown_choice("flip", self.flip, FLIPS),
                *find_outside("rotation_deg", self.rotation_deg, 0, 180),
                *find_outside("scale", self.scale, 0, 0.9),
                *find_outside("shift", self.shift, 0, 1),
                *find_outside("brightness", self.brightness, 0, 1),
                *find_outside("contrast", self.contrast, 0, 1),
                *find_below("mixup", self.mixup, 0),
                *find_outside("views", self.views, 1, 64),
                *find_outside("erasing", self.erasing, 0, 1),
                *find_outside("erasing_area", self.erasing_area, 0.02, 1),
            ]
        )
