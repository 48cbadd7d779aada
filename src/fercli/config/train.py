"""A complete training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fercli.config.augment import AugmentConfig
from fercli.config.checks import raise_on
from fercli.config.distillation import DistillationConfig
from fercli.config.loss import LossConfig
from fercli.config.network import DEFAULT_STEM, NETWORKS, TORCHVISION, NetworkConfig
from fercli.config.optimizer import OptimizerConfig
from fercli.config.transfer import TransferConfig
from fercli.ranges import find_outside, find_unknown_choice

__all__ = [
    "DEFAULTS",
    "DEVICES",
    "PRECISIONS",
    "TrainConfig",
    "find_batch_misfit",
    "is_device_name",
]

PRECISIONS: Final = ("auto", "fp32", "bf16", "fp16")
DEVICES: Final = ("auto", "cpu", "cuda", "cuda:N", "mps")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A complete training: the concerns of the other modules, and what surrounds them."""

    recipe: str = "standard"
    """Name of the recipe it started from; a label, everything it sets stands in the fields."""
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
    epochs: int = 60
    """Passes over the training images, at least 1."""
    batch_size: int = 256
    """Images per step, at least 2 (batch norm needs two)."""
    sizes_px: tuple[int, ...] = (48,)
    """Side of the images in equal parts of the run, 16 to 48; the last, 48, ends every run."""
    patience: int = 0
    """Epochs without a better validation accuracy before the run stops; 0 never stops early."""
    validation: str = "auto"
    """Split that chooses the best epoch, or a fraction of train in (0, 0.5]; `auto` is
    `public`, else `validation`, else a stratified tenth of train."""
    split_seed: int = 0
    """Chooses the images of a `validation` fraction, 0 to 2**31 - 1; apart from `seed`, so that
    trainings with other seeds, members of an ensemble too, are judged on the same images."""
    seed: int = 0
    """Source of every other random choice, 0 to 2**31 - 1; member i of an ensemble has seed + i."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    precision: str = "auto"
    """`fp32`, `bf16`, `fp16` or `auto`: bf16 where the device computes faster in it."""
    channels_last: bool = True
    """Keep activations in NHWC order, which convolution kernels read faster."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        problems = [
            *find_outside("epochs", self.epochs, 1, 1_000_000),
            *find_outside("batch_size", self.batch_size, 2, 1_000_000),
            *find_outside("patience", self.patience, 0, 1_000_000),
            *find_outside("split_seed", self.split_seed, 0, 2**31 - 1),
            *find_outside("seed", self.seed, 0, 2**31 - 1 - self.distillation.members),
            *find_unknown_choice("precision", self.precision, PRECISIONS),
        ]
        if not is_device_name(self.device):
            problems.append(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if not self.sizes_px or not all(16 <= size <= 48 for size in self.sizes_px):
            problems.append(f"sizes_px must be sides from 16 to 48, not {list(self.sizes_px)}")
        elif self.sizes_px[-1] != 48:
            problems.append(f"sizes_px must end at 48, not {self.sizes_px[-1]}")
        elif self.model.network == "notebook" and self.sizes_px != (48,):
            problems.append("the notebook network takes 48 pixels only: sizes_px must be 48")
        if self.model.network == "notebook" and self.model.stem != DEFAULT_STEM:
            problems.append(
                f"the notebook network has no stem of its own: stem must be {DEFAULT_STEM}"
            )
        if self.augment.mixup and self.distillation.self_weight:
            problems.append("self_weight remembers answers to single images: mixup must be 0")
        if self.transfer.is_pretrained and NETWORKS.get(self.model.network) != TORCHVISION:
            known = ", ".join(name for name, module in NETWORKS.items() if module == TORCHVISION)
            problems.append(f"{self.model.network} has no pretrained weights: choose from {known}")
        raise_on(problems)


def is_device_name(name: str) -> bool:
    """Tell whether `name` could name a device (not whether it is there)."""
    index = name.removeprefix("cuda:")
    return name in {"auto", "cpu", "cuda", "mps"} or (index != name and index.isdecimal())


def find_batch_misfit(batch_size: object, n_images: int) -> list[str]:
    """Return a problem where a batch would hold more than the training images, else nothing."""
    if isinstance(batch_size, int) and batch_size > n_images:
        return [f"batch_size {batch_size} is more than the {n_images} training images"]
    return []


DEFAULTS: Final = TrainConfig()
"""The defaults, as an instance."""
