"""A training's configuration as one flat mapping: TOML, JSON and `--set` read and write it.

Field names are unique across the dataclasses of `fercli.config`, so that `--set erasing=0.3` needs
no dotted path. A nested override language was considered and rejected: nobody can guess its keys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

from fercli.config import (
    DEFAULTS,
    AugmentConfig,
    DistillationConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    TrainConfig,
    TransferConfig,
)
from fercli.errors import ConfigError
from fercli.ranges import suggest

__all__ = ["build_config", "flatten_config", "parse_setting"]


def flatten_config(config: TrainConfig) -> dict[str, Any]:
    """Return every field of a training as one flat mapping, in order of declaration."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat.update(
                {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
            )
        else:
            flat[item.name] = value
    return flat


def build_config(values: Mapping[str, object], *, base: TrainConfig = DEFAULTS) -> TrainConfig:
    """Return `base` with the fields of `values` replaced.

    Args:
        values: Flat; sequences stand for tuples, whole numbers for floats.
        base: What the fields not named are taken from.

    Raises:
        ConfigError: A key is unknown, a value has the wrong type or range; all are listed.
    """
    flat = flatten_config(base)
    problems: list[str] = []
    for name, value in values.items():
        if name not in flat:
            problems.append(_unknown_key(name, flat))
            continue
        try:
            flat[name] = _convert(name, value)
        except ConfigError as error:
            problems.extend(error.problems)
    parts: dict[str, Any] = {}
    for name, kind in _GROUPS.items():
        own = {item.name: flat.pop(item.name) for item in dataclasses.fields(kind)}
        try:
            parts[name] = kind(**own)
        except ConfigError as error:
            problems.extend(error.problems)
            parts[name] = getattr(base, name)
    try:
        config = TrainConfig(**flat, **parts)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from None
    if problems:
        raise ConfigError(*problems)
    return config


def parse_setting(text: str) -> tuple[str, object]:
    """Read one `key=value` of `--set`.

    Raises:
        ConfigError: There is no `=`, the key is unknown or the value does not read as its type.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals:
        message = f"--set takes key=value, not {text!r}"
        raise ConfigError(message)
    if name not in _TYPES:
        raise ConfigError(_unknown_key(name, _TYPES))
    if name == "recipe":
        message = "a recipe is named by --recipe, not by --set"
        raise ConfigError(message)
    return name, _parse(name, value.strip())


_GROUPS: Final[dict[str, type[Any]]] = {
    "model": NetworkConfig,
    "augment": AugmentConfig,
    "optimization": OptimizerConfig,
    "loss": LossConfig,
    "transfer": TransferConfig,
    "distillation": DistillationConfig,
}
_TYPES: Final[dict[str, Any]] = {
    name: kind
    for group in (TrainConfig, *_GROUPS.values())
    for name, kind in get_type_hints(group).items()
    if name not in _GROUPS
}


def _parse(name: str, text: str) -> object:
    """Read a value typed on the command line as the type of its field."""
    kind = _TYPES[name]
    if kind is bool:
        if text.lower() in {"true", "yes", "on", "1"}:
            return True
        if text.lower() in {"false", "no", "off", "0"}:
            return False
        message = f"{name} must be true or false, not {text!r}"
        raise ConfigError(message)
    if kind is str:
        return text
    try:
        if get_origin(kind) is tuple:
            element = get_args(kind)[0]
            return tuple(element(part) for part in text.split(",")) if text else ()
        return int(text) if kind is int else float(text)
    except ValueError:
        message = f"{name} must be {_describe(kind)}, not {text!r}"
        raise ConfigError(message) from None


def _convert(name: str, value: object) -> object:
    """Return a typed value (from TOML, JSON or the command line) as its field's type."""
    kind = _TYPES[name]
    if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        (element, _) = get_args(kind)
        if all(type(part) is element for part in value):
            return tuple(value)
    elif kind == tuple[str, ...] and isinstance(value, str):
        # One word stands for a sequence of it: runs of an older fercli say it so.
        return (value,) if value else ()
    elif kind is float and type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]  # narrowed by the exact types above
    elif type(value) is kind:
        return value
    message = f"{name} must be {_describe(kind)}, not {value!r}"
    raise ConfigError(message)


def _describe(kind: object) -> str:
    names: dict[object, str] = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a word",
        tuple[str, ...]: "words with commas between them",
    }
    return names.get(kind, "whole numbers like 64,128")


def _unknown_key(name: str, known: Mapping[str, object]) -> str:
    return f"unknown key {name!r}{suggest(name, known)}"
