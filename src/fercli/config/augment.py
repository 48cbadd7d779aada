"""How training images are varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fercli.config.options import check_fields, option, raise_on

__all__ = ["FLIPS", "AugmentConfig"]

FLIPS: Final = ("none", "random", "alternating")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training images are varied; a field at 0 (or `none`) leaves them alone."""

    flip: str = option(
        "random",
        choices=FLIPS,
        help="Horizontal flips.",
        details="`random` flips each image with probability 1/2, `alternating` every image in "
        'every second epoch, so that fewer repeat (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a '
        'Single GPU", 2024, arXiv 2404.00498).',
    )
    rotation_deg: float = option(
        10.0, low=0, high=180, help="Largest rotation to either side, in degrees."
    )
    scale: float = option(
        0.1, low=0, high=0.9, help="Largest relative change of size: 0.1 is 0.9 to 1.1 times."
    )
    shift: float = option(
        0.08, low=0, high=1, help="Largest shift in each direction, as a fraction of the side."
    )
    brightness: float = option(
        0.1, low=0, high=1, help="Largest change of brightness, as a fraction of the full range."
    )
    contrast: float = option(0.2, low=0, high=1, help="Largest relative change of contrast.")
    mixup: float = option(
        0.0,
        low=0,
        help="Alpha of mixup's Beta distribution; 0 is no mixup, 0.2 a little.",
        details="Every image, and its label, is blended with another one (Zhang et al., "
        '"mixup: Beyond Empirical Risk Minimization", 2018).',
    )
    erasing: float = option(
        0.0,
        low=0,
        high=1,
        help="Probability of overwriting a rectangle of an image with noise.",
        details='Source: Zhong et al., "Random Erasing Data Augmentation", 2017.',
    )
    erasing_area: float = option(
        0.2, low=0.02, high=1, help="Largest erased part of an image; the smallest is 0.02."
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        raise_on(check_fields(self))
