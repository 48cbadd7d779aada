from __future__ import annotations

import dataclasses
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args

import pytest

from fercli.cli._options import build_parameters
from fercli.config import DEFAULTS, NETWORKS, TrainConfig, is_device_name, list_options
from fercli.config.options import check_fields, option
from fercli.errors import ConfigError
from fercli.recipes import RECIPES, find_recipe
from fercli.settings import OPTIONS, build_config, flatten_config, parse_setting
from fercli.transfer import build_train_config


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


@pytest.mark.parametrize("network", ["resnet18", "vgg11_bn", "notebook"])
@pytest.mark.parametrize("recipe", ["fast", "standard", "best", "tiny"])
def test_a_recipe_of_ours_takes_other_rates_for_other_networks(recipe: str, network: str) -> None:
    values: dict[str, object] = {"network": network}
    config = build_train_config(values, recipe)

    rates = config.optimization
    assert (rates.optimizer, rates.learning_rate, rates.bias_ratio) == ("adamw", 1e-3, 1.0)
    assert (config.sizes_px, config.model.stem) == ((48,), "learned")
    assert (config.epochs, config.augment) == (find_recipe(recipe).epochs, RECIPES[recipe].augment)
    asked = build_train_config({**values, "optimizer": "sgd", "momentum": 0.8}, recipe).optimization
    assert (asked.learning_rate, asked.weight_decay, asked.momentum) == (0.02, 5e-4, 0.8)
    asked = build_train_config({**values, "learning_rate": 0.1}, recipe).optimization
    assert (asked.optimizer, asked.learning_rate) == ("adamw", 0.1)


def test_a_recipe_stays_as_it_is_for_its_own_networks() -> None:
    for recipe, network in (("fast", "cnn"), ("fast", "separable"), ("notebook", "notebook")):
        config = build_train_config({"network": network}, recipe)
        assert config == build_config({"network": network}, base=RECIPES[recipe])


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
        ("widths", (5000,)), ("input_px", 16), ("members", 1), ("folds", 1), ("seed", True),
        ("rotation_deg", float("nan")), ("weight_decay", float("inf")), ("epochs", 10**400),
        ("average", "lookahead"), ("views", 3),
        ("mixup", -0.1), ("self_weight", 1.0), ("self_memory", -0.1),
        ("plateau_patience", 0), ("channels_last", "yes"),
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


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"widths": (8, 8, 8, 8), "sizes_px": (24, 48)}, "sizes_px must be at least 32"),
        ({"network": "vgg11_bn", "sizes_px": (24, 48)}, "sizes_px must be at least 32"),
        ({"widths": (8, 8, 8, 8), "flip_equivariant": True}, "takes up to 3 widths"),
    ],
)
def test_images_that_a_network_cannot_halve_so_often_are_refused(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        build_config(changes)


def test_device_names() -> None:
    assert all(map(is_device_name, ("auto", "cpu", "cuda", "cuda:1", "mps")))
    assert not any(map(is_device_name, ("", "cuda:", "cuda:a", "cuda:01", "cuda:300", "tpu")))


def test_every_network_can_be_named() -> None:
    for name in NETWORKS:
        assert build_config({"network": name}).model.network == name


@dataclass(frozen=True, kw_only=True)
class Oven:
    """Options as a reader would declare them."""

    heat: int = option(200, low=50, high=250, flag="--heat", help="Degrees.")
    fan: str = option("off", choices=("off", "on"), flag="--fan", help="The fan.")
    trays: tuple[int, ...] = option((1,), low=1, help="Where trays go.")
    humidity: float = option(0.0, above=0.2, below=1, off=0, help="Steam.")
    name: str = option("", help="Whose it is.")


def test_every_range_and_choice_is_checked_at_once() -> None:
    wrong = Oven(heat=300, fan="of", trays=(1, 0, -1), humidity=0.2)

    assert check_fields(Oven()) == []
    assert check_fields(Oven(humidity=0.5, trays=())) == []
    assert check_fields(wrong) == [
        "heat must be between 50 and 250, not 300",
        "unknown fan 'of': choose from off, on; did you mean 'off'?",
        "trays must be at least 1, not 0",
        "trays must be at least 1, not -1",
        "humidity must be 0 or above 0.2 and below 1, not 0.2",
    ]


def test_a_declared_flag_becomes_a_parameter() -> None:
    heat, fan = build_parameters(list_options(Oven), {"fan"})

    (kind, info) = get_args(heat.annotation)
    assert (heat.name, heat.default, kind) == ("heat", None, int | None)
    assert info.help == "Degrees. Default: 200."
    (_, info) = get_args(fan.annotation)
    assert (info.metavar, info.help) == ("off|on", "The fan. Default: the recipe's.")
    assert info.autocompletion() == ("off", "on")


def test_every_field_of_a_training_is_declared() -> None:
    assert set(OPTIONS) == set(flatten_config(DEFAULTS))
    assert all(one.declared["help"].endswith(".") for one in OPTIONS.values())


def test_a_seed_leaves_room_for_members() -> None:
    with pytest.raises(ConfigError, match="seed must be at most 2147483643"):
        build_config({"seed": 2**31 - 3, "members": 4})


@pytest.mark.parametrize("text", ["views=1", "views=3"])
def test_a_removed_field_is_not_set(text: str) -> None:
    with pytest.raises(ConfigError, match="was removed"):
        parse_setting(text)


def test_a_removed_field_that_changed_nothing_is_skipped() -> None:
    assert build_config({"views": 1, "epochs": 3}) == build_config({"epochs": 3})


def test_internal_fields_are_set_and_not_suggested() -> None:
    assert parse_setting("folds=5") == ("folds", 5)
    with pytest.raises(ConfigError) as caught:
        parse_setting("foldz=5")
    assert "folds" not in caught.value.message
