"""The named, complete trainings.

A recipe states only what it changes; `fercli.config` holds every default. Each docstring of a
recipe says what to expect of it, and docs/explanation/log.md how that was measured.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli.config import ARCHITECTURE, DEFAULTS, NETWORKS
from fercli.config.network import TORCHVISION
from fercli.errors import ConfigError
from fercli.ranges import find_alike, find_unknown_choice
from fercli.settings import OPTIONS, build_config, flatten_config

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.metadata import RunRecord

__all__ = ["RECIPES", "describe_difficulty", "find_recipe", "list_changes", "write_command"]

_STRENGTHS: Final = ("rotation_deg", "scale", "shift", "brightness", "contrast", "mixup", "erasing")
"""Of augmentation; zero is none of it."""
_TYPED: Final = ("recipe", "seed", "device", "precision")
"""What a command always says, since the machine would choose otherwise."""

_NOTEBOOK: Final[Mapping[str, object]] = {
    "network": "notebook",
    "dropout": 0.5,
    "rotation_deg": 10.0,
    "scale": 0.0,
    "shift": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "schedule": "step",
    "warmup": 0.0,
    "epochs": 20,
    "batch_size": 64,
    "label_smoothing": 0.0,
    "patience": 3,
    "precision": "fp32",
    "channels_last": False,
}
"""The notebook that the project grew from. It differs in what would otherwise need code of its own:
the best epoch is chosen on the validation split (there: the test set), norms and biases are not
decayed, weights are sampled by our `initialize`, rotations reflect the border, steps are of equal
size."""

_FAST: Final[Mapping[str, object]] = {
    "stem": "whitened",
    "widths": (32, 64, 128),
    "norm_scale": False,
    "epochs": 4,
    "flip": "none",
    "dropout": 0.0,
    "rotation_deg": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "optimizer": "muon",
    "learning_rate": 0.15,
    "momentum": 0.6,
    "bias_ratio": 16.0,
    "schedule": "linear",
    "warmup": 0.03,
    "sizes_px": (36, 36, 48, 48),
}
"""A minute on a laptop's CPU: 0.3 M parameters, growing images, and no augmentation, which four
epochs are too short to profit from; whoever trains longer should ask for it."""

_STANDARD: Final[Mapping[str, object]] = {
    "stem": "whitened",
    "flip_equivariant": True,
    "widths": (96, 192, 384),
    "convolutions": 3,
    "epochs": 60,
    "dropout": 0.4,
    "learning_rate": 0.2,
    "warmup": 0.05,
    "average": "ema",
    "rotation_deg": 15.0,
    "scale": 0.2,
    "shift": 0.12,
    "contrast": 0.3,
    "erasing": 0.4,
    "sizes_px": (40, 40, 48),
}
"""The default: 4 million connections that share 2.2 million weights between a face and its mirror
image, strong augmentation, 60 epochs. Hour and a half on two cores; 69 % on public, plain."""

_BEST: Final[Mapping[str, object]] = {
    **_STANDARD,
    "stem": "learned",
    "stem_stride": 1,
    "widths": (64, 128, 256, 384),
    "convolutions": 4,
    "epochs": 150,
    "dropout": 0.5,
    "mixup": 0.2,
    "erasing": 0.5,
    "sizes_px": (48,),
}
"""For a GPU: a stem that sees every pixel, four stages of four convolutions, more epochs and more
regularization than `standard`. 73 % on public, plain, after at most 13 minutes of an H100."""

_TINY: Final[Mapping[str, object]] = {
    **_STANDARD,
    "widths": (32, 48, 64),
    "convolutions": 2,
    "epochs": 120,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "teacher_weight": 0.9,
    "rotation_deg": 10.0,
    "scale": 0.1,
    "shift": 0.08,
    "contrast": 0.2,
    "erasing": 0.0,
    "sizes_px": (48,),
}
"""59,767 parameters, for where every byte counts; meant to learn from a teacher. Too small to
overfit, hence little regularization."""

RECIPES: Final[Mapping[str, TrainConfig]] = {
    name: build_config({"recipe": name, **values})
    for name, values in (
        ("notebook", _NOTEBOOK),
        ("fast", _FAST),
        ("standard", _STANDARD),
        ("best", _BEST),
        ("tiny", _TINY),
    )
}
"""Every recipe by name."""


_OPTIMIZER: Final = "adamw"
_FOR_OTHERS: Final[Mapping[str, object]] = {
    "momentum": 0.9,
    "bias_ratio": 1.0,
    "stem": "learned",
    "stem_stride": 2,
    # It has no effect on them, and would be checked against the widths of ours.
    "flip_equivariant": False,
    "sizes_px": (48,),
}
"""What a recipe of ours changes for other networks, and `_OPTIMIZER`, unless another is asked for.
The recipes' rates are for our network; small images cost others accuracy (log, 2026-11-23)."""
_RATES: Final[Mapping[str, Mapping[str, object]]] = {
    "adamw": {"learning_rate": 1e-3, "weight_decay": 0.05},
    "adam": {"learning_rate": 1e-3, "weight_decay": 1e-4},
    "sgd": {"learning_rate": 0.02, "weight_decay": 5e-4},
    "muon": {"learning_rate": 0.02, "weight_decay": 5e-4},
}
"""Peak rates of those networks: AdamW's by the ablations, the others' by the log of 2026-11-25."""


def find_recipe(name: str, values: Mapping[str, object] | None = None) -> TrainConfig:
    """Return a recipe.

    Args:
        name: The recipe's.
        values: What will be set beside it. Where that is a network which is not ours, and not the
            recipe's, what the recipe chose for our network gives way to `_FOR_OTHERS`.

    Raises:
        ConfigError: There is none of that name; the nearest is suggested.
    """
    problems = find_unknown_choice("recipe", name, RECIPES)
    if problems:
        alike = find_alike(name, OPTIONS["network"].values)
        hint = f"{alike} is a network: fer train --network {alike}" if alike else ""
        raise ConfigError(*problems, hint=hint)
    recipe = RECIPES[name]
    network, optimizer = ((values or {}).get(key) for key in ("network", "optimizer"))
    if network == recipe.model.network or not _is_other(network):
        return recipe
    known = str(optimizer) if str(optimizer) in _RATES else _OPTIMIZER
    return build_config({**_FOR_OTHERS, "optimizer": known, **_RATES[known]}, base=recipe)


def describe_difficulty(config: TrainConfig) -> str:
    """Return what makes training images harder than those that validate: their loss lies higher.

    Args:
        config: Of the training.
    """
    strengths = dataclasses.asdict(config.augment)
    reasons = {
        "augmented": any(strengths[name] for name in _STRENGTHS),
        "labels smoothed": config.loss.label_smoothing > 0,
        "dropout": config.model.dropout > 0,
        "taught": config.distillation.has_teacher,
    }
    return ", ".join(name for name, holds in reasons.items() if holds)


def list_changes(name: str) -> dict[str, Any]:
    """Return the fields that a recipe sets to other than their default."""
    defaults, flat = flatten_config(DEFAULTS), flatten_config(RECIPES[name])
    del flat["recipe"]
    return {field: value for field, value in flat.items() if value != defaults[field]}


def write_command(record: RunRecord, *, public: bool = False) -> str:
    """Return the command that repeats a training.

    Of a run that went on from a finished one that is the command which did so.

    Args:
        record: A run's `run.json`. What its recipe says today is left out, the rest is written
            as `--set`.
        public: For others to read: data, teachers and weights go by their names alone, not by
            where they lay on this machine.

    Raises:
        ConfigError: The run cannot be repeated: this fercli lacks a setting or the recipe of it.
    """
    if record.extends is not None:
        before = Path(record.extends.run).name if public else record.extends.run
        words = ["fer", "train", "--resume", before, "--epochs", str(record.config["epochs"])]
        return shlex.join(words)
    # A field that is younger than the run did nothing then, which is its default.
    config = flatten_config(build_config(record.config))
    weights = config["pretrained_weights"]
    config["pretrained_weights"] = Path(weights).name if public else weights
    recipe = flatten_config(find_recipe(config["recipe"], config))
    words = ["fer", "train"]
    for name in _TYPED:
        words += [f"--{name}", str(config[name])]
    data = record.dataset.data
    if data:
        words += ["--data", Path(data).name if public else data]
    if record.processes > 1:
        words += ["--processes", str(record.processes)]
    said = {*_TYPED, *(ARCHITECTURE if config["init"] else ())}
    models = _list_models(record, config, public=public)
    for name, value in config.items():
        if name in said or value == recipe[name]:
            continue
        if name in models:
            words += [word for model in models[name] for word in (f"--{name}", model)]
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += ["--set", f"{name}={text}"]
    return shlex.join(words)


def _list_models(
    record: RunRecord, config: Mapping[str, Any], *, public: bool
) -> dict[str, Sequence[str]]:
    """Return the models that a training learned from, by the option that names them."""
    if not public:
        return {"teacher": config["teacher"], "init": [config["init"]]}
    begun_with = [] if record.init is None else [record.init.model]
    return {"teacher": [one.model for one in record.teachers], "init": begun_with}


def _is_other(network: object) -> bool:
    """Tell whether a network is not one of ours, which recipes are made for."""
    return network == "notebook" or NETWORKS.get(str(network)) == TORCHVISION
