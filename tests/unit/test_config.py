from __future__ import annotations

import dataclasses
from dataclasses import is_dataclass
from typing import Any

import pytest

from fercli.config import (
    DEFAULTS,
    NETWORKS,
    TrainConfig,
    is_device_name,
)
from fercli.errors import ConfigError
from fercli.recipes import RECIPES, find_recipe
from fercli.settings import build_config, flatten_config, parse_setting


def test_field_names_are_unique_across_the_dataclasses() -> None:
    values = {item.name: getattr(DEFAULTS, item.name) for item in dataclasses.fields(TrainConfig)}
    groups: dict[str, Any] = {
        name: type(value) for name, value in values.items() if is_dataclass(value)
    }
    names = [
        item.name
        for kind in (TrainConfig, *groups.values())
        for item in dataclasses.fields(kind)
        if item.name not in groups
    ]

    assert len(names) == len(set(names))
    assert set(flatten_config(DEFAULTS)) == set(names)


@pytest.mark.parametrize("name", RECIPES)
def test_a_flattened_config_builds_itself(name: str) -> None:
    config = find_recipe(name)

    assert build_config(flatten_config(config)) == config
    assert config.recipe == name


def test_the_default_recipe_exists() -> None:
    assert DEFAULTS.recipe in RECIPES
    assert find_recipe("standard").epochs == 60


def test_the_seed_recipe_is_the_notebooks() -> None:
    flat = flatten_config(find_recipe("notebook"))

    expected = {
        "network": "notebook",
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "schedule": "step",
        "step_epochs": 5,
        "step_factor": 0.1,
        "batch_size": 64,
        "flip": "random",
        "rotation_deg": 10.0,
        "scale": 0.0,
        "shift": 0.0,
        "patience": 3,
        "epochs": 20,
        "precision": "fp32",
        "channels_last": False,
        "dropout": 0.5,
    }
    assert {name: flat[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("epochs", 1.5), ("epochs", True), ("batch_size", 1),
        ("learning_rate", 0.0), ("learning_rate", float("nan")), ("learning_rate", float("inf")),
        ("dropout", 1.0), ("dropout", -0.1), ("widths", ()), ("widths", (0,)), ("widths", (1.5,)),
        ("widths", (8,) * 5), ("sizes_px", (48, 40)), ("sizes_px", (8, 48)), ("sizes_px", ()),
        ("flip", "twice"), ("rotation_deg", 181.0), ("erasing", 1.1), ("warmup", 1.0),
        ("step_factor", 0.0), ("step_factor", 1.1), ("momentum", 1.0), ("weight_decay", -1.0),
        ("precision", "fp64"), ("device", "cuda:x"), ("device", "gpu"), ("seed", -1),
        ("seed", 2**31), ("patience", -1), ("network", "vgg"), ("optimizer", "sdg"),
        ("label_smoothing", 1.0), ("balance", "weight"), ("balance_power", 0.0),
        ("balance_power", 1.5), ("focal_gamma", -1.0), ("logit_adjustment", float("inf")),
        ("mixup", -0.1), ("self_weight", 1.0), ("self_memory", -0.1),
        ("views", 0), ("plateau_patience", 0), ("channels_last", "yes"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        build_config({name: value})


def test_all_problems_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({"epochs": 0, "dropout": 2.0, "erasing": 3.0, "optimiser": "sgd"})

    assert len(caught.value.problems) == 4
    assert "did you mean 'optimizer'" in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=3", ("epochs", 3)),
        ("erasing=0.3", ("erasing", 0.3)),
        ("widths=64,128", ("widths", (64, 128))),
        ("channels_last=no", ("channels_last", False)),
        ("optimizer = adam", ("optimizer", "adam")),
    ],
)
def test_settings_are_read_by_type(text: str, expected: tuple[str, object]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["epochs", "epochs=many", "widths=a", "channels_last=2", "x=1"])
def test_settings_that_do_not_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_setting(text)


def test_the_seed_network_takes_48_pixels_only() -> None:
    with pytest.raises(ConfigError, match="sizes_px"):
        build_config({"network": "notebook", "sizes_px": (40, 48)})


def test_device_names() -> None:
    assert all(map(is_device_name, ("auto", "cpu", "cuda", "cuda:1", "mps")))
    assert not any(map(is_device_name, ("", "cuda:", "cuda:a", "tpu")))


def test_every_network_can_be_named() -> None:
    for name in NETWORKS:
        assert build_config({"network": name}).model.network == name
