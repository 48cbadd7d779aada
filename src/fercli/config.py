"""What a training can be told, as frozen dataclasses that check themselves.

Every default lives here, once: recipes state what they change, the command line only what the
user typed. One dataclass per concern keeps each readable; `fercli.settings` sees them as one flat
mapping.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fercli.errors import ConfigError
from fercli.ranges import (
    find_below,
    find_excess,
    find_not_above,
    find_outside,
    find_unknown_choice,
)

__all__ = [
    "AVERAGES",
    "DEFAULTS",
    "DEVICES",
    "FLIPS",
    "MAX_PIXELS",
    "NETWORKS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "STEMS",
    "AugmentConfig",
    "DistillationConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "TrainConfig",
    "find_batch_misfit",
    "is_device_name",
]

MAX_PIXELS: Final = 100_000_000
"""Largest image that is decoded, in pixels; 100 megapixels are 100 MB of grey."""

NETWORKS: Final = {
    "cnn": "fercli.networks.cnn",
    "seed": "fercli.networks.seed",
}
"""Every network by name, and the module whose `build(config, n_labels)` makes it."""
STEMS: Final = ("learned", "whitened")
DEFAULT_STEM: Final = "learned"
FLIPS: Final = ("none", "random", "alternating")
OPTIMIZERS: Final = ("adam", "adamw", "muon", "sgd")
AVERAGES: Final = ("none", "ema", "lookahead")
SCHEDULES: Final = ("constant", "step", "cosine", "linear")
PRECISIONS: Final = ("auto", "fp32", "bf16", "fp16")
DEVICES: Final = ("auto", "cpu", "cuda", "cuda:N", "mps")


def is_device_name(name: str) -> bool:
    """Tell whether `name` could name a device (not whether it is there)."""
    index = name.removeprefix("cuda:")
    return name in {"auto", "cpu", "cuda", "mps"} or (index != name and index.isdecimal())


def find_batch_misfit(batch_size: object, n_images: int) -> list[str]:
    """Return a problem where a batch would hold more than the training images, else nothing."""
    if isinstance(batch_size, int) and batch_size > n_images:
        return [f"batch_size {batch_size} is more than the {n_images} training images"]
    return []


def _raise_on(problems: list[str]) -> None:
    if problems:
        raise ConfigError(*problems)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Which network, and its size."""

    network: str = "cnn"
    """Name of the architecture: `cnn` (ours, sized by the fields below) or `seed`."""
    stem_width: int = 32
    """Channels after the 4x4 stride-2 stem of `cnn`, at least 1."""
    stem: str = DEFAULT_STEM
    """`learned`, or `whitened`: computed from the training images and never trained, which saves
    the costliest part of the backward pass; at most 32 channels, 16 filters of either sign."""
    widths: tuple[int, ...] = (48, 96, 288)
    """Channels of each stage of `cnn`; every stage halves the map, so 1 to 4 stages."""
    convolutions: int = 2
    """3x3 convolutions in each stage of `cnn`, at least 1; those after the second are residual."""
    dropout: float = 0.3
    """Probability of dropping a feature before the last layer, in [0, 1)."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        problems = [
            *find_unknown_choice("network", self.network, NETWORKS),
            *find_unknown_choice("stem", self.stem, STEMS),
            *find_outside("stem_width", self.stem_width, 1, 4096),
            *find_outside("convolutions", self.convolutions, 1, 64),
            *find_outside("dropout", self.dropout, 0, 0.99),
        ]
        if not 1 <= len(self.widths) <= 4 or not all(1 <= w <= 4096 for w in self.widths):
            problems.append(f"widths must be 1 to 4 numbers up to 4096, not {list(self.widths)}")
        if self.stem == "whitened" and (self.stem_width > 32 or self.stem_width % 2):
            problems.append(
                f"a whitened stem takes an even stem_width up to 32, not {self.stem_width}"
            )
        _raise_on(problems)


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
    erasing: float = 0.0
    """Probability of overwriting a rectangle with noise (Zhong et al. 2017), in [0, 1]."""
    erasing_area: float = 0.2
    """Largest erased part of an image, in (0, 1]; the smallest is 0.02."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        _raise_on(
            [
                *find_unknown_choice("flip", self.flip, FLIPS),
                *find_outside("rotation_deg", self.rotation_deg, 0, 180),
                *find_outside("scale", self.scale, 0, 0.9),
                *find_outside("shift", self.shift, 0, 1),
                *find_outside("brightness", self.brightness, 0, 1),
                *find_outside("contrast", self.contrast, 0, 1),
                *find_outside("erasing", self.erasing, 0, 1),
                *find_outside("erasing_area", self.erasing_area, 0.02, 1),
            ]
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights are updated, and how the learning rate moves."""

    optimizer: str = "sgd"
    """`sgd` (with Nesterov momentum), `muon` (orthogonal steps for the 3x3 convolutions, `sgd`
    for the rest), `adam` or `adamw`."""
    learning_rate: float = 0.2
    """Peak learning rate, > 0; for a mean loss over a batch of `batch_size`."""
    momentum: float = 0.9
    """Momentum of `sgd` and `muon`, in [0, 1)."""
    sgd_ratio: float = 2.0
    """Learning rate of what `muon` leaves to `sgd`, as a multiple of `learning_rate`, > 0."""
    weight_decay: float = 5e-4
    """Decay of convolution and dense weights, >= 0; norms and biases, and what `muon` keeps at a
    fixed length, are never decayed."""
    schedule: str = "cosine"
    """`constant`, `step`, `cosine` or `linear`; the last two end at `final_factor`."""
    warmup: float = 0.1
    """Part of all steps in which the rate rises linearly from 0, in [0, 1)."""
    final_factor: float = 0.01
    """Last learning rate of `cosine` and `linear` as a fraction of the peak, in [0, 1]."""
    step_epochs: int = 5
    """Epochs between two drops of `step`, at least 1."""
    step_factor: float = 0.1
    """What a drop of `step` multiplies the rate by, in (0, 1]."""
    average: str = "none"
    """`none`; `ema` keeps a moving average of the weights, which is what is validated and saved;
    `lookahead` also puts it back into the network every five steps."""
    average_decay: float = 0.998
    """What a step of `ema` leaves of the average, in [0, 1): 0.998 looks back over 500 steps."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        _raise_on(
            [
                *find_unknown_choice("optimizer", self.optimizer, OPTIMIZERS),
                *find_unknown_choice("schedule", self.schedule, SCHEDULES),
                *find_not_above("learning_rate", self.learning_rate, 0),
                *find_outside("momentum", self.momentum, 0, 0.9999),
                *find_below("weight_decay", self.weight_decay, 0),
                *find_outside("warmup", self.warmup, 0, 0.99),
                *find_outside("final_factor", self.final_factor, 0, 1),
                *find_outside("step_epochs", self.step_epochs, 1, 1_000_000),
                *find_not_above("step_factor", self.step_factor, 0),
                *find_excess("step_factor", self.step_factor, 1),
                *find_not_above("sgd_ratio", self.sgd_ratio, 0),
                *find_unknown_choice("average", self.average, AVERAGES),
                *find_outside("average_decay", self.average_decay, 0, 0.999999),
            ]
        )


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Whose answers are learned beside the labels."""

    members: int = 0
    """Networks trained first, each with a seed of its own, whose mean answer teaches the one that
    is kept; 0 trains that one alone, else 2 to 64."""
    teacher: str = ""
    """Path or bundled name of a model that teaches; empty for none. `members` makes its own."""
    teacher_weight: float = 0.7
    """Part of the loss that compares with the teacher, in (0, 1]; the labels have the rest."""
    teacher_temperature: float = 2.0
    """What both sides' logits are divided by before they are compared, in [1, 20]."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        problems = [
            *find_outside("members", self.members, 0, 64),
            *find_not_above("teacher_weight", self.teacher_weight, 0),
            *find_excess("teacher_weight", self.teacher_weight, 1),
            *find_outside("teacher_temperature", self.teacher_temperature, 1, 20),
        ]
        if self.members == 1:
            problems.append("members must be 0 or at least 2: one network has nobody to agree with")
        if self.members and self.teacher:
            problems.append("members and teacher are two ways to a teacher: give one of them")
        _raise_on(problems)

    @property
    def has_teacher(self) -> bool:
        """Whether anybody teaches."""
        return bool(self.members or self.teacher)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A complete training; the four concerns above and what surrounds them."""

    recipe: str = "standard"
    """Name of the recipe it started from; a label, everything it sets stands in the fields."""
    model: NetworkConfig = field(default_factory=NetworkConfig)
    """The network."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """The augmentation."""
    optimization: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer and its schedule."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    """The teacher, if there is one."""
    epochs: int = 60
    """Passes over the training images, at least 1."""
    batch_size: int = 256
    """Images per step, at least 2 (batch norm needs two)."""
    label_smoothing: float = 0.1
    """Probability mass spread over all labels, in [0, 1)."""
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
            *find_outside("label_smoothing", self.label_smoothing, 0, 0.99),
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
        elif self.model.network == "seed" and self.sizes_px != (48,):
            problems.append("the seed network takes 48 pixels only: sizes_px must be 48")
        if self.model.network == "seed" and self.model.stem != DEFAULT_STEM:
            problems.append(f"the seed network has no stem of its own: stem must be {DEFAULT_STEM}")
        _raise_on(problems)


DEFAULTS: Final = TrainConfig()
"""The defaults, as an instance."""
