"""What was typed of a training, and the configuration that it asks for."""

from __future__ import annotations

import contextlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fercli.config import DEFAULTS, TrainConfig, find_batch_misfit
from fercli.errors import ConfigError, FercliError, ModelFileError
from fercli.fields import parse_json
from fercli.metadata import RunRecord
from fercli.recipes import find_recipe
from fercli.settings import build_config, parse_setting, read_environment

__all__ = [
    "TrainRequest",
    "choose_config",
    "choose_data",
    "find_changes",
    "merge_config",
    "read_data",
    "resolve_path",
]


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What was typed of a training."""

    data: str | None
    """`--data`."""
    recipe: str | None
    """`--recipe`."""
    config: Path | None
    """`--config`."""
    settings: list[str]
    """Every `--set`."""
    options: dict[str, Any]
    """The options that stand for a field of the configuration."""
    folder: Path | None
    """`--output`."""
    processes: int | None
    """`--processes`."""
    force: bool
    """`--force`."""


def find_changes(request: TrainRequest, own: dict[str, Any], processes: int) -> list[str]:
    """Return the names of what would change a run that is gone on with."""
    from fercli.model_files import resolve_model_name

    never = {"recipe": request.recipe, "config": request.config, "output": request.folder}
    fields = {**dict(map(parse_setting, request.settings)), **request.options}
    if fields.get("teacher"):
        fields["teacher"] = tuple(map(resolve_model_name, fields["teacher"]))
    if fields.get("pretrained_weights"):
        fields["pretrained_weights"] = resolve_path(str(fields["pretrained_weights"]))
    refused = [name for name, value in never.items() if value is not None]
    # Saying again what the run was begun with changes nothing.
    refused += [name for name, value in fields.items() if value not in {own[name], "auto"}]
    return refused + (["processes"] if request.processes not in {None, processes} else [])


def choose_config(request: TrainRequest) -> TrainConfig:
    """Return the configuration that was asked for, its files named for good."""
    from fercli.model_files import resolve_model_name

    try:
        chosen = merge_config(request.config, request.recipe, request.settings, request.options)
    except ConfigError as error:
        # Everything that is wrong is said at once, what only the data can tell included.
        misfits = _find_misfits(choose_data(request)[0], request.settings, request.options)
        problems = dict.fromkeys((*error.problems, *misfits))
        raise ConfigError(*problems, hint=error.hint) from None
    lasting = {
        "teacher": tuple(map(resolve_model_name, chosen.distillation.teacher)),
        "pretrained_weights": resolve_path(chosen.transfer.pretrained_weights) or "",
    }
    return build_config(lasting, base=chosen)


def choose_data(request: TrainRequest) -> tuple[str | None, str | None]:
    """Return the data to train on, and the digest that it had for a run that is repeated.

    A `run.json` that is given as the configuration names the data, too; `--data` goes before it.
    """
    if request.data is not None or request.config is None:
        return request.data, None
    return read_data(request.config)


def _find_misfits(data: str | None, settings: list[str], options: dict[str, Any]) -> list[str]:
    """Return how a batch size that was typed does not fit the data.

    Only data that is at hand is looked at, prepared or drawn, and without torch: a typing error
    must not cost the reading of an archive.
    """
    from fercli.data import load_data, parse_synthetic
    from fercli.paths import find_default_dataset

    path = Path(data) if data is not None else find_default_dataset()
    batch_size = options.get("batch_size")
    for text in settings:
        with contextlib.suppress(ConfigError):
            key, value = parse_setting(text)
            batch_size = value if key == "batch_size" and batch_size is None else batch_size
    try:
        at_hand = path.suffix == ".safetensors" or parse_synthetic(data or "") is not None
        if not batch_size or not at_hand:
            return []
        n_images = len(load_data(data).select("train").labels)
    except FercliError:
        return []
    return find_batch_misfit(batch_size, n_images)


def resolve_path(data: str | None) -> str | None:
    """Return the name of a source as it will still be right from another folder."""
    return str(Path(data).resolve()) if data and Path(data).exists() else data


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
    from_file = _read_config_file(file) if file else {}
    name = recipe or str(from_file.get("recipe", DEFAULTS.recipe))
    if recipe and from_file.get("recipe", recipe) != recipe:
        problems.append(
            f"--recipe {recipe} contradicts the recipe {from_file['recipe']!r} of {file}"
        )
    base = DEFAULTS
    try:
        base = find_recipe(name)
    except ConfigError as error:
        problems.extend(error.problems)
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
        chosen = build_config({**values, **options}, base=base)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from None
    if problems:
        raise ConfigError(*problems)
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
    except OSError as reason:
        message = f"{path}: {reason.strerror or reason}"
        raise ConfigError(message) from reason
    except ValueError as reason:
        message = f"{path} cannot be read as a configuration ({reason})"
        raise ConfigError(message) from reason
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
    except OSError as reason:
        message = f"{path}: {reason.strerror or reason}"
        raise ConfigError(message) from reason
    except ValueError as reason:
        message = f"{path} cannot be read as a configuration ({reason})"
        raise ConfigError(message) from reason
    flat: dict[str, Any] = {}
    twice: list[str] = []
    for key, value in values.items():
        part = value if isinstance(value, dict) else {key: value}
        twice += [name for name in part if name in flat]
        flat.update(part)
    if twice:
        raise ConfigError(*(f"{path} has {name} twice" for name in twice))
    return flat
