"""Which network, and its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fercli.config.checks import raise_on
from fercli.ranges import find_outside, find_unknown_choice

__all__ = ["DEFAULT_STEM", "NETWORKS", "STEMS", "NetworkConfig"]

NETWORKS: Final = {
    "cnn": "fercli.networks.cnn",
    "separable": "fercli.networks.separable",
    "notebook": "fercli.networks.notebook",
    "resnet18": "fercli.networks.backbones",
    "vgg11_bn": "fercli.networks.backbones",
}
"""Every network by name, and the module whose `build(config, n_labels)` makes it."""
TORCHVISION: Final = "fercli.networks.backbones"
"""The module of the networks that pretrained weights can be had for."""
STEMS: Final = ("learned", "whitened")
DEFAULT_STEM: Final = "learned"


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Which network, and its size."""

    network: str = "cnn"
    """Name of the architecture: `cnn` (ours, sized by the fields below), `separable` (the same of
    depthwise separable convolutions, without `flip_equivariant`), `notebook`, or one of
    torchvision's."""
    stem_width: int = 32
    """Channels after the 4x4 stride-2 stem of `cnn`, at least 1."""
    stem: str = DEFAULT_STEM
    """`learned`, or `whitened`: computed from the training images and never trained, which saves
    the costliest part of the backward pass; at most 32 channels, 16 filters of either sign."""
    flip_equivariant: bool = False
    """Whether `cnn` shares filters between a face and its mirror image, so that both always get the
    same answer; half as many weights, the same cost. Its widths must be even."""
    widths: tuple[int, ...] = (48, 96, 288)
    """Channels of each stage of `cnn`; every stage halves the map, so 1 to 4 stages."""
    convolutions: int = 2
    """3x3 convolutions in each stage of `cnn`, at least 1; those after the second are residual."""
    norm_scale: bool = True
    """Whether the batch norms of `cnn` have a trained scale beside their shift; the convolution
    before could as well learn it (Jordan 2024, arXiv 2404.00498, leaves it out)."""
    dropout: float = 0.3
    """Probability of dropping a feature before the last layer, in [0, 1)."""
    input_px: int = 0
    """Side that a network of torchvision's enlarges the image to, 32 to 512; 0 leaves it."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        problems = [
            *find_unknown_choice("network", self.network, NETWORKS),
            *find_unknown_choice("stem", self.stem, STEMS),
            *find_outside("stem_width", self.stem_width, 1, 4096),
            *find_outside("convolutions", self.convolutions, 1, 64),
            *(find_outside("input_px", self.input_px, 32, 512) if self.input_px else []),
            *find_outside("dropout", self.dropout, 0, 0.99),
        ]
        if not 1 <= len(self.widths) <= 4 or not all(1 <= w <= 4096 for w in self.widths):
            problems.append(f"widths must be 1 to 4 numbers up to 4096, not {list(self.widths)}")
        if self.stem == "whitened" and (self.stem_width > 32 or self.stem_width % 2):
            problems.append(
                f"a whitened stem takes an even stem_width up to 32, not {self.stem_width}"
            )
        if self.flip_equivariant and any(width % 2 for width in (self.stem_width, *self.widths)):
            problems.append("a flip_equivariant network takes an even stem_width and even widths")
        if self.flip_equivariant and self.stem == "whitened" and self.stem_width % 4:
            problems.append(
                f"a whitened flip_equivariant stem takes a multiple of 4, not {self.stem_width}"
            )
        raise_on(problems)
