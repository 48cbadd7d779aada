"""Which network, and its size."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from fercli.config.options import check_fields, option, raise_on

__all__ = ["ARCHITECTURE", "DEFAULT_STEM", "NETWORKS", "STEMS", "NetworkConfig"]

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
DEFAULT_STEM_STRIDE: Final = 2


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Which network, and its size."""

    network: str = option(
        "cnn",
        choices=NETWORKS,
        flag="--network",
        help="The network.",
        details="`cnn` is fercli's own, sized by the fields below; `separable` is the same with "
        "depthwise separable convolutions, without `flip_equivariant`; `notebook` is the student "
        "notebook's; the others are torchvision's.",
    )
    stem_width: int = option(32, low=1, high=4096, help="Channels after the stem of `cnn`.")
    stem_stride: int = option(
        DEFAULT_STEM_STRIDE,
        low=1,
        high=2,
        help="Stride of the stem of `cnn`.",
        details="At 2 its filters are 4x4 and halve the image. At 1 they are 3x3 and learned: the "
        "first stage then sees every pixel, at four times the cost.",
    )
    stem: str = option(
        DEFAULT_STEM,
        choices=STEMS,
        help="Whether the stem's filters are learned or computed.",
        details="`whitened` computes them from the training images and never trains them, which "
        "saves the costliest part of the backward pass; at most 32 channels: 16 filters, each with "
        "both signs.",
    )
    flip_equivariant: bool = option(
        default=False,
        help="Share filters of `cnn` between a face and its mirror image.",
        details="Both then always get the same prediction, with half as many weights and at the "
        "same cost. All widths must be even.",
    )
    widths: tuple[int, ...] = option(
        (48, 96, 288),
        low=1,
        high=4096,
        help="Channels of each stage of `cnn`, 1 to 4 stages; every stage halves the map.",
    )
    convolutions: int = option(
        2,
        low=1,
        high=64,
        help="3x3 convolutions in each stage of `cnn`; those after the second are residual.",
    )
    norm_scale: bool = option(
        default=True,
        help="Train the scale of the batch norms of `cnn`, not only their shift.",
        details="The preceding convolution can learn it instead (Jordan 2024, arXiv 2404.00498, "
        "leaves it out).",
    )
    dropout: float = option(
        0.3, low=0, below=1, flag="--dropout", help="Dropout before the last layer."
    )
    input_px: int = option(
        0,
        low=32,
        high=512,
        off=0,
        help="Side in pixels that images are enlarged to for torchvision's networks; 0: not.",
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        problems = check_fields(self)
        if not 1 <= len(self.widths) <= 4:
            problems.append(f"widths must be 1 to 4 numbers, not {list(self.widths)}")
        if self.stem == "whitened" and (self.stem_width > 32 or self.stem_width % 2):
            problems.append(
                f"a whitened stem takes an even stem_width up to 32, not {self.stem_width}"
            )
        if self.stem == "whitened" and self.stem_stride != DEFAULT_STEM_STRIDE:
            problems.append("a stem of stride 1 is learned: stem must be learned")
        if self.flip_equivariant and any(width % 2 for width in (self.stem_width, *self.widths)):
            problems.append("a flip_equivariant network takes an even stem_width and even widths")
        if self.flip_equivariant and self.stem == "whitened" and self.stem_width % 4:
            problems.append(
                f"a whitened flip_equivariant stem takes a multiple of 4, not {self.stem_width}"
            )
        raise_on(problems)


ARCHITECTURE: Final = tuple(
    item.name for item in dataclasses.fields(NetworkConfig) if item.name != "dropout"
)
"""The fields that weights depend on; dropout has none, and is each training's to choose."""
