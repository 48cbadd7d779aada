"""A training's configuration as one flat mapping: TOML, JSON and `--set` read and write it.

Field names are unique across the dataclasses of `fercli.config`, so that `--set erasing=0.3` needs
no dotted path. A nested override language was considered and rejected: nobody can guess its keys.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

from fercli.config import DEFAULTS, Option, TrainConfig, list_options
from fercli.errors import ConfigError
from fercli.ranges import suggest

__all__ = [
    "GROUPS",
    "OPTIONS",
    "build_config",
    "describe_kind",
    "flatten_config",
    "parse_setting",
    "read_environment",
]

GROUPS: Final[dict[str, type[Any]]] = {
    name: kind
    for name, kind in get_type_hints(TrainConfig).items()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
"""The dataclasses that a training's configuration is made of, by their field."""
_KINDS: Final[tuple[type[Any], ...]] = (TrainConfig, *GROUPS.values())
OPTIONS: Final[dict[str, Option]] = {one.name: one for kind in _KINDS for one in list_options(kind)}
"""Every option of a training by name."""
_REMOVED_FIELDS: Final[dict[str, object]] = {"views": 1}
"""Fields that older versions had, and the value at which each changed nothing."""
_REMOVED_VALUES: Final[dict[str, tuple[object, ...]]] = {"average": ("lookahead",)}
"""Values that fields had in older versions."""


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
        values: Flat; sequences stand for tuples, whole numbers for floats. A field that an older
            version had is skipped where it changed nothing.
        base: What the fields not named are taken from.

    Raises:
        ConfigError: A key is unknown, a value has the wrong type or range; all are listed.
    """
    flat = flatten_config(base)
    problems: list[str] = []
    for name, value in values.items():
        if name not in flat:
            problems += _find_unknown(name, value)
            continue
        try:
            flat[name] = _convert(name, value)
        except ConfigError as error:
            problems.extend(error.problems)
    parts: dict[str, Any] = {}
    for name, kind in GROUPS.items():
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
    if name not in OPTIONS:
        raise ConfigError(*_find_unknown(name, value.strip()))
    if name == "recipe":
        message = "a recipe is chosen with --recipe, not with --set"
        raise ConfigError(message)
    return name, _parse(name, value.strip())


def read_environment() -> dict[str, object]:
    """Return the fields that environment variables set, such as `FERCLI_DEVICE`.

    Raises:
        ConfigError: A value does not read as its type.
    """
    return {
        name: _parse(name, os.environ[one.declared["env"]])
        for name, one in OPTIONS.items()
        if os.environ.get(one.declared.get("env", ""))
    }


def describe_kind(kind: object) -> str:
    """Return what a value of a field's type is, in words."""
    names: dict[object, str] = {
        int: "a whole number",
        float: "a number",
        float | None: "a number",
        bool: "true or false",
        str: "a word",
        str | None: "a word",
        Path | None: "a file",
        tuple[str, ...]: "words separated by commas",
        tuple[int, ...]: "whole numbers like 64,128",
    }
    return names[kind]


def _parse(name: str, text: str) -> object:
    """Read a value typed on the command line as the type of its field."""
    kind = OPTIONS[name].kind
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
        message = f"{name} must be {describe_kind(kind)}, not {text!r}"
        raise ConfigError(message) from None


def _convert(name: str, value: object) -> object:
    """Return a typed value (from TOML, JSON or the command line) as its field's type."""
    kind = OPTIONS[name].kind
    if value in _REMOVED_VALUES.get(name, ()):
        raise ConfigError(_describe_removed(name, value))
    if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        (element, _) = get_args(kind)
        if all(type(part) is element for part in value):
            return tuple(value)
    elif kind == tuple[str, ...] and isinstance(value, str):
        # One word stands for a sequence of it: runs of an older fercli say it so.
        return (value,) if value else ()
    elif kind is float and type(value) in (int, float):
        # A whole number may be larger than any float.
        with contextlib.suppress(OverflowError):
            return float(value)  # type: ignore[arg-type]  # narrowed by the exact types above
    elif type(value) is kind:
        return value
    message = f"{name} must be {describe_kind(kind)}, not {value!r}"
    raise ConfigError(message)


def _find_unknown(name: str, value: object) -> list[str]:
    """Return why a key is none, or nothing of one that once was and changed nothing."""
    if name in _REMOVED_FIELDS:
        return [] if value == _REMOVED_FIELDS[name] else [_describe_removed(name, value)]
    known = [one.name for one in OPTIONS.values() if not one.is_internal]
    return [f"unknown key {name!r}{suggest(name, known)}"]


def _describe_removed(name: str, value: object) -> str:
    return (
        f"{name}={value} was removed: a run that has it can be evaluated, exported and compared, "
        "but not resumed or repeated"
    )
