"""What a fine-tuning begins with: which model may, and the configuration that its network asks for.

The network is the model's, whatever the recipe says, and a setting that was asked for and
contradicts it is refused: weights fit one network alone. An ONNX is not read back into a network:
its norms are fused and its numbers rounded. Bundled models bring their weights beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from fercli.config import ARCHITECTURE
from fercli.errors import ConfigError, ModelFileError
from fercli.model_files import (
    find_bundled_weights,
    find_model,
    find_trainable,
    list_bundled,
    read_metadata,
)
from fercli.recipes import find_recipe
from fercli.settings import build_config

if TYPE_CHECKING:
    from fercli.config import NetworkConfig, TrainConfig
    from fercli.model_files import ModelFile

__all__ = ["build_train_config", "check_network", "find_init"]


def build_train_config(values: Mapping[str, object], recipe: str) -> TrainConfig:
    """Return a recipe with some fields replaced, its network that of `init` where there is one.

    Args:
        values: Flat, as `build_config` takes them.
        recipe: The recipe's name; it is adapted to the network.

    Raises:
        ConfigError: The recipe or a field is unknown, a value is out of range, or contradicts the
            network of `init`.
        ModelFileError: `init` is missing, or nothing that can be fine-tuned.
    """
    config = build_config(values, base=find_recipe(recipe, values))
    if not config.transfer.init:
        return config
    network = _read_network(config.transfer.init)
    check_network(config, network, [name for name in ARCHITECTURE if name in values])
    own = {name: getattr(network, name) for name in ARCHITECTURE}
    asked = {**values, **own}
    return build_config(asked, base=find_recipe(recipe, asked))


def find_init(spec: str) -> ModelFile:
    """Return the weights that `init` names.

    Args:
        spec: A run folder, a `.safetensors`, or a bundled model that brings its weights.

    Raises:
        ModelNotFoundError: There is nothing there.
        ModelFileError: It is an ONNX, or the run is not finished.
    """
    found = find_trainable(find_model(spec))
    if not found.is_onnx:
        return found
    hint = "name a run folder, or the model.safetensors in one"
    if found.bundled:
        message = f"the bundled model {spec} is ONNX, without weights that can be trained"
    else:
        message = f"{spec} is an ONNX file, which can be used but not trained"
    able = [name for name in list_bundled() if find_bundled_weights(name)]
    if able:
        hint += f", or the bundled {' or '.join(able)}"
    raise ModelFileError(message, hint=hint)


def check_network(config: TrainConfig, network: NetworkConfig, names: Iterable[str]) -> None:
    """Refuse settings that are not those of the network that a training begins with.

    Args:
        config: Of the training.
        network: Of the model that `init` names.
        names: The settings to look at.

    Raises:
        ConfigError: One differs; all that do are named.
    """
    asked = {name: getattr(config.model, name) for name in names}
    differing = [name for name, value in asked.items() if value != getattr(network, name)]
    if differing:
        has = ", ".join(f"{name}={_write(getattr(network, name))}" for name in differing)
        wanted = ", ".join(f"{name}={_write(asked[name])}" for name in differing)
        message = f"the network of {config.transfer.init} has {has}, and not {wanted}"
        raise ConfigError(message, hint=f"leave {', '.join(differing)} out: --init decides that")


def _read_network(spec: str) -> NetworkConfig:
    model = find_init(spec)
    return read_metadata(model).network.build_config(model.path)


def _write(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
