from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fercli.errors import ConfigError, DataError, DeviceUnavailableError
from fercli.settings import build_config
from fercli.training.checks import check_fit, check_training, resolve_config
from fercli.training.splits import choose_splits

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.data import Dataset


def fit(dataset: Dataset, batch_size: int, accumulate: int = 1) -> None:
    config = build_config({"batch_size": batch_size, "accumulate": accumulate})
    check_fit(config, choose_splits(dataset, config))


def test_device_and_precision_are_those_that_will_be_used(tiny_config: TrainConfig) -> None:
    resolved = resolve_config(replace(tiny_config, device="cpu", precision="auto"))

    assert resolved.device == "cpu"
    assert resolved.precision in {"fp32", "bf16"}
    assert resolve_config(resolved) == resolved
    with pytest.raises(DeviceUnavailableError):
        resolve_config(replace(tiny_config, device="cuda:99"))


def test_a_batch_may_hold_all_training_images_and_no_more(few_faces: Dataset) -> None:
    fit(few_faces, 96)
    with pytest.raises(ConfigError, match="batch_size 97 is more than the 96 training images"):
        fit(few_faces, 97)


def test_every_part_of_a_batch_has_images_enough_for_a_norm(
    few_faces: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(few_faces, 8, accumulate=4)
    with pytest.raises(ConfigError, match="batches of 8 images are too few for 5 parts") as caught:
        fit(few_faces, 8, accumulate=5)
    assert "smaller --accumulate" in caught.value.hint

    for name, value in (("RANK", "0"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="too few for 3 parts in 3 processes"):
        fit(few_faces, 8, accumulate=3)


def test_one_training_image_is_too_few(few_faces: Dataset) -> None:
    splits = choose_splits(few_faces, build_config({}))
    for n_images in (0, 1):
        kept = np.arange(96) < n_images
        with pytest.raises(DataError, match=f"{n_images} training images"):
            check_fit(build_config({}), replace(splits, train=splits.train.take(kept)))
    two = replace(splits, train=splits.train.take(np.arange(96) < 2))
    check_fit(build_config({"batch_size": 2}), two)


def test_every_process_gets_an_image_of_every_batch(
    few_faces: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "0"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "5")

    # 96 images in batches of at most 5 are 20 batches, some of 4.
    with pytest.raises(ConfigError, match="batches of 4 images are too few for 5 processes"):
        fit(few_faces, 5)
    fit(few_faces, 6)


def test_the_steps_of_an_epoch_are_counted(few_faces: Dataset, tiny_config: TrainConfig) -> None:
    assert check_training(few_faces, replace(tiny_config, batch_size=96)) == 1
    assert check_training(few_faces, replace(tiny_config, batch_size=95)) == 2
