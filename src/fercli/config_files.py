"""Files that hold a configuration, and how everything that sets one is merged.

A configuration file is TOML, or the `run.json` of a run, which names its data, too.
"""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path
from typing import Any

from fercli.config import DEFAULTS, TrainConfig
from fercli.errors import ConfigError, ModelFileError
from fercli.fields import parse_json
from fercli.metadata import RunRecord
from fercli.recipes import find_recipe
from fercli.settings import build_config, parse_setting, read_environment
from fercli.transfer import build_train_config

__all__ = ["merge_config", "read_data"]


def merge_config(
    file: Path | None,
    recipe: str | None,
    settings: list[str],
    options: dict[str, Any],
) -> TrainConfig:
    """Merge everything by precedence: options, `--set`, environment, file, recipe.

    Args:
        file: A TOML file or a run's `run.json`.
        recipe: What to start from; else the file's, else the default.
        settings: The texts of `--set`.
        options: Fields set by their own options.

    Raises:
        ConfigError: With every problem of every source.
    """
    problems: list[str] = []
    hint = ""
    from_file = _read_config_file(file) if file else {}
    name = recipe or str(from_file.get("recipe", DEFAULTS.recipe))
    if recipe and from_file.get("recipe", recipe) != recipe:
        problems.append(
            f"--recipe {recipe} contradicts the recipe {from_file['recipe']!r} of {file}"
        )
    try:
        find_recipe(name)
    except ConfigError as error:
        problems.extend(error.problems)
        hint = error.hint
        name = DEFAULTS.recipe
    values = {**from_file, **read_environment()}
    values.pop("recipe", None)
    for text in settings:
        try:
            key, value = parse_setting(text)
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            values[key] = value
    try:
        asked = {**values, **options}
        build = build_config if problems else partial(build_train_config, recipe=name)
        chosen = build(asked)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems, hint=error.hint or hint) from None
    if problems:
        raise ConfigError(*problems, hint=hint)
    return chosen


def read_data(path: Path) -> tuple[str | None, str | None]:
    """Return the data that a configuration file names, and its digest: a `run.json` may, TOML not.

    Raises:
        ConfigError: It cannot be read.
    """
    if path.suffix != ".json":
        return None, None
    dataset = _read_record(path).dataset
    return dataset.data, dataset.sha256


def _read_record(path: Path) -> RunRecord:
    """Return a `run.json`, whatever its name; one that is none cannot be a configuration."""
    try:
        return RunRecord.from_json(parse_json(path.read_bytes()), path=path)
    except (OSError, ValueError) as reason:
        raise _refuse(path, reason) from reason
    except ModelFileError as reason:
        message = f"{path} is not the run.json of a run ({reason.message})"
        raise ConfigError(message) from reason


def _read_config_file(path: Path) -> dict[str, Any]:
    """Return the flat values of a TOML file (tables are only for reading) or of a run.json."""
    if path.suffix == ".json":
        return dict(_read_record(path).config)
    try:
        with path.open("rb") as stream:
            values = tomllib.load(stream)
    except (OSError, ValueError) as reason:
        raise _refuse(path, reason) from reason
    except RecursionError:
        message = f"{path} is nested too deeply for a configuration"
        raise ConfigError(message) from None
    flat: dict[str, Any] = {}
    twice: list[str] = []
    for key, value in values.items():
        part = value if isinstance(value, dict) else {key: value}
        twice += [name for name in part if name in flat]
        flat.update(part)
    if twice:
        raise ConfigError(*(f"{path} has {name} twice" for name in twice))
    return flat


def _refuse(path: Path, reason: OSError | ValueError) -> ConfigError:
    """Return why a file cannot be a configuration."""
    if isinstance(reason, OSError):
        return ConfigError(f"{path}: {reason.strerror or reason}")
    return ConfigError(f"{path} cannot be read as a configuration ({reason})")
