"""A complete training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fercli.config.augment import AugmentConfig
from fercli.config.distillation import DistillationConfig
from fercli.config.loss import LossConfig
from fercli.config.network import (
    DEFAULT_STEM,
    DEFAULT_STEM_STRIDE,
    NETWORKS,
    TORCHVISION,
    NetworkConfig,
)
from fercli.config.optimizer import OptimizerConfig
from fercli.config.options import check_fields, option, raise_on
from fercli.config.transfer import TransferConfig

__all__ = [
    "DEFAULTS",
    "DEVICES",
    "PRECISIONS",
    "TrainConfig",
    "find_batch_misfit",
    "find_size_misfit",
    "is_device_name",
]

PRECISIONS: Final = ("auto", "fp32", "bf16", "fp16")
DEVICES: Final = ("auto", "cpu", "cuda", "cuda:N", "mps")
_OURS: Final = ("cnn", "separable")
MAX_SEED: Final = 2**31 - 1
"""Largest seed: the generators of NumPy and torch take it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A complete training: the concerns of the other modules, and what surrounds them."""

    recipe: str = option(
        "standard",
        help="The recipe that it started from.",
        details="Only a label: all settings of a recipe are in the other fields. Set it with "
        "`--recipe`.",
    )
    model: NetworkConfig = field(default_factory=NetworkConfig)
    """The network."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """The augmentation."""
    optimization: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer and its schedule."""
    loss: LossConfig = field(default_factory=LossConfig)
    """What is minimized."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """What it begins with."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    """The teacher, if there is one."""
    epochs: int = option(
        60, low=1, high=1_000_000, flag="--epochs", help="Passes over the training images."
    )
    batch_size: int = option(
        256,
        low=2,
        high=1_000_000,
        flag="--batch-size",
        help="Images per step.",
        details="In all processes together; batch norm needs at least two.",
    )
    accumulate: int = option(
        1,
        low=1,
        high=1_000_000,
        flag="--accumulate",
        metavar="N",
        help="Compute each step in N parts and add up their gradients, for less memory.",
        details="A step's gradient still comes from `batch_size` images, so learning rates and "
        "steps stay the same. Batch norms see one part at a time, and dropout draws anew for each, "
        "so the weights differ from those with 1.",
    )
    sizes_px: tuple[int, ...] = option(
        (48,),
        low=16,
        high=48,
        help="Image side in pixels, one value per equal part of the run; the last is 48.",
    )
    patience: int = option(
        0,
        low=0,
        high=1_000_000,
        flag="--patience",
        help="Stop early after N epochs without improvement; 0 disables it.",
        details="What should improve is the validation accuracy.",
    )
    validation: str = option(
        "auto",
        flag="--validation",
        metavar="SPLIT|FRACTION",
        suggestions=("auto", "public", "validation"),
        help="What selects the best epoch: a split, or a fraction of train up to 0.5. auto: "
        "public, else validation, else 0.1 of train.",
        details="A fraction is stratified by label, and copies of an image stay on one side.",
    )
    split_seed: int = option(
        0,
        low=0,
        high=MAX_SEED,
        help="Seed that draws the images of a `validation` fraction.",
        details="It is separate from `seed`, so that trainings with different seeds, including the "
        "members of an ensemble, are validated on the same images.",
    )
    cv_folds: int = option(
        0,
        low=2,
        high=100,
        off=0,
        internal=True,
        help="Folds of a cross-validation; copies of an image share one.",
    )
    cv_fold: int = option(
        0,
        low=0,
        high=100,
        internal=True,
        help="The fold that is left out and scored, from 1; 0 leaves none out.",
    )
    seed: int = option(
        0,
        low=0,
        high=MAX_SEED,
        flag="--seed",
        help="Random seed, for everything but the validation fraction.",
        details="Member i of an ensemble has seed + i.",
    )
    device: str = option(
        "auto",
        flag="--device",
        metavar="|".join(DEVICES),
        suggestions=tuple(name for name in DEVICES if name != "cuda:N"),
        env="FERCLI_DEVICE",
        help="Device to compute on; auto: the fastest available.",
    )
    precision: str = option(
        "auto",
        choices=PRECISIONS,
        flag="--precision",
        help="Precision of the computation; auto: bf16 or fp16 where that is faster, else fp32.",
    )
    channels_last: bool = option(
        default=True,
        help="Keep activations in NHWC order, which convolution kernels read faster.",
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        problems = [*check_fields(self), *self._find_fold_misfit()]
        if self.seed <= MAX_SEED < self.seed + self.distillation.members:
            problems.append(
                f"seed must be at most {MAX_SEED - self.distillation.members} with "
                f"{self.distillation.members} members, not {self.seed}"
            )
        if not is_device_name(self.device):
            problems.append(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if self.sizes_px[-1:] != (48,):
            problems.append(f"sizes_px must end at 48, not {list(self.sizes_px)}")
        elif self.model.network == "notebook" and self.sizes_px != (48,):
            problems.append("the notebook network takes 48 pixels only: sizes_px must be 48")
        problems += find_size_misfit(self.model, self.sizes_px)
        problems += _find_stem_misfit(self.model)
        if self.augment.mixup and self.distillation.self_weight:
            problems.append("self_weight needs predictions of single images: mixup must be 0")
        if self.transfer.is_pretrained and NETWORKS.get(self.model.network) != TORCHVISION:
            known = ", ".join(name for name, module in NETWORKS.items() if module == TORCHVISION)
            problems.append(f"{self.model.network} has no pretrained weights: choose from {known}")
        raise_on(problems)

    def _find_fold_misfit(self) -> list[str]:
        if not (self.cv_folds or self.cv_fold) or 1 <= self.cv_fold <= self.cv_folds:
            return []
        return [f"cv_fold must be one of at least two folds, not {self.cv_fold} of {self.cv_folds}"]


def is_device_name(name: str) -> bool:
    """Tell whether `name` could name a device (not whether it is there)."""
    index = name.removeprefix("cuda:")
    return name in {"auto", "cpu", "cuda", "mps"} or (
        # torch counts in eight bits, and would take 256 for 0.
        index != name and index.isdecimal() and str(int(index)) == index and int(index) < 128
    )


def _find_stem_misfit(model: NetworkConfig) -> list[str]:
    """Return problems where a network that has no stem of ours is given one."""
    problems = []
    if model.network == "notebook" and model.stem != DEFAULT_STEM:
        problems.append(f"the notebook network has no stem of its own: stem must be {DEFAULT_STEM}")
    if model.network not in _OURS and model.stem_stride != DEFAULT_STEM_STRIDE:
        problems.append(
            f"{model.network} has no stem of ours: stem_stride must be {DEFAULT_STEM_STRIDE}"
        )
    return problems


def find_size_misfit(model: NetworkConfig, sizes_px: tuple[int, ...]) -> list[str]:
    """Return problems where a network cannot see images of some sizes, else nothing."""
    problems = []
    is_ours, n_stages = model.network in _OURS, len(model.widths)
    n_halvings = n_stages + model.stem_stride - 1
    if is_ours and min(sizes_px, default=48) < (least := 2**n_halvings):
        problems.append(
            f"{n_stages} widths halve the image {n_halvings} times: sizes_px must be at least "
            f"{least}"
        )
    if is_ours and model.flip_equivariant and n_halvings > 4:
        # A map of 3 pixels would lose its right column, not its left one.
        problems.append("a flip_equivariant network takes up to 3 widths, or 4 with stem_stride 1")
    if model.network == "vgg11_bn" and not model.input_px and min(sizes_px, default=48) < 32:
        problems.append("vgg11_bn takes images of at least 32 pixels: sizes_px must be at least 32")
    return problems


def find_batch_misfit(batch_size: object, n_images: int) -> list[str]:
    """Return a problem where a batch would hold more than the training images, else nothing."""
    if isinstance(batch_size, int) and batch_size > n_images:
        return [f"batch_size {batch_size} is more than the {n_images} training images"]
    return []


DEFAULTS: Final = TrainConfig()
"""The defaults, as an instance."""
