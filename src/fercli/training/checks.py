"""Whatever can be checked before a run begins."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fercli.config import find_batch_misfit
from fercli.errors import ConfigError, DataError, DeviceUnavailableError
from fercli.launch import read_launch
from fercli.networks import build_network
from fercli.networks.devices import choose_device, choose_precision
from fercli.networks.pretrained import load_pretrained
from fercli.training.distillation.teacher import open_named
from fercli.training.sampling import count_steps
from fercli.training.setup import open_init
from fercli.training.splits import choose_splits

if TYPE_CHECKING:
    from pathlib import Path

    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.training.splits import TrainingSplits

__all__ = ["check_fit", "check_training", "resolve_config"]


def resolve_config(config: TrainConfig, *, resumed: Path | None = None) -> TrainConfig:
    """Return a config whose device and precision are what will really be used.

    Args:
        config: Of a training.
        resumed: The `run.json` of the run that is gone on with: it cannot take another device.

    Raises:
        DeviceUnavailableError: The device is not there.
    """
    try:
        device = choose_device(config.device)
    except DeviceUnavailableError as reason:
        if resumed is None:
            raise
        anew = f"fer train --config {resumed} --device cpu"
        hint = f"go on with the run where its device is, or begin anew: {anew}"
        raise DeviceUnavailableError(reason.message, hint=hint) from reason
    precision = choose_precision(config.precision, device)
    return dataclasses.replace(config, device=str(device), precision=precision)


def check_training(dataset: Dataset, config: TrainConfig) -> int:
    """Check whatever can be checked before a run begins: data, device, models learned from.

    Returns:
        The steps of an epoch.

    Raises:
        ConfigError: The configuration does not fit the data.
        DataError: There are fewer than two training images.
        DatasetNotFoundError: The dataset has no train split, or not the validation split.
        DeviceUnavailableError: The device is not there.
        DependencyMissingError: torchvision is needed and cannot be imported.
        ModelFileError: The teacher is missing, damaged or of other labels, or the weights to begin
            with do not fit.
        SetupError: The pretrained weights cannot be downloaded.
    """
    config = resolve_config(config)
    splits = choose_splits(dataset, config)
    check_fit(config, splits)
    open_named(dataset, config)
    open_init(dataset, config)
    if config.transfer.is_pretrained:
        load_pretrained(build_network(config.model, len(dataset.label_names)), config)
    return count_steps(len(splits.train.labels), config.batch_size)


def check_fit(config: TrainConfig, splits: TrainingSplits) -> None:
    """Refuse a batch size that the training images, the processes or the parts cannot fill.

    Raises:
        ConfigError: It cannot be filled.
        DataError: There are fewer than two training images.
    """
    n_images = len(splits.train.labels)
    if n_images < 2:
        message = f"{n_images} training images, without the validation images, are too few"
        raise DataError(message)
    problems = find_batch_misfit(config.batch_size, n_images)
    _, n_processes = read_launch()
    # Batches are cut of equal size, so they may hold an image less than was asked for.
    smallest = n_images // count_steps(n_images, config.batch_size)
    if smallest < 2 and config.model.network == "notebook":
        problems.append(
            f"batch_size {config.batch_size} leaves a batch of one image, which the notebook "
            "network cannot norm: take another"
        )
    elif smallest < n_processes:
        problems.append(f"batches of {smallest} images are too few for {n_processes} processes")
    elif config.accumulate > 1 and smallest < max(2, n_processes) * config.accumulate:
        message = f"batches of {smallest} images are too few for {config.accumulate} parts"
        problems.append(message if n_processes == 1 else f"{message} in {n_processes} processes")
    if problems:
        raise ConfigError(*problems, hint=_advise(config, n_images))


def _advise(config: TrainConfig, n_images: int) -> str:
    if config.batch_size <= n_images and config.accumulate > 1:
        return "give a larger --batch-size or a smaller --accumulate"
    return f"give --batch-size {n_images} or less"
